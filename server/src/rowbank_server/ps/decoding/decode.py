"""Turns requests into checked mutations, the same way for a caller and for the journal.

Everything is checked here, before anything is applied: what can still fail after that is a defect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message

from rowbank.errors import DimMismatch, InvalidRequest, RequestTooLarge
from rowbank_protos.columns import Array, Buffer, unpack_keys
from rowbank_protos.v1 import rows_pb2
from rowbank_server.journal.records import Kind
from rowbank_server.ps.decoding import requests
from rowbank_server.ps.decoding.push_request import PushRequest, TableGradients
from rowbank_server.ps.tables.arrivals import Returned
from rowbank_server.ps.tables.mutations import (
    Accumulate,
    Clear,
    Import,
    Mutation,
    Push,
    PushPart,
    Remove,
    Store,
    Touch,
    Upsert,
)
from rowbank_server.ps.tables.table import ShardTable

REQUESTS: dict[Kind, type[Message] | type[PushRequest]] = {
    Kind.PUSH: PushRequest,
    Kind.UPSERT: rows_pb2.UpsertRequest,
    Kind.ACCUMULATE: rows_pb2.AccumulateRequest,
    Kind.REMOVE: rows_pb2.RemoveRequest,
    Kind.CLEAR: rows_pb2.ClearRequest,
    Kind.TOUCH: rows_pb2.TouchRequest,
    Kind.IMPORT: rows_pb2.ImportRequest,
    Kind.STORE: rows_pb2.StoreRequest,
}


def parse(kind: Kind, data: bytes) -> Any:
    """The request of that kind. Raises InvalidRequest if `data` is none, RequestTooLarge if it has too many fields."""
    try:
        return REQUESTS[kind].FromString(data)
    except RequestTooLarge:
        raise
    except (DecodeError, ValueError):
        raise InvalidRequest(f"expected a serialized {REQUESTS[kind].DESCRIPTOR.full_name}, got other bytes") from None


def tables_named(kind: Kind, request: Any) -> list[str]:
    """The names of the tables of a request, in its order."""
    return [part.table for part in request.tables] if kind in (Kind.PUSH, Kind.STORE) else [request.table]


def build(kind: Kind, request: Any, tables: Sequence[ShardTable], *, max_keys: int) -> Mutation:
    """The mutation that `request` asks for, on `tables`, which `tables_named` named.

    Raises:
        RequestTooLarge, InvalidRequest, DimMismatch, NonFiniteGradient, WrongShard: what is wrong with it.
        TableFrozen: a table is a model version's read-only copy.
    """
    for table in tables:
        table.require_mutable()
    return _BUILDERS[kind](request, tables, max_keys)


def _push(request: Any, tables: Sequence[ShardTable], max_keys: int) -> Push:
    requests.require_key_limit((part.keys for part in request.tables), max_keys=max_keys)
    _require_each_once(request, join="gradients")  # Each would take a step.
    parts = zip(request.tables, tables, strict=True)
    return Push([_push_part(part, table, request.wire_dtype) for part, table in parts])


def _push_part(part: TableGradients, table: ShardTable, wire_dtype: int) -> PushPart:
    keys = requests.keys_of(table, part.keys)
    return PushPart(
        table=table,
        keys=keys,
        gradients=_rows(table, keys, part.gradients, wire_dtype, name="gradients"),
        counts=requests.counts_of(table, part.counts, row_count=len(keys)),
        step=part.step,
        learning_rate=requests.override_of(table, part.learning_rate, name="learning_rate"),
        clip_value=requests.override_of(table, part.clip_value, name="clip_value"),
        max_norm=requests.override_of(table, part.max_norm, name="max_norm"),
        returned=_returned(part.returned, table) if part.returned else None,
    )


def _returned(rows: Sequence[rows_pb2.ReturnedRows], table: ShardTable) -> Returned:
    """Rows that came back with a push, as the journal has them."""
    keys = np.require(np.concatenate([unpack_keys(one.keys) for one in rows]), requirements="A")
    packed = b"".join(one.rows for one in rows)
    if len(packed) != len(keys) * table.rows.packed_row_bytes:
        raise InvalidRequest(f"table {table.name!r}: returned: expected {len(keys)} packed rows, got another length")
    return Returned(keys, packed)


def _upsert(request: Any, tables: Sequence[ShardTable], max_keys: int) -> Upsert:
    table, keys = _table_keys(request, tables, max_keys)
    return Upsert(table, keys, _rows(table, keys, request.values, request.wire_dtype, name="values"))


def _accumulate(request: Any, tables: Sequence[ShardTable], max_keys: int) -> Accumulate:
    table, keys = _table_keys(request, tables, max_keys)
    deltas = _rows(table, keys, request.deltas, request.wire_dtype, name="deltas")
    return Accumulate(table, keys, deltas, requests.flags_of(table, request.exists, row_count=len(keys), name="exists"))


def _store(request: Any, tables: Sequence[ShardTable], max_keys: int) -> Store:
    requests.require_key_limit((part.keys for part in request.tables), max_keys=max_keys)
    _require_each_once(request, join="values")
    parts = zip(request.tables, tables, strict=True)
    return Store([_store_part(part, table, request.wire_dtype) for part, table in parts])


def _store_part(part: rows_pb2.TableStore, table: ShardTable, wire_dtype: int) -> Upsert | Accumulate:
    keys = requests.keys_of(table, part.keys)
    rows = _rows(table, keys, part.values, wire_dtype, name="values")
    if not part.exists:
        return Upsert(table, keys, rows, part.touch)
    exists = requests.flags_of(table, part.exists, row_count=len(keys), name="exists")
    return Accumulate(table, keys, rows, exists, part.touch)


def _require_each_once(request: Any, *, join: str) -> None:
    """Replay could not tell which of two parts of one table a row has seen."""
    names = [part.table for part in request.tables]
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise InvalidRequest(f"tables: expected each table once, got {twice!r} twice; join its keys and {join}")


def _remove(request: Any, tables: Sequence[ShardTable], max_keys: int) -> Remove:
    return Remove(*_table_keys(request, tables, max_keys), request.reason)


def _clear(request: Any, tables: Sequence[ShardTable], max_keys: int) -> Clear:
    return Clear(tables[0])


def _touch(request: Any, tables: Sequence[ShardTable], max_keys: int) -> Touch:
    table, keys = _table_keys(request, tables, max_keys)
    return Touch(table, keys, requests.counts_of(table, request.counts, row_count=len(keys)))


def _import(request: Any, tables: Sequence[ShardTable], max_keys: int) -> Import:
    table, keys = _table_keys(request, tables, max_keys)
    values = _rows(table, keys, request.values, 0, name="values")
    return Import(
        table,
        keys,
        values,
        requests.counts_of(table, request.frequency, row_count=len(keys), name="frequency"),
        requests.counts_of(table, request.last_used, row_count=len(keys), name="last_used"),
        _slots(table, keys, request) if request.slots else None,
        request.step,
    )


def _slots(table: ShardTable, keys: Array, request: rows_pb2.ImportRequest) -> Array:
    width = table.rows.slot_width
    if request.slot_width != width:
        raise DimMismatch(f"table {table.name!r}: slot_width: expected {width}, got {request.slot_width}")
    if len(request.slots) != 4 * width * len(keys):
        raise InvalidRequest(
            f"table {table.name!r}: slots: expected {len(keys)} x {width} float32 = {4 * width * len(keys)} "
            f"bytes, got {len(request.slots)}"
        )
    slots = np.frombuffer(request.slots, "<f4").reshape(len(keys), width)
    requests.require_finite(table, keys, slots, wire_dtype=0, name="slots")
    return slots


def _table_keys(request: Any, tables: Sequence[ShardTable], max_keys: int) -> tuple[ShardTable, Array]:
    requests.require_key_limit([request.keys], max_keys=max_keys)
    return tables[0], requests.keys_of(tables[0], request.keys)


def _rows(table: ShardTable, keys: Array, column: Buffer, wire_dtype: int, *, name: str) -> Array:
    rows = requests.rows_of(table, column, row_count=len(keys), wire_dtype=wire_dtype, name=name)
    requests.require_finite(table, keys, rows, wire_dtype=wire_dtype, name=name)
    return rows


_BUILDERS: dict[Kind, Callable[[Any, Sequence[ShardTable], int], Mutation]] = {
    Kind.PUSH: _push,
    Kind.UPSERT: _upsert,
    Kind.ACCUMULATE: _accumulate,
    Kind.REMOVE: _remove,
    Kind.CLEAR: _clear,
    Kind.TOUCH: _touch,
    Kind.IMPORT: _import,
    Kind.STORE: _store,
}
