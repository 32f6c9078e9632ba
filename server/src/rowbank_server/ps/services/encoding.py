"""Lays out the answers that carry rows in their wire form, so that the core writes the rows where gRPC sends them from.

Protobuf's Python classes copy a column three times: into `bytes`, into the message, into the serialized message. Four
thousand rows of 64 floats are a megabyte, and each copy of it costs a tenth of reading the rows from the table. The
messages are simple enough to write by hand: a field is its tag, its length, its bytes. Here everything but the columns
is written, and the columns are handed out as arrays over the message, to be filled before it is sent.

Columns of 4-byte items start at a multiple of 4, which the core needs to write them and lets clients use them in place.
What moves them there is an occurrence of a later field, empty: of a field that occurs twice, the last one counts. Its
length is written with as many bytes as are missing, which protobuf allows. A test parses every answer with protobuf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank_protos import fields
from rowbank_protos.fields import NESTED_HEADER_BYTES, NESTED_LENGTH_BYTES, header
from rowbank_server import _core

Array = npt.NDArray[Any]


@dataclass(slots=True)
class _Message:
    """Literal bytes and the gaps for columns between them, from `start` on."""

    start: int = 0
    size: int = 0
    literals: list[tuple[int, bytes]] = field(default_factory=list)
    columns: list[tuple[int, np.dtype[Any], tuple[int, ...]]] = field(default_factory=list)

    def literal(self, data: bytes) -> None:
        self.literals.append((self.start + self.size, data))
        self.size += len(data)

    def column(self, number: int, dtype: Any, *shape: int, filler: int = 0) -> None:
        """A gap for the bytes field `number`; `filler` is the number of a field that comes later, for alignment."""
        dtype = np.dtype(dtype)
        length = int(np.prod(shape)) * dtype.itemsize
        prefix = header(number, length) if length else b""
        if filler and length:
            self.literal(fields.filler(filler, self.start + self.size + len(prefix)))
        self.literal(prefix)
        self.columns.append((self.start + self.size, dtype, shape))
        self.size += length

    def nested(self, number: int, message: _Message) -> None:
        """Appends `message`, which starts behind the header that it gets here."""
        self.literal(header(number, message.size, length_bytes=NESTED_LENGTH_BYTES))
        self.literals += message.literals
        self.columns += message.columns
        self.size += message.size

    def allocate(self) -> tuple[bytes, list[Array]]:
        """The message with its literals written, and its columns to be filled."""
        data, room = _core.new_message(self.size)
        writable = room.data
        for at, literal in self.literals:
            writable[at : at + len(literal)] = literal
        return data, [
            np.ndarray(shape, dtype, buffer=room, offset=at if 0 not in shape else 0)
            for at, dtype, shape in self.columns
        ]


def allocate_pull(tables: Sequence[tuple[str, int, int]], dtype: np.dtype[Any]) -> tuple[bytes, list[Array]]:
    """A PullResponse for tables of (name, rows, width), and per table its values [rows, width] and status [rows] uint8.

    Every array must be filled before the message is passed on, and be let alone from then on.
    """
    answer = _Message()
    for name, rows, width in tables:
        table = _Message(start=answer.size + NESTED_HEADER_BYTES)
        table.literal(header(1, len(name.encode())) + name.encode())
        table.column(2, dtype, rows, width, filler=3)
        table.column(3, np.uint8, rows)
        answer.nested(1, table)
    return answer.allocate()


def allocate_lookup(
    rows: int, width: int, dtype: np.dtype[Any], *, with_metadata: bool
) -> tuple[bytes, Array, Array, Array | None, Array | None]:
    """A LookupResponse, its values [rows, width], found [rows] uint8; frequency and last_used [rows] uint32 or None.

    As `allocate_pull`.
    """
    answer = _Message()
    answer.column(1, dtype, rows, width, filler=2)
    if with_metadata:
        answer.column(3, np.uint32, rows, filler=2)
        answer.column(4, np.uint32, rows, filler=2)
    answer.column(2, np.uint8, rows)
    data, columns = answer.allocate()
    frequency, last_used = columns[1:3] if with_metadata else (None, None)
    return data, columns[0], columns[-1], frequency, last_used
