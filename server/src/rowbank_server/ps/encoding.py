"""Writes the answers that carry rows straight into their wire form, with one copy of the rows.

Protobuf's Python classes copy a column three times: into `bytes`, into the message, into the serialized message. Four
thousand rows of 64 floats are a megabyte, and each copy of it costs as much as reading the rows from the table. The
messages are simple enough to write by hand: a field is its tag, its length, its bytes. A test parses every answer back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

_LENGTH_DELIMITED = 2


def encode_pull(tables: Iterable[tuple[str, npt.NDArray[Any], npt.NDArray[Any]]]) -> bytes:
    """A serialized PullResponse of (table, values, status) in this order; arrays are contiguous."""
    parts: list[bytes | memoryview] = []
    for name, values, status in tables:
        fields = [*_field(1, name.encode()), *_field(2, _view(values)), *_field(3, _view(status))]
        parts += [_header(1, sum(len(part) for part in fields)), *fields]
    return b"".join(parts)


def encode_lookup(
    values: npt.NDArray[Any],
    found: npt.NDArray[Any],
    frequency: npt.NDArray[Any] | None,
    last_used: npt.NDArray[Any] | None,
) -> bytes:
    """A serialized LookupResponse; arrays are contiguous."""
    parts: list[bytes | memoryview] = []
    for number, column in enumerate((values, found, frequency, last_used), start=1):
        if column is not None:
            parts += _field(number, _view(column))
    return b"".join(parts)


def _view(column: npt.NDArray[Any]) -> memoryview:
    return column.reshape(-1).view(np.uint8).data if column.size else memoryview(b"")


def _field(number: int, data: bytes | memoryview) -> list[bytes | memoryview]:
    return [_header(number, len(data)), data] if len(data) else []


def _header(number: int, length: int) -> bytes:
    return bytes([number << 3 | _LENGTH_DELIMITED]) + _varint(length)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
