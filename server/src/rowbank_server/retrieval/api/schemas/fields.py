"""Types of fields that many bodies have, and their limits."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema, WrapValidator

from rowbank.text import MAX_ID_BYTES, id_fault
from rowbank_server import wording
from rowbank_server.retrieval.api.ids import GivenId, in_range

MAX_BODY_BYTES = 4 << 20
BIG = 64 << 10  # Bytes of a body; what is larger is read beside the event loop.
MAX_K = 1000
MAX_OFFSET = 10_000
MAX_LIST = 10_000
MAX_BATCH = 256
MAX_EMBEDDED = 1000
MAX_FEATURES = 256
MAX_VECTOR = 4096
MAX_BOOSTS = 16
MAX_KINDS = 16
MAX_NAME = 256
MAX_SHARES = 64
MAX_CURSOR = 1 << 20
MAX_EVENT_ID = 128
MAX_WEIGHT = 1e6

_MAX_WRONG_IDS = 20  # That are told of one list; each costs an exception.

_WINDOW = re.compile(r"([0-9]{1,9})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def _checked_id(value: Any) -> GivenId:
    """What may be an id of some model; whether it is one of the model in service is for the operation to say."""
    if isinstance(value, str):
        if fault := id_fault(value):
            raise ValueError(fault)
        return value
    if type(value) is not int or not in_range(value):
        raise ValueError(f"expected an integer of 64 bits or a text, got {wording.show(value)}")
    return value


def _checked_integers(value: Any, check: Callable[[Any], Any]) -> Any:
    """Lists of integers in one look; others one by one, up to where enough of them are wrong."""
    if type(value) is not list or not 0 < len(value) <= MAX_LIST:
        return check(value)
    if set(map(type, value)) == {int} and in_range(min(value)) and in_range(max(value)):
        return value
    wrong = (place for place, one in enumerate(value) if not _may_be_id(one))
    enough = next(itertools.islice(wrong, _MAX_WRONG_IDS - 1, None), len(value) - 1)
    return check(value[: enough + 1])


def _may_be_id(value: Any) -> bool:
    """Without the cost of an exception."""
    if type(value) is str:
        return 0 < len(value) <= MAX_ID_BYTES
    return type(value) is int and in_range(value)


def _checked_kind(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
        raise ValueError(f"expected the name of a kind of events, got {wording.show(value)}")
    return value


def _checked_kinds(value: Any) -> list[str]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_KINDS:
        raise ValueError(f"expected a list of 1 to {MAX_KINDS} kinds of events, got {wording.show(value)}")
    return [_checked_kind(kind) for kind in value]


def _checked_seen(value: Any) -> bool | list[str]:
    if isinstance(value, bool):
        return value
    if not isinstance(value, list):
        raise ValueError(f"expected true, false or a list of kinds of events, got {wording.show(value)}")
    return _checked_kinds(value)


def _checked_vector(value: Any) -> list[float]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_VECTOR:
        raise ValueError(f"expected a list of 1 to {MAX_VECTOR} numbers, got {wording.show(value)}")
    for place, one in enumerate(value):
        if type(one) not in (int, float) or not abs(one) <= 3.4028235e38:
            raise ValueError(f"expected numbers that are finite as float32, got {wording.show(one)} at place {place}")
    return [float(one) for one in value]


def _checked_window(value: Any) -> float:
    """Seconds, of a number or of a text such as "24h"."""
    if isinstance(value, str) and (found := _WINDOW.fullmatch(value)):
        value = int(found[1]) * _SECONDS[found[2]]
    if type(value) not in (int, float) or not 0 < value <= 1e10:
        raise ValueError(
            f'expected a time such as "24h" or "7d" (s, m, h, d, w), or seconds, got {wording.show(value)}'
        )
    return float(value)


def _checked_filter(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(
            f'expected an object, such as {{"feature": "genres", "any": ["Drama"]}}, got {wording.show(value)}'
        )
    return value


ID_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": -(2**63), "exclusiveMaximum": 2**63},
        {"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES},
    ],
    "description": "As the model in service has ids: integers, which may come as their decimal text, or texts.",
}
_KIND_SCHEMA = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
_KINDS_SCHEMA = {"type": "array", "items": _KIND_SCHEMA, "minItems": 1, "maxItems": MAX_KINDS}
Id = Annotated[Any, PlainValidator(_checked_id), WithJsonSchema(ID_SCHEMA)]
Ids = Annotated[list[Id], Field(max_length=MAX_LIST), WrapValidator(_checked_integers)]
SomeIds = Annotated[list[Id], Field(min_length=1, max_length=MAX_LIST), WrapValidator(_checked_integers)]
K = Annotated[int, Field(ge=1, le=MAX_K)]
Offset = Annotated[int, Field(ge=0, le=MAX_OFFSET, description="Leaves out so many of the best; not with a cursor.")]
Cursor = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_CURSOR,
        description="`next_cursor` of the answer before, to the same question: goes on without repeats.",
    ),
]
Score = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(max_length=MAX_NAME)]
ModelName = Annotated[Name, Field(description="The model that is asked; empty: the service's default one.")]
VersionName = Annotated[
    Name, Field(description="A loaded version; empty: the active one, or what the split of traffic says.")
]
Features = Annotated[dict[str, Any], Field(min_length=1, max_length=MAX_FEATURES)]
GivenFeatures = Annotated[dict[str, Any], Field(max_length=MAX_FEATURES)]  # The operation says which there are.
Kinds = Annotated[Any, PlainValidator(_checked_kinds), WithJsonSchema(_KINDS_SCHEMA)]
ExcludeSeen = Annotated[
    Any, PlainValidator(_checked_seen), WithJsonSchema({"anyOf": [{"type": "boolean"}, _KINDS_SCHEMA]})
]
Vector = Annotated[
    Any,
    PlainValidator(_checked_vector),
    WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": MAX_VECTOR}),
]
Window = Annotated[
    Any,
    PlainValidator(_checked_window),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^[0-9]{1,9}[smhdw]$"},
                {"type": "number", "exclusiveMinimum": 0, "maximum": 1e10},
            ]
        }
    ),
]
FilterJson = Annotated[
    Any,
    PlainValidator(_checked_filter),
    WithJsonSchema(
        {
            "type": "object",
            "description": "Which items may be in the answer, by their features.",
            "examples": [{"and": [{"feature": "genres", "any": ["Drama"]}, {"feature": "year", "gte": 1990}]}],
        }
    ),
]
