"""Many rows in columns, as a bulk import sends them: checked, and encoded a column at a time as the store has them.

A row's features could be encoded one by one, as `store.write` does; of a million rows that would take minutes. Here
NumPy encodes a column at once, and only the cut into one `bytes` per row, which Redis's client wants, is Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rowbank.catalogue import REMOVED
from rowbank.errors import InvalidFeature
from rowbank_protos.fields import varint
from rowbank_protos.v1 import features_pb2
from rowbank_server.features import layout
from rowbank_server.features.values import ABSENT_BYTES, FeatureType, encode
from rowbank_server.features.views import FeatureView, type_of

Numbers: TypeAlias = "npt.NDArray[Any]"

_LATEST_US = 10**17
_LISTS = {FeatureType.INT64_LIST, FeatureType.FLOAT_LIST, FeatureType.STRING_LIST}
_DTYPES = {
    FeatureType.INT64: "<i8",
    FeatureType.DOUBLE: "<f8",
    FeatureType.BOOL: "u1",
    FeatureType.INT64_LIST: "<i8",
    FeatureType.FLOAT_LIST: "<f4",
}
# What a stored value begins with: the number of its member of `Value`, and how its content is packed.
_TAGS = {
    FeatureType.STRING: b"\x12",
    FeatureType.INT64: b"\x20",
    FeatureType.DOUBLE: b"\x29",
    FeatureType.BOOL: b"\x38",
    FeatureType.STRING_LIST: b"\x62",
    FeatureType.INT64_LIST: b"\x72",
    FeatureType.FLOAT_LIST: b"\x82\x01",
}
_VAL = b"\x0a"  # `val` in a list's message: the elements, packed; or one text.
_VARINT_BYTES = 10


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows of one view, ready for Redis.

    Attributes:
        entities: [N] int64.
        event_times_us: [N] or [1] int64.
        fields: hash field -> its value in each row; b"": a null.
    """

    entities: npt.NDArray[np.int64]
    event_times_us: npt.NDArray[np.int64]
    fields: dict[bytes, list[bytes]]


def columns_from_message(view: FeatureView, message: features_pb2.WriteColumnsRequest, now_us: int) -> Columns:
    """The rows of a request.

    Args:
        now_us: what they are of if the request does not say it.
    Raises:
        InvalidFeature: what is wrong with which column; nothing of the request counts.
    """
    entities = _array(message.entities, "<i8", f"view {view.name!r}: entities")
    times = _array(message.event_times_us, "<i8", f"view {view.name!r}: event_times_us")
    if not len(times):
        times = np.array([now_us], np.int64)
    if len(times) not in (1, len(entities)):
        raise InvalidFeature(
            f"view {view.name!r}: expected one event time, or one for each of {len(entities)} rows, got {len(times)}"
        )
    outside = np.flatnonzero((times < 0) | (times >= _LATEST_US))
    if len(outside):
        raise InvalidFeature(
            f"view {view.name!r}: event_times_us: expected microseconds from 0 to 1e17, got {times[outside[0]]} in row "
            f"{outside[0] + 1}"
        )
    if not message.columns:
        raise InvalidFeature(f"view {view.name!r}: expected at least one column, got none")
    fields: dict[bytes, list[bytes]] = {}
    for column in message.columns:
        key = layout.feature_field(view.name, column.name)
        if column.name == REMOVED or key in fields:
            what = "cannot be written" if column.name == REMOVED else "came twice"
            raise InvalidFeature(f"view {view.name!r}: column {column.name!r} {what}; leave it out")
        fields[key] = _encoded(view, column, len(entities))
    if any(field.name == REMOVED for field in view.fields):  # What is written is there.
        fields[layout.feature_field(view.name, REMOVED)] = [encode(False, FeatureType.BOOL)] * len(entities)
    return Columns(entities, times, fields)


def entity_keys(join_key: str, entities: npt.NDArray[np.int64], project: str) -> list[bytes]:
    """The Redis key of each entity's hash, as `layout.entity_key` makes one."""
    sample = layout.entity_key(join_key, 0, project)
    start = len(layout.entity_prefix(join_key)) + 8
    made = np.tile(np.frombuffer(sample, np.uint8), (len(entities), 1))
    made[:, start : start + 8] = np.ascontiguousarray(entities, "<i8").view(np.uint8).reshape(-1, 8)
    return _rows(made)


def timestamps(times_us: npt.NDArray[np.int64]) -> list[bytes]:
    """Serialized `Timestamp`s, which leave out what is 0."""
    seconds, nanos = np.divmod(times_us, 10**6)
    parts = []
    for tag, numbers in ((b"\x08", seconds), (b"\x10", nanos * 1000)):
        texts = _tagged(tag, *_varints(numbers))
        parts.append([b"" if zero else text for zero, text in zip((numbers == 0).tolist(), texts, strict=True)])
    return [first + second for first, second in zip(*parts, strict=True)]


def _encoded(view: FeatureView, column: features_pb2.FeatureColumn, rows: int) -> list[bytes]:
    """The stored value of each row."""
    kind, what = view.field(column.name).type, f"{view.name}:{column.name}"
    if type_of(column.type) is not kind:
        got = named.value if (named := type_of(column.type)) else f"type {column.type}"
        raise InvalidFeature(
            f"{what}: the view has {kind.value}, the column is {got}; read the view again, it may have been replaced"
        )
    present = _array(column.present, "u1", f"{what}: present")
    if len(present) not in (0, rows):
        raise InvalidFeature(f"{what}: present: expected {rows} bytes, or none, got {len(present)}")
    counts = np.ones(rows, np.int64)
    if kind in _LISTS:
        counts = _sized(_array(column.counts, "<u4", f"{what}: counts"), rows, f"{what}: counts").astype(np.int64)
    elements = int(counts.sum())
    if kind in (FeatureType.STRING, FeatureType.STRING_LIST):
        values = _texts(kind, _split_texts(column, elements, what), counts)
    else:
        numbers = _sized(_array(column.numbers, _DTYPES[kind], f"{what}: numbers"), elements, f"{what}: numbers")
        _check_numbers(kind, numbers, what)
        values = _numbers(kind, numbers, counts)
    if len(present) and not present.all():
        values = [value if there else ABSENT_BYTES for value, there in zip(values, present.tolist(), strict=True)]
    return values


def _check_numbers(kind: FeatureType, numbers: Numbers, what: str) -> None:
    if kind is FeatureType.BOOL:
        bad, expected = numbers > 1, "0 or 1"
    elif kind in (FeatureType.DOUBLE, FeatureType.FLOAT_LIST):
        bad, expected = ~np.isfinite(numbers), "finite numbers"
    else:
        return
    if bad.any():
        raise InvalidFeature(f"{what}: expected {expected}, got {numbers[bad.argmax()]}")


def _numbers(kind: FeatureType, numbers: Numbers, counts: npt.NDArray[np.int64]) -> list[bytes]:
    tag = _TAGS[kind]
    if kind is FeatureType.BOOL:
        both = (tag + b"\x00", tag + b"\x01")
        return [both[one] for one in numbers.tolist()]
    if kind is FeatureType.DOUBLE:
        return _tagged(tag, np.ascontiguousarray(numbers).view(np.uint8).reshape(-1, 8), np.full(len(numbers), 8))
    if kind is FeatureType.INT64:
        return _tagged(tag, *_varints(numbers))
    if kind is FeatureType.FLOAT_LIST:
        data, sizes = numbers.tobytes(), counts * 4
    else:
        made, lengths = _varints(numbers)
        data = made[np.arange(_VARINT_BYTES) < lengths[:, None]].tobytes()
        ends = np.concatenate(([0], np.cumsum(lengths)))
        stops = np.cumsum(counts)
        sizes = ends[stops] - ends[stops - counts]
    return _messages(tag, [data[start:stop] for start, stop in pairwise(_ends(sizes))])


def _messages(tag: bytes, packed: list[bytes]) -> list[bytes]:
    """Lists of numbers from their packed elements; an empty one is an empty message."""
    empty = tag + b"\x00"
    out = []
    for data in packed:
        inner = _VAL + _varint(len(data))
        out.append(tag + _varint(len(inner) + len(data)) + inner + data if data else empty)
    return out


def _texts(kind: FeatureType, texts: list[bytes], counts: npt.NDArray[np.int64]) -> list[bytes]:
    tag = _TAGS[kind]
    if kind is FeatureType.STRING:
        return [tag + _varint(len(text)) + text for text in texts]
    whole = [_VAL + _varint(len(text)) + text for text in texts]
    joined = [b"".join(whole[start:stop]) for start, stop in pairwise(_ends(counts))]
    return [tag + _varint(len(data)) + data for data in joined]


def _split_texts(column: features_pb2.FeatureColumn, count: int, what: str) -> list[bytes]:
    sizes = _sized(_array(column.text_bytes, "<u4", f"{what}: text_bytes"), count, f"{what}: text_bytes")
    ends = _ends(sizes.astype(np.int64))
    data = column.texts
    if ends[-1] != len(data):
        raise InvalidFeature(f"{what}: texts: expected {ends[-1]} bytes as text_bytes says, got {len(data)}")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise InvalidFeature(f"{what}: texts: expected UTF-8: {error}") from None
    firsts = np.frombuffer(data, np.uint8)[np.asarray(ends[:-1], np.int64)[sizes > 0]]
    if ((firsts & 0xC0) == 0x80).any():  # The whole is UTF-8, so the parts are, unless one begins within a character.
        raise InvalidFeature(f"{what}: texts: expected UTF-8, got a text that begins within a character")
    return [data[start:stop] for start, stop in pairwise(ends)]


def _ends(sizes: npt.NDArray[np.int64]) -> list[int]:
    return [0, *np.cumsum(sizes).tolist()]


def _tagged(tag: bytes, made: npt.NDArray[np.uint8], lengths: Numbers) -> list[bytes]:
    """`tag` and the first `lengths` bytes of each row, which are few different numbers."""
    whole = np.empty((len(made), made.shape[1] + 1), np.uint8)
    whole[:, 0] = tag[0]
    whole[:, 1:] = made
    distinct = np.unique(lengths).tolist()
    if len(distinct) == 1:
        return _rows(whole[:, : distinct[0] + 1])
    out: list[bytes] = [b""] * len(made)
    for length in distinct:
        places = np.flatnonzero(lengths == length)
        for place, text in zip(places.tolist(), _rows(whole[places, : length + 1]), strict=True):
            out[place] = text
    return out


def _varints(numbers: Numbers) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Numbers as base-128 varints: [N, 10] bytes, and how many of each row count."""
    rest = numbers.astype(np.int64).view(np.uint64)
    made = np.empty((len(rest), _VARINT_BYTES), np.uint8)
    lengths = np.ones(len(rest), np.int64)
    for place in range(_VARINT_BYTES):
        made[:, place] = (rest & np.uint64(0x7F)).astype(np.uint8)
        rest = rest >> np.uint64(7)
        more = rest > 0
        made[more, place] |= 0x80
        lengths += more
        if not more.any():
            break
    return made, lengths


def _varint(number: int) -> bytes:
    return _SMALL[number] if number < 0x80 else varint(number)


_SMALL = [bytes([number]) for number in range(0x80)]


def _rows(made: npt.NDArray[np.uint8]) -> list[bytes]:
    """Each row of a matrix as `bytes`."""
    if not made.size:
        return []
    rows: list[bytes] = np.ascontiguousarray(made).view(f"V{made.shape[1]}").ravel().tolist()
    return rows


def _array(data: bytes, dtype: str, what: str) -> Numbers:
    width = np.dtype(dtype).itemsize
    if len(data) % width:
        raise InvalidFeature(f"{what}: expected whole numbers of {width} bytes, got {len(data)} bytes")
    return np.frombuffer(data, dtype)


def _sized(array: Numbers, count: int, what: str) -> Numbers:
    if len(array) != count:
        raise InvalidFeature(f"{what}: expected {count} numbers, got {len(array)}")
    return array
