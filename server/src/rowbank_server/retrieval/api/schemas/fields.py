"""Types of fields that many bodies have, and the limits of lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema, WrapValidator

from rowbank.text import MAX_ID_BYTES, id_fault
from rowbank_server import wording
from rowbank_server.retrieval.api.ids import GivenId, in_range

MAX_K = 1000
MAX_LIST = 10_000
MAX_BATCH = 256


def _checked_id(value: Any) -> GivenId:
    """What may be an id of some model; whether it is one of the model in service is for the handler to say."""
    if isinstance(value, str):
        if fault := id_fault(value):
            raise ValueError(fault)
        return value
    if type(value) is not int or not in_range(value):
        raise ValueError(f"expected an integer of 64 bits or a text, got {wording.show(value)}")
    return value


def _checked_integers(value: Any, check: Callable[[Any], Any]) -> Any:
    """Lists of integers in one look; others one by one."""
    if type(value) is not list or not 0 < len(value) <= MAX_LIST or set(map(type, value)) != {int}:
        return check(value)
    return value if in_range(min(value)) and in_range(max(value)) else check(value)


ID_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": -(2**63), "exclusiveMaximum": 2**63},
        {"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES},
    ],
    "description": "As the model in service has ids: integers, which may come as their decimal text, or texts.",
}
Id = Annotated[Any, PlainValidator(_checked_id), WithJsonSchema(ID_SCHEMA)]
Ids = Annotated[list[Id], Field(max_length=MAX_LIST), WrapValidator(_checked_integers)]
SomeIds = Annotated[list[Id], Field(min_length=1, max_length=MAX_LIST), WrapValidator(_checked_integers)]
K = Annotated[int, Field(strict=True, ge=1, le=MAX_K)]
