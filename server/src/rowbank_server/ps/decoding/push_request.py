"""A PushRequest read without copying its columns; the gradients of a step are megabytes."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rowbank.errors import RequestTooLarge
from rowbank_protos.fields import BYTES, FIXED32, VARINT, read_fields
from rowbank_protos.v1 import common_pb2, rows_pb2

_EMPTY = memoryview(b"")
_U32, _SIGN = 2**32 - 1, 2**31  # protobuf takes an enum's lowest 32 bits, signed.
_COLUMNS = {2: "keys", 3: "gradients", 4: "counts"}
_OVERRIDES = {6: "learning_rate", 7: "clip_value", 8: "max_norm"}
# A table has eight at most. Each takes Python about a microsecond, which megabytes of empty ones must not add up to.
_MOST_FIELDS = 1 << 17


@dataclass(slots=True)
class TableGradients:
    """A table of a PushRequest; columns are views of the request."""

    table: str = ""
    keys: memoryview = _EMPTY
    gradients: memoryview = _EMPTY
    counts: memoryview = _EMPTY
    step: int = 0
    learning_rate: float | None = None
    clip_value: float | None = None
    max_norm: float | None = None
    returned: list[rows_pb2.ReturnedRows] = field(default_factory=list)


@dataclass(slots=True)
class PushRequest:
    """As rows_pb2.PushRequest, and read as protobuf reads it."""

    DESCRIPTOR: ClassVar[Any] = rows_pb2.PushRequest.DESCRIPTOR

    tables: list[TableGradients] = field(default_factory=list)
    wire_dtype: int = 0
    request_id: common_pb2.RequestId = field(default_factory=common_pb2.RequestId)

    @staticmethod
    def FromString(data: bytes, /) -> PushRequest:  # noqa: N802 - as protobuf calls it.
        """Parses a PushRequest.

        Raises:
            ValueError, DecodeError: `data` is none.
            RequestTooLarge: it has more fields than any push needs.
        """
        request, count = PushRequest(), itertools.count(1)
        returned: list[rows_pb2.ReturnedRows] = []
        for number, kind, value, content in _fields(memoryview(data), count):
            if (number, kind) == (1, BYTES):
                request.tables.append(_table(content, count))
            elif (number, kind) == (2, VARINT):
                request.wire_dtype = (value & _U32 ^ _SIGN) - _SIGN
            elif (number, kind) == (3, BYTES):
                request.request_id.MergeFromString(bytes(content))
            elif (number, kind) == (4, BYTES):
                returned.append(rows_pb2.ReturnedRows.FromString(bytes(content)))
        for rows in returned:
            if rows.part >= len(request.tables):
                raise ValueError(f"returned: expected a part below {len(request.tables)}, got {rows.part}")
            request.tables[rows.part].returned.append(rows)
        return request


def _table(data: memoryview, count: Iterator[int]) -> TableGradients:
    part = TableGradients()
    for number, kind, value, content in _fields(data, count):
        if kind == BYTES and number == 1:
            part.table = str(content, "utf-8")
        elif kind == BYTES and number in _COLUMNS:
            setattr(part, _COLUMNS[number], content)
        elif kind == FIXED32 and number in _OVERRIDES:
            setattr(part, _OVERRIDES[number], struct.unpack("<f", content)[0])
        elif kind == VARINT and number == 5:
            part.step = value
    return part


def _fields(data: memoryview, count: Iterator[int]) -> Iterator[tuple[int, int, int, memoryview]]:
    for found in read_fields(data):
        if next(count) > _MOST_FIELDS:
            raise RequestTooLarge(f"request: at most {_MOST_FIELDS} fields, got more; send several requests")
        yield found
