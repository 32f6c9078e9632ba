"""What became of rows, from mutations: for followers that want keys and values, not records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rowbank_protos.columns import pack_keys, pack_values
from rowbank_protos.v1 import deltas_pb2
from rowbank_server.journal.records import Kind, Record, join, parse
from rowbank_server.ps.decoding import decode
from rowbank_server.ps.deltas.items import Item
from rowbank_server.ps.tables.table import ShardTable

MESSAGE_BYTES = 1 << 20
_KEY_AND_POSITION_BYTES = 16
_Keys = npt.NDArray[np.int64]


@dataclass(slots=True)
class TableChanges:
    """Keys that mutations of one table name, in their order.

    Attributes:
        written: keys that may have got other values.
        removed: keys that went, each array with its `RemovalReason`.
        cleared: all rows went; what came before is left out.
        oldest_ms: when the oldest of the mutations was begun.
    """

    oldest_ms: int
    written: list[_Keys] = field(default_factory=list)
    removed: list[tuple[_Keys, int]] = field(default_factory=list)
    cleared: bool = False


def collect(items: Iterable[Item], wanted: set[int]) -> dict[int, TableChanges]:
    """By id of those tables that are `wanted`: what the mutations among `items` say of them."""
    found: dict[int, TableChanges] = {}
    for item in items:
        record = join(*item.pieces) if len(item.pieces) == 2 else parse(item.pieces[0])
        if record.kind is Kind.TOUCH or not any(part.table_id in wanted for part in record.tables):
            continue  # A touch changes no values.
        for place, (keys, reason) in enumerate(_keys_of(record)):
            table_id = record.tables[place].table_id
            if table_id not in wanted:
                continue
            changes = found.setdefault(table_id, TableChanges(item.at_ms))
            if record.kind is Kind.CLEAR:
                found[table_id] = TableChanges(changes.oldest_ms, cleared=True)
            elif record.kind is Kind.REMOVE:
                changes.removed.append((keys, reason))
            else:
                changes.written.append(keys)
    return found


def _keys_of(record: Record) -> Iterator[tuple[_Keys, int]]:
    """Of each table of a record: the keys, and the reason of a removal."""
    request = decode.parse(record.kind, record.body)
    if record.kind in (Kind.PUSH, Kind.STORE):
        for part in request.tables:
            yield np.frombuffer(part.keys, "<i8"), 0
    elif record.kind is Kind.CLEAR:
        yield np.empty(0, np.int64), 0
    elif record.kind is Kind.REMOVE:
        yield np.frombuffer(request.keys, "<i8"), request.reason or deltas_pb2.REMOVAL_REASON_REMOVED
    else:
        yield np.frombuffer(request.keys, "<i8"), 0


def row_changes(table: ShardTable, changes: TableChanges, *, values: bool) -> Iterator[deltas_pb2.RowChanges]:
    """What became of the rows by now, in messages of about a megabyte; each key once in all of them.

    A key that was written and has no row is left out: it got none, or its removal comes later, with its reason.
    """
    gone, reasons = _last_reasons(changes.removed)
    keys = np.unique(np.concatenate([*changes.written, gone])) if changes.written else gone
    yield from read_rows(table, keys, values=values, oldest_ms=changes.oldest_ms)
    if len(gone):
        absent = table.rows.contains(gone) == 0
        yield from _removed(table, gone[absent], reasons[absent], changes.oldest_ms)


def read_rows(
    table: ShardTable, keys: _Keys, *, values: bool, oldest_ms: int = 0, picture: bool = False
) -> Iterator[deltas_pb2.RowChanges]:
    """Those of `keys` [N], each once, that have rows."""
    row_bytes = _KEY_AND_POSITION_BYTES + (4 * table.dim if values else 0)
    most = max(1, MESSAGE_BYTES // row_bytes)
    for start in range(0, len(keys), most):
        part = np.ascontiguousarray(keys[start : start + most], np.int64)
        message = deltas_pb2.RowChanges(
            table=table.name, table_id=table.entry.table_id, oldest_ms=oldest_ms, picture=picture
        )
        if values:
            rows = np.empty((len(part), table.dim), np.float32)
            found, positions = np.empty(len(part), np.bool_), np.empty(len(part), np.uint64)
            table.rows.lookup(part, rows, found, positions=positions)
            message.values = pack_values(rows[found])
            message.positions = positions[found].astype("<u8", copy=False).tobytes()
        else:
            found = table.rows.contains(part).astype(np.bool_)
        message.keys = pack_keys(part[found])
        if message.keys:
            yield message


def _removed(
    table: ShardTable, keys: _Keys, reasons: npt.NDArray[np.uint8], oldest_ms: int
) -> Iterator[deltas_pb2.RowChanges]:
    most = MESSAGE_BYTES // _KEY_AND_POSITION_BYTES
    for start in range(0, len(keys), most):
        part = slice(start, start + most)
        yield deltas_pb2.RowChanges(
            table=table.name,
            table_id=table.entry.table_id,
            removed=pack_keys(keys[part]),
            removed_reasons=reasons[part].tobytes(),
            oldest_ms=oldest_ms,
        )


def _last_reasons(removed: list[tuple[_Keys, int]]) -> tuple[_Keys, npt.NDArray[np.uint8]]:
    """Each key that went once, in order, with the reason of its last removal."""
    if not removed:
        return np.empty(0, np.int64), np.empty(0, np.uint8)
    keys = np.concatenate([keys for keys, _ in reversed(removed)])
    reasons = np.concatenate([np.full(len(keys), reason, np.uint8) for keys, reason in reversed(removed)])
    found, first = np.unique(keys, return_index=True)
    return found, reasons[first]
