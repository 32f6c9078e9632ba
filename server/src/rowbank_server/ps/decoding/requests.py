"""Turns the columns of requests into arrays, and says precisely what is wrong with them if that fails.

Everything here runs before anything is applied, so a request that is refused changed nothing. Arrays are views of the
request where that is aligned as their items need it, and copies where it is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.errors import DimMismatch, InvalidRequest, NonFiniteGradient, RequestTooLarge
from rowbank_protos import columns
from rowbank_protos.columns import Array, Buffer, ColumnError
from rowbank_server import _core
from rowbank_server.ps.tables.table import ShardTable

_KEY_BYTES = 8


def require_key_limit(key_columns: Iterable[Buffer], *, max_keys: int) -> None:
    """Raises RequestTooLarge if the columns hold more than `max_keys` keys together."""
    got = sum(len(column) for column in key_columns) // _KEY_BYTES
    if got > max_keys:
        raise RequestTooLarge(
            f"keys: at most {max_keys} a request (setting max_keys_per_request), got {got}; send several requests",
            metadata={"limit": str(max_keys), "setting": "max_keys_per_request", "got": str(got)},
        )


def keys_of(table: ShardTable, column: Buffer) -> npt.NDArray[np.int64]:
    """[N] int64 keys, all owned by this shard.

    Raises:
        InvalidRequest: a byte length that does not divide.
        WrongShard: another shard owns one of them.
    """
    try:
        keys = np.require(columns.unpack_keys(column), requirements="A")
    except ColumnError as error:
        raise _invalid(table, str(error)) from None
    table.require_owned(keys)
    return keys


def rows_of(table: ShardTable, column: Buffer, *, row_count: int, wire_dtype: int, name: str) -> Array:
    """[row_count, dim] of the storage type of `wire_dtype`: gradients, values or deltas.

    Raises:
        DimMismatch: the bytes are whole rows, but of another dim.
        InvalidRequest: an unknown data type, or a byte length that fits no dim.
    """
    try:
        rows = columns.unpack_values(column, row_count=row_count, dim=table.dim, value_type=wire_dtype, name=name)
        return np.require(rows, requirements="A")
    except ColumnError as error:
        item_bytes = columns.storage_dtype(wire_dtype).itemsize if _is_data_type(wire_dtype) else 0
        if not (item_bytes and row_count) or len(column) % (row_count * item_bytes):
            raise _invalid(table, str(error)) from None
        got = len(column) // (row_count * item_bytes)
        raise DimMismatch(
            f"table {table.name!r}: {name}: expected {row_count} rows of dim {table.dim}, got dim {got}",
            metadata={"table": table.name, "expected": str(table.dim), "got": str(got)},
        ) from None


def counts_of(table: ShardTable, column: Buffer, *, row_count: int, name: str = "counts") -> Array | None:
    """[row_count] uint32, or None for an empty column. Raises InvalidRequest for another length."""
    if not column:
        return None
    try:
        return np.require(columns.unpack_counts(column, row_count=row_count, name=name), requirements="A")
    except ColumnError as error:
        raise _invalid(table, str(error)) from None


def flags_of(table: ShardTable, column: Buffer, *, row_count: int, name: str) -> Array:
    """[row_count] uint8, each 0 or 1. Raises InvalidRequest for another length or value."""
    try:
        flags = columns.unpack_bytes(column, row_count=row_count, name=name)
    except ColumnError as error:
        raise _invalid(table, str(error)) from None
    if (flags > 1).any():
        raise _invalid(table, f"{name}: expected 0 or 1 per row, got {int(flags.max())}")
    return flags


def read_layout(wire_dtype: int, dim: int) -> tuple[np.dtype[Any], int]:
    """The storage type that rows of `dim` are read in, and how many of it a row has; see `columns.read_layout`.

    Raises InvalidRequest for an unknown data type.
    """
    try:
        return columns.read_layout(wire_dtype, dim)
    except ColumnError as error:
        raise InvalidRequest(f"wire_dtype: {error}") from None


def require_finite(table: ShardTable, keys: Array, rows: Array, *, wire_dtype: int, name: str) -> None:
    """Raises NonFiniteGradient, which names the first bad row, if `rows` hold a NaN or an infinity."""
    if _core.all_finite(rows):
        return
    with np.errstate(invalid="ignore"):
        bad = ~np.isfinite(columns.to_float32(rows, wire_dtype)).all(axis=1)
    at = int(bad.argmax())
    raise NonFiniteGradient(
        f"table {table.name!r}: {name}: row {at} (key {int(keys[at])}) is not finite; "
        f"{int(bad.sum())} of {len(rows)} rows are NaN or infinite; nothing was applied",
        metadata={"table": table.name, "row": str(at), "key": str(int(keys[at]))},
    )


def override_of(table: ShardTable, value: float | None, *, name: str) -> float | None:
    """A push's own learning_rate, clip_value or max_norm, or None. Raises InvalidRequest if it is out of range."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise _invalid(table, f"{name}: expected a finite number of at least 0, got {value}")
    return value


def _is_data_type(wire_dtype: int) -> bool:
    try:
        columns.storage_dtype(wire_dtype)
    except ColumnError:
        return False
    return True


def _invalid(table: ShardTable, text: str) -> InvalidRequest:
    return InvalidRequest(f"table {table.name!r}: {text}", metadata={"table": table.name})
