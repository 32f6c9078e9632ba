"""Bodies checked against their models, for every protocol alike."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from rowbank.closest import listed
from rowbank.errors import InvalidRequest
from rowbank_server import wording

Body = TypeVar("Body", bound=BaseModel)
MAX_FAULTS = 100  # That are told of one body.
_TOO_MANY = 20_000


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong with a request."""

    where: str
    message: str


class InvalidBody(InvalidRequest):
    """A body that does not fit its model.

    Args:
        faults: of it, in their order.
        more: how many there are besides.
    """

    def __init__(self, faults: list[Fault], more: int = 0) -> None:
        told = [f"{fault.where}: {fault.message}" for fault in faults]
        super().__init__("; ".join([*told, f"and {more} more"] if more else told))
        self.faults = faults


class MalformedJson(InvalidRequest):
    """A body that is no JSON."""


def validated(kind: type[Body], values: Any) -> Body:
    """A body from its fields. Raises InvalidBody."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _invalid(kind, error) from None


def parsed(kind: type[Body], content: bytes) -> Body:
    """A body from JSON. Raises MalformedJson, InvalidBody."""
    if not content:
        raise MalformedJson(f"the body is empty; expected JSON with {listed(wording.fields(kind))}")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        told = error.errors(include_url=False)[0] if error.error_count() == 1 else None
        if told is not None and told["type"] == "json_invalid":
            raise MalformedJson(f"the body is not JSON{_place(told['msg'])}") from None
        raise _invalid(kind, error) from None


def _invalid(kind: type[BaseModel], error: ValidationError) -> InvalidBody:
    count = error.error_count()
    if count > _TOO_MANY:  # Only all of them can be had, which takes seconds, and nobody else gets on meanwhile.
        return InvalidBody([Fault("body", f"{count} things are wrong with it, too many to be told")])
    told = error.errors(include_url=False)[:MAX_FAULTS]
    faults = [Fault(wording.where(fault), wording.what(kind, fault)) for fault in told]
    return InvalidBody(faults, count - len(faults))


def _place(text: str) -> str:
    """Where a text stops being JSON, if pydantic says so: its words are those of its parser."""
    found = re.search(r"line (\d+) column (\d+)", text)
    return f": line {found[1]}, column {found[2]}" if found else ""
