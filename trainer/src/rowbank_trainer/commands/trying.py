"""The option `--try`: which settings a command's options can be tried with, and the command that the best one is."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rowbank_trainer.commands.settings import config_of, setting_of, type_of
from rowbank_trainer.errors import UsageError
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.grid import Trial, parse_axes, trials_of

TryOption = Annotated[
    list[str] | None,
    typer.Option(
        "--try",
        help="OPTION=A,B,C: train with each value and compare on a validation part; several make a grid.",
        show_default=False,
    ),
]
# What says on which data a model is judged, how it is watched, or cuts a second training.
_NOT_TRIED = ("split", "seed", "evaluate_on", "log_every", "restrict_keep", "restrict_trigger", "restrict_every")
_BOOLEANS = {"yes": True, "true": True, "no": False, "false": False}
_EXPECTED = {bool: "yes or no", int: "a whole number", float: "a finite number"}
_NOT_REPEATED = ("attempts", "resume", "seeds", "evaluate_on", "out", "log_dir")


def trials(context: typer.Context, attempts: Sequence[str]) -> list[Trial]:
    """The combinations that `--try` asks for, checked, to be judged on the validation part.

    Raises:
        UsageError: an option, a value or a combination cannot be tried.
    """
    if context.params["evaluate_on"] == "test" and _source(context, "evaluate_on") == "COMMANDLINE":
        raise UsageError("--try chooses settings, so it judges on the validation part; leave out --evaluate-on test")
    parameters = _triable(context)
    axes = parse_axes(attempts, list(parameters))
    for axis in axes:
        if _is_given(context, parameters[axis.option]):
            raise UsageError(f"--{axis.option} and --try {axis.option} both say it; leave one of them out")
    values = {
        (axis.option, text): _converted(parameters[axis.option], axis.option, text)
        for axis in axes
        for text in axis.values
    }

    def settings(options: Mapping[str, str]) -> TwoTowerConfig:
        chosen = {parameters[option].name: values[option, text] for option, text in options.items()}
        return config_of({**context.params, **chosen, "evaluate_on": "validation"})

    return list(trials_of(axes, settings))


def command(context: typer.Context, options: Mapping[str, str], out: Path) -> str:
    """The command that trains with `options` into `out`, and otherwise as this one says."""
    parameters = _triable(context)
    words = ["rowbank-train", str(context.info_name)]
    for parameter in context.command.params:
        if _is_given(context, parameter) and parameter.name not in _NOT_REPEATED:
            words += _words(parameter, context.params[str(parameter.name)])
    for option, text in options.items():
        words += _words(parameters[option], _converted(parameters[option], option, text))
    return shlex.join([*words, "--out", str(out)])


def refuse_alone(attempts: Sequence[str], alone: Mapping[str, bool]) -> None:
    """Raises UsageError if `--try` comes with an option that is for one model."""
    clash = [name for name, given in alone.items() if given]
    if attempts and clash:
        raise UsageError(
            f"--try trains many models to compare them; leave out {' and '.join(clash)}, and give "
            f"{'them' if len(clash) > 1 else 'it'} to the command that it prints for the best one"
        )


def _triable(context: typer.Context) -> dict[str, Any]:
    """Parameters of the settings that can be tried, by option."""
    return {
        str(parameter.opts[0]).removeprefix("--"): parameter
        for parameter in context.command.params
        if setting_of(str(parameter.name)) is not None and parameter.name not in _NOT_TRIED
    }


def _is_given(context: typer.Context, parameter: Any) -> bool:
    return _source(context, parameter.name) == "COMMANDLINE"


def _source(context: typer.Context, name: str) -> str:
    source = context.get_parameter_source(name)
    return "" if source is None else source.name


def _converted(parameter: Any, option: str, text: str) -> Any:
    """A value as its option takes it; of widths, `128x64` is what the option has as `128,64`."""
    kind = type_of(str(parameter.name))
    try:
        if kind is bool:
            return _BOOLEANS[text.lower()]
        if kind is float and not math.isfinite(float(text)):
            raise ValueError
        return kind(text.replace("x", ",") if parameter.name == "hidden" else text)
    except (ValueError, KeyError):
        raise UsageError(f"--try {option}: expected {_EXPECTED[kind]}, got {text!r}") from None


def _words(parameter: Any, value: Any) -> list[str]:
    """An option and its value as they are typed."""
    if value is None:
        return []
    if parameter.is_flag:
        names = parameter.opts if value else parameter.secondary_opts
        return list(names[:1])
    return [parameter.opts[0], str(value)]
