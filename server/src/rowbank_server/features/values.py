"""A feature's value between its four forms: Python, the API's message, the online store's bytes, and a JSON default."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from rowbank.errors import InvalidFeature, shown
from rowbank_protos.v1 import features_pb2, online_pb2

FeatureData: TypeAlias = "int | float | str | bool | list[int] | list[float] | list[str]"


class FeatureType(str, enum.Enum):
    """The types a feature may have; the values name them in stored views."""

    INT64 = "int64"
    DOUBLE = "double"
    STRING = "string"
    BOOL = "bool"
    INT64_LIST = "int64_list"
    FLOAT_LIST = "float_list"
    STRING_LIST = "string_list"


ABSENT = object()  # In a write: the feature is not there from now on. It is stored as a null.
ABSENT_BYTES = b""  # A null in the online store: a value without a member.

# What an absent feature without a default of its own reads as.
EMPTY: Mapping[FeatureType, FeatureData] = {
    FeatureType.INT64: 0,
    FeatureType.DOUBLE: 0.0,
    FeatureType.STRING: "",
    FeatureType.BOOL: False,
    FeatureType.INT64_LIST: [],
    FeatureType.FLOAT_LIST: [],
    FeatureType.STRING_LIST: [],
}

# The member of the API's `FeatureValue` and of the store's `Value` that we write for each type.
_MESSAGE_MEMBER = {
    FeatureType.INT64: "int64_value",
    FeatureType.DOUBLE: "double_value",
    FeatureType.STRING: "string_value",
    FeatureType.BOOL: "bool_value",
    FeatureType.INT64_LIST: "int64_list",
    FeatureType.FLOAT_LIST: "float_list",
    FeatureType.STRING_LIST: "string_list",
}
_STORED_MEMBER = {
    FeatureType.INT64: "int64_val",
    FeatureType.DOUBLE: "double_val",
    FeatureType.STRING: "string_val",
    FeatureType.BOOL: "bool_val",
    FeatureType.INT64_LIST: "int64_list_val",
    FeatureType.FLOAT_LIST: "float_list_val",
    FeatureType.STRING_LIST: "string_list_val",
}
# What a store filled by others may hold for each type without loss.
_READABLE = {
    FeatureType.INT64: {"int64_val", "int32_val", "unix_timestamp_val"},
    FeatureType.DOUBLE: {"double_val", "float_val"},
    FeatureType.STRING: {"string_val"},
    FeatureType.BOOL: {"bool_val"},
    FeatureType.INT64_LIST: {"int64_list_val", "int32_list_val", "unix_timestamp_list_val"},
    FeatureType.FLOAT_LIST: {"float_list_val", "double_list_val"},
    FeatureType.STRING_LIST: {"string_list_val"},
}
_FLOAT32_END = 3.4028235677973366e38  # Half a step beyond the largest float32: from here a number rounds to infinity.
_LISTS = {FeatureType.INT64_LIST, FeatureType.FLOAT_LIST, FeatureType.STRING_LIST}
_ELEMENT: Mapping[FeatureType, FeatureType] = {
    FeatureType.INT64_LIST: FeatureType.INT64,
    FeatureType.FLOAT_LIST: FeatureType.DOUBLE,
    FeatureType.STRING_LIST: FeatureType.STRING,
}


def check(value: Any, kind: FeatureType, what: str) -> FeatureData:
    """`value` as a feature of `kind`; whole numbers pass as doubles. The client has the same rule.

    Args:
        what: how a message names the value: "items:title of item 7".
    Raises:
        InvalidFeature: another type, a number outside 64 bits, NaN, infinity, or in a list of floats more than float32
            holds.
    """
    if kind in _ELEMENT:
        if not isinstance(value, (list, tuple)):
            raise _wrong(value, kind, what)
        end = _FLOAT32_END if kind is FeatureType.FLOAT_LIST else math.inf
        return [_check_one(item, _ELEMENT[kind], f"{what}[{i}]", end=end) for i, item in enumerate(value)]
    single: FeatureData = _check_one(value, kind, what, end=math.inf)
    return single


def _check_one(value: Any, kind: FeatureType, what: str, *, end: float) -> Any:
    """A single value; a number must be below `end`, which is where float32 ends, or infinity."""
    if kind is FeatureType.BOOL and isinstance(value, bool):
        return value
    if kind is FeatureType.STRING and isinstance(value, str):
        return value
    if kind is FeatureType.INT64 and isinstance(value, int) and not isinstance(value, bool):
        if not -(2**63) <= value < 2**63:
            raise InvalidFeature(f"{what}: {shown(value)} does not fit into 64 bits")
        return value
    if kind is FeatureType.DOUBLE and isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not abs(number) < end:  # False for NaN, too.
            expected = "a finite number" if end == math.inf else "a finite float32"
            raise InvalidFeature(f"{what}: expected {expected}, got {shown(value)}")
        return number
    raise _wrong(value, kind, what)


def _wrong(value: Any, kind: FeatureType, what: str) -> InvalidFeature:
    return InvalidFeature(f"{what}: expected {kind.value}, got {type(value).__name__} {shown(value, limit=60)}")


def from_message(message: features_pb2.FeatureValue, kind: FeatureType, what: str) -> FeatureData:
    """The Python value of an API message.

    Raises:
        InvalidFeature: the message holds nothing or another type than `kind`.
    """
    member = message.WhichOneof("value")
    if member != _MESSAGE_MEMBER[kind]:
        raise InvalidFeature(f"{what}: expected {_MESSAGE_MEMBER[kind]} ({kind.value}), got {member or 'nothing'}")
    held = getattr(message, member)
    return check(list(held.values) if kind in _LISTS else held, kind, what)


def to_message(value: FeatureData, kind: FeatureType) -> features_pb2.FeatureValue:
    """The API message of a value of `kind`."""
    message = features_pb2.FeatureValue()
    fill_message(message, value, kind)
    return message


def fill_message(message: features_pb2.FeatureValue, value: FeatureData, kind: FeatureType) -> None:
    """Sets an empty API message to a value of `kind`."""
    if kind in _LISTS:
        member = getattr(message, _MESSAGE_MEMBER[kind])
        member.SetInParent()  # An empty list is a value too.
        member.values.extend(value)
    else:
        setattr(message, _MESSAGE_MEMBER[kind], value)


def encode(value: FeatureData, kind: FeatureType) -> bytes:
    """The bytes of a value in the online store."""
    stored = online_pb2.OnlineValue()
    if kind in _LISTS:
        member = getattr(stored, _STORED_MEMBER[kind])
        member.SetInParent()
        member.val.extend(value)
    else:
        setattr(stored, _STORED_MEMBER[kind], value)
    return stored.SerializeToString()


def decode(data: bytes, kind: FeatureType, what: str) -> FeatureData | None:
    """The value that the online store holds; None for a null.

    Raises:
        InvalidFeature: the bytes are no value, or one of a type that is not `kind`.
    """
    try:
        stored = online_pb2.OnlineValue.FromString(data)
    except DecodeError as error:
        raise InvalidFeature(f"{what}: the stored bytes are no feature value: {error}") from error
    member = stored.WhichOneof("val")
    if member is None or member == "null_val":
        return None
    if member not in _READABLE[kind]:
        raise InvalidFeature(f"{what}: expected {kind.value}, but the store holds {member}")
    held = getattr(stored, member)
    return list(held.val) if kind in _LISTS else held


def encode_time(seconds: float) -> bytes:
    """Unix seconds as the online store keeps them, to the microsecond."""
    micros = round(seconds * 1e6)
    return Timestamp(seconds=micros // 10**6, nanos=micros % 10**6 * 1000).SerializeToString()


def decode_time(data: bytes) -> float:
    """Unix seconds of a stored timestamp. Raises InvalidFeature: the bytes are none."""
    try:
        stamp = Timestamp.FromString(data)
    except DecodeError as error:
        raise InvalidFeature(f"the stored bytes are no timestamp: {error}") from error
    return float(stamp.seconds + stamp.nanos * 1e-9)
