"""The command line's notation for the parts of a spec, such as `adagrad:learning_rate=0.1` or `zeros`."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

import typer

from rowbank import initializers, optimizers
from rowbank.closest import did_you_mean
from rowbank.errors import InvalidSpec

Part = TypeVar("Part")

_INITIALIZERS: Mapping[str, type[initializers.Initializer]] = {
    part.kind: part for part in get_args(initializers.Initializer)
}
_OPTIMIZERS: tuple[type[optimizers.Optimizer], ...] = (
    optimizers.SGD,
    optimizers.Momentum,
    optimizers.Adagrad,
    optimizers.RowwiseAdagrad,
    optimizers.Adam,
    optimizers.AdamW,
    optimizers.RMSprop,
    optimizers.FTRL,
)


def parse_initializer(text: str) -> initializers.Initializer:
    """Reads an initializer; raises `InvalidSpec` with what is wrong and what would be right."""
    return _parse("--initializer", text, _INITIALIZERS)


def parse_optimizer(text: str) -> optimizers.Optimizer:
    """Reads an optimizer; raises `InvalidSpec` with what is wrong and what would be right."""
    return _parse("--optimizer", text, {part.kind: part for part in _OPTIMIZERS})


@contextlib.contextmanager
def as_typed(options: Mapping[str, str]) -> Iterator[None]:
    """Turns an `InvalidSpec` into wrong usage that names what was typed.

    Args:
        options: option by the part of a spec that the error names.
    """
    try:
        yield
    except InvalidSpec as error:
        part, colon, rest = error.message.partition(":")
        raise typer.BadParameter(f"{options.get(part, part)}{colon}{rest}") from None


def text_of(part: initializers.Initializer | optimizers.Optimizer) -> str:
    """Writes a part in the notation that the parsers read."""
    numbers = ",".join(f"{field.name}={_number_text(getattr(part, field.name))}" for field in dataclasses.fields(part))
    return f"{part.kind}:{numbers}" if numbers else part.kind


def _parse(option: str, text: str, kinds: Mapping[str, type[Part]]) -> Part:
    kind, _, assignments = text.partition(":")
    if kind not in kinds:
        raise InvalidSpec(f"{option}: expected one of {', '.join(kinds)}, got {kind!r}{did_you_mean(kind, kinds)}")
    fields = {field.name: field.type for field in dataclasses.fields(kinds[kind])}  # type: ignore[arg-type]
    numbers: dict[str, Any] = {}
    for assignment in filter(None, assignments.split(",")):
        name, equals, number = assignment.partition("=")
        if not equals or name not in fields:
            known = ", ".join(fields) or "nothing"
            hint = did_you_mean(name, fields) if equals else ""
            raise InvalidSpec(f"{option}: {kind} takes NAME=NUMBER of {known}, got {assignment!r}{hint}")
        if name in numbers:
            raise InvalidSpec(f"{option}: {name} is given twice in {text!r}")
        numbers[name] = _number(option, name, number, str(fields[name]))
    try:
        return kinds[kind](**numbers)
    except InvalidSpec as error:
        raise InvalidSpec(f"{option} {text}: {error.message}") from None


def _number(option: str, name: str, text: str, kind: str) -> float | int | bool:
    try:
        if "bool" in kind:
            return {"true": True, "false": False}[text]
        return int(text) if "int" in kind else float(text)
    except (KeyError, ValueError):
        expected = "true or false" if "bool" in kind else "an integer" if "int" in kind else "a number"
        raise InvalidSpec(f"{option}: {name} is {expected}, got {text!r}") from None


def _number_text(number: float | int | bool) -> str:
    if isinstance(number, bool):
        return str(number).lower()
    return f"{number:g}" if isinstance(number, float) else str(number)
