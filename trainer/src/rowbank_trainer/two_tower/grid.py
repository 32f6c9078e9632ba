"""A grid of settings to try. Importing this must stay cheap: it happens before TensorFlow is loaded."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rowbank.closest import did_you_mean
from rowbank_trainer.errors import UsageError
from rowbank_trainer.two_tower.config import TwoTowerConfig


@dataclass(frozen=True, slots=True)
class Axis:
    """One option and the values that are tried of it, as they were written.

    Attributes:
        option: without dashes in front: "learning-rate".
    """

    option: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, known: Sequence[str]) -> Axis:
        """Reads "learning-rate=0.001,0.003".

        Args:
            known: options that can be tried.
        Raises:
            UsageError: it is of another form, or names an option that cannot be tried, or a value twice.
        """
        name, equals, rest = text.partition("=")
        option = name.strip().removeprefix("--").replace("_", "-")
        if not equals or not option:
            raise UsageError(f"--try: expected an option and values, such as learning-rate=0.001,0.003, got {text!r}")
        if option not in known:
            raise UsageError(
                f"--try {text}: {option!r} is no option that can be tried{did_you_mean(option, known)}; "
                f"expected one of {', '.join(known)}"
            )
        values = tuple(value.strip() for value in rest.split(","))
        if not all(values):
            raise UsageError(f"--try {text}: expected values with commas between them, got {rest!r}")
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise UsageError(f"--try {text}: {twice} is listed twice")
        return cls(option, values)


@dataclass(frozen=True, slots=True)
class Trial:
    """One combination.

    Attributes:
        options: option -> value, as written.
    """

    options: Mapping[str, str]
    config: TwoTowerConfig

    @property
    def title(self) -> str:
        """For people: "learning-rate 0.003, temperature 0.1"."""
        return ", ".join(f"{option} {value}" for option, value in self.options.items())


def parse_axes(texts: Sequence[str], known: Sequence[str]) -> tuple[Axis, ...]:
    """The axes of a grid. Raises UsageError."""
    axes = tuple(Axis.parse(text, known) for text in texts)
    names = [axis.option for axis in axes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--try: {twice} is given twice; list all of its values in one --try")
    return axes


def trials_of(axes: Sequence[Axis], config_of: Callable[[Mapping[str, str]], TwoTowerConfig]) -> Iterator[Trial]:
    """Every combination, the last axis changing fastest.

    Args:
        config_of: makes the settings of option -> value.
    Raises:
        UsageError: the settings of a combination contradict each other.
    """
    for values in itertools.product(*(axis.values for axis in axes)):
        options = dict(zip((axis.option for axis in axes), values, strict=True))
        try:
            yield Trial(options, config_of(options))
        except UsageError as error:
            said = " ".join(f"{option}={value}" for option, value in options.items())
            raise UsageError(f"--try: {said}: {error}") from None
