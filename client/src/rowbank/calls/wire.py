"""Reads answers that carry rows, and writes requests that do, without the copies that protobuf makes.

Four thousand rows of 64 floats are a megabyte, and a copy of it costs a tenth of all else that a client does for them.
Columns are read as views of the answer and written with one copy, into the request. Gradients lie at a multiple of 4
there, so that the server can use them in place.

A malformed answer raises ValueError, which gRPC reports as a failed call, as it does when protobuf cannot parse one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from rowbank_protos.fields import (
    BYTES,
    FIXED32,
    NESTED_HEADER_BYTES,
    NESTED_LENGTH_BYTES,
    VARINT,
    filler,
    header,
    read_fields,
    tag,
    varint,
)
from rowbank_protos.v1 import common_pb2, rows_pb2

_EMPTY = memoryview(b"")

Part = bytes | memoryview


@dataclass(slots=True)
class TableRows:
    """A table of a PullResponse."""

    table: str = ""
    values: memoryview = _EMPTY
    status: memoryview = _EMPTY


@dataclass(slots=True)
class PullAnswer:
    """A PullResponse, its columns as views."""

    DESCRIPTOR: ClassVar[Any] = rows_pb2.PullResponse.DESCRIPTOR

    tables: list[TableRows] = field(default_factory=list)

    @staticmethod
    def FromString(data: bytes, /) -> PullAnswer:  # noqa: N802 - as protobuf calls it.
        """Parses a PullResponse."""
        return PullAnswer([_read_table_rows(value) for number, value in _fields(memoryview(data)) if number == 1])


@dataclass(slots=True)
class LookupAnswer:
    """A LookupResponse, its columns as views."""

    DESCRIPTOR: ClassVar[Any] = rows_pb2.LookupResponse.DESCRIPTOR

    values: memoryview = _EMPTY
    found: memoryview = _EMPTY
    frequency: memoryview = _EMPTY
    last_used: memoryview = _EMPTY

    @staticmethod
    def FromString(data: bytes, /) -> LookupAnswer:  # noqa: N802 - as protobuf calls it.
        """Parses a LookupResponse."""
        fields = dict(_fields(memoryview(data)))
        return LookupAnswer(*(fields.get(number, _EMPTY) for number in (1, 2, 3, 4)))


def _read_table_rows(data: memoryview) -> TableRows:
    fields = dict(_fields(data))
    return TableRows(str(fields.get(1, _EMPTY), "utf-8"), fields.get(2, _EMPTY), fields.get(3, _EMPTY))


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(number, bytes) of each field that is bytes; no answer read here has any other."""
    return ((number, content) for number, kind, _, content in read_fields(data) if kind == BYTES)


@dataclass(slots=True, eq=False)
class TableGradients:
    """A table of a PushRequest; columns are contiguous arrays of the wire's dtypes."""

    table: str
    keys: npt.NDArray[np.int64]
    gradients: npt.NDArray[Any]
    counts: npt.NDArray[np.uint32] | None
    step: int
    learning_rate: float | None
    clip_value: float | None
    max_norm: float | None

    def parts(self, start: int) -> list[Part]:
        """The message, serialized, in pieces; gradients are aligned if the first byte is the request's `start`-th."""
        parts = [*_bytes(1, self.table.encode()), *_column(2, self.keys)]
        if self.gradients.size:
            prefix = header(3, self.gradients.nbytes)
            parts.append(filler(3, start + sum(map(len, parts)) + len(prefix)))
            parts += _column(3, self.gradients)
        if self.counts is not None:
            parts += _column(4, self.counts)
        parts += _number(5, self.step)
        for number, value in ((6, self.learning_rate), (7, self.clip_value), (8, self.max_norm)):
            if value is not None:
                parts.append(tag(number, FIXED32) + struct.pack("<f", value))
        return parts


@dataclass(slots=True, eq=False)
class PushMessage:
    """A PushRequest."""

    DESCRIPTOR: ClassVar[Any] = rows_pb2.PushRequest.DESCRIPTOR

    wire_dtype: int
    tables: list[TableGradients] = field(default_factory=list)
    request_id: common_pb2.RequestId | None = None

    def SerializeToString(self) -> bytes:  # noqa: N802 - as protobuf calls it.
        """The request as gRPC sends it."""
        return b"".join(self.pieces())

    def pieces(self) -> list[Part]:
        """The same, in pieces; columns are views."""
        parts: list[Part] = []
        size = 0
        for table in self.tables:
            content = table.parts(size + NESTED_HEADER_BYTES)
            length = sum(map(len, content))
            parts += [header(1, length, length_bytes=NESTED_LENGTH_BYTES), *content]
            size += NESTED_HEADER_BYTES + length
        parts += _number(2, self.wire_dtype)
        if self.request_id is not None:
            parts += _bytes(3, self.request_id.SerializeToString())
        return parts


@dataclass(slots=True, eq=False)
class UpsertMessage:
    """An UpsertRequest."""

    DESCRIPTOR: ClassVar[Any] = rows_pb2.UpsertRequest.DESCRIPTOR

    table: str
    keys: npt.NDArray[np.int64]
    values: npt.NDArray[Any]
    wire_dtype: int
    request_id: common_pb2.RequestId

    def SerializeToString(self) -> bytes:  # noqa: N802 - as protobuf calls it.
        """The request as gRPC sends it."""
        parts = [*_bytes(1, self.table.encode()), *_column(2, self.keys), *_column(3, self.values)]
        parts += [*_number(4, self.wire_dtype), *_bytes(5, self.request_id.SerializeToString())]
        return b"".join(parts)


@dataclass(slots=True, eq=False)
class TableStore:
    """A table of a StoreRequest; columns are contiguous arrays of the wire's dtypes."""

    table: str
    keys: npt.NDArray[np.int64]
    values: npt.NDArray[Any]
    exists: bytes | None
    touch: bool

    def parts(self) -> list[Part]:
        """The message, serialized, in pieces."""
        parts = [*_bytes(1, self.table.encode()), *_column(2, self.keys), *_column(3, self.values)]
        return [*parts, *_bytes(4, self.exists or b""), *_number(5, self.touch)]


@dataclass(slots=True, eq=False)
class StoreMessage:
    """A StoreRequest."""

    DESCRIPTOR: ClassVar[Any] = rows_pb2.StoreRequest.DESCRIPTOR

    tables: list[TableStore]
    wire_dtype: int
    request_id: common_pb2.RequestId

    def SerializeToString(self) -> bytes:  # noqa: N802 - as protobuf calls it.
        """The request as gRPC sends it."""
        parts: list[Part] = []
        for table in self.tables:
            parts += _nested(1, table.parts())
        parts += [*_number(2, self.wire_dtype), *_bytes(3, self.request_id.SerializeToString())]
        return b"".join(parts)


def _nested(number: int, parts: list[Part]) -> Iterable[Part]:
    return [header(number, sum(map(len, parts))), *parts]


def _column(number: int, column: npt.NDArray[Any]) -> list[Part]:
    data = column.astype(column.dtype.newbyteorder("<"), copy=False)
    return _bytes(number, data.reshape(-1).view(np.uint8).data if data.size else b"")


def _bytes(number: int, data: Part) -> list[Part]:
    return [header(number, len(data)), data] if len(data) else []


def _number(number: int, value: int) -> list[Part]:
    return [tag(number, VARINT) + varint(value)] if value else []
