"""Lookup and store: rows of all tables of a step in one request per shard, as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.calls import arrays, methods, routing, wire
from rowbank.calls.near_cache import NearRead, NearTables, writing
from rowbank.calls.routing import Piece
from rowbank.calls.verbs import Calls
from rowbank.errors import InvalidRequest
from rowbank.rows import Rows, Store
from rowbank.specs import TableSpec
from rowbank_protos import columns
from rowbank_protos.v1 import common_pb2, rows_pb2

_KEY_BYTES = 8
_NOTHING: npt.NDArray[np.float32] = np.empty((0, 1), np.float32)
_NO_STATUS: npt.NDArray[np.uint8] = np.empty(0, np.uint8)

SpecOf = Callable[[str], TableSpec]


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """One table's part of a lookup: the caller's keys, and what was found of the distinct ones."""

    batch: arrays.Distinct
    shape: tuple[int, ...]
    values: npt.NDArray[np.float32]
    status: npt.NDArray[np.uint8]
    near: NearRead | None = None

    def take(self, piece: Piece, values: npt.NDArray[np.float32], status: npt.NDArray[np.uint8]) -> None:
        """Writes what a server answered of a piece of the keys that it was asked for."""
        if self.near is not None:
            self.near.take(piece.where, values, status)
        else:
            self.values[piece.where] = values
            self.status[piece.where] = status

    def rows(self) -> Rows:
        values, status = (self.values, self.status) if self.near is None else (self.near.values, self.near.status)
        found = status == common_pb2.ROW_STATUS_FOUND
        if not found.all() or not values.flags.writeable:
            values = np.where(found[:, None], values, np.float32(0.0))
        values = self.batch.spread(values).reshape(*self.shape, values.shape[1])
        return Rows(values=values, found=self.batch.spread(found).reshape(self.shape))


def lookup(calls: Calls, spec_of: SpecOf, keys: Mapping[str, Any]) -> dict[str, Rows]:
    """See `Client.lookup`."""
    asked: dict[str, _Asked] = {}
    for table, given in keys.items():
        flat, shape = calls.as_keys(given)
        batch = arrays.distinct(flat)
        size = len(batch.keys)
        if calls.near is None:
            values, status = np.empty((size, spec_of(table).dim), np.float32), np.empty(size, np.uint8)
            asked[table] = _Asked(batch, shape, values, status)
        else:
            asked[table] = _Asked(batch, shape, _NOTHING, _NO_STATUS)
    if calls.near is None:
        _ask(calls, asked)
    else:
        _ask_for_missing(calls, calls.near, spec_of, asked)
    return {table: part.rows() for table, part in asked.items()}


def _ask_for_missing(calls: Calls, near: NearTables, spec_of: SpecOf, asked: dict[str, _Asked]) -> None:
    done = False
    try:
        for table, part in asked.items():
            read = near.read(spec_of(table), part.batch.keys)
            asked[table] = dataclasses.replace(part, values=read.values, status=read.status, near=read)
        _ask(calls, asked)
        done = True
    finally:
        for part in asked.values():
            if part.near is not None:
                part.near.end(keep=done)


def _ask(calls: Calls, asked: Mapping[str, _Asked]) -> None:
    dtype = calls.dtype or columns.FLOAT32
    pieces = {
        table: (
            part.batch.keys if part.near is None else part.near.missing,
            _KEY_BYTES + calls.row_bytes(part.values.shape[1], dtype) + 1,
        )
        for table, part in asked.items()
    }
    for wave in _waves(calls, pieces):
        requests = []
        for shard, parts in wave:
            request = rows_pb2.PullRequest(wire_dtype=dtype)
            for piece in parts:
                request.tables.add(table=piece.table, keys=columns.pack_keys(piece.keys))
            requests.append((shard, request))
        for (_, parts), answer in zip(wave, calls.read(methods.PULL, requests), strict=True):
            for piece, rows in zip(parts, answer.tables, strict=True):
                part, count = asked[piece.table], len(piece.keys)
                dim = part.values.shape[1]
                stored = columns.unpack_read(rows.values, row_count=count, dim=dim, value_type=dtype)
                part.take(
                    piece,
                    arrays.widen(stored, dtype),
                    columns.unpack_bytes(rows.status, row_count=count, name="status"),
                )


def store(calls: Calls, spec_of: SpecOf, parts: Sequence[Store]) -> dict[str, int]:
    """See `Client.store`."""
    columns_of: dict[str, _Columns] = {}
    pieces: dict[str, tuple[arrays.Keys, int]] = {}
    for part in parts:
        if part.table in pieces:
            raise InvalidRequest(f"store: expected each table once, got {part.table!r} twice; join its keys and values")
        spec = spec_of(part.table)
        flat, shape = calls.as_keys(part.keys)
        values = arrays.as_values("values", part.values, shape=shape, dim=spec.dim, table=spec.name)
        exists = None if part.exists is None else arrays.as_flags("exists", part.exists, shape=shape)
        columns_of[part.table] = _Columns(values, exists, part.touch)
        pieces[part.table] = (flat, _KEY_BYTES + 4 * spec.dim + 1)
    changed = dict.fromkeys(pieces, 0)
    for wave in _waves(calls, pieces):
        requests = [
            (shard, wire.StoreMessage([columns_of[piece.table].of(piece) for piece in cut], columns.FLOAT32,
                                       calls.request_id(shard)))
            for shard, cut in wave
        ]  # fmt: skip
        with writing(calls.near, {table: keys for table, (keys, _) in pieces.items()}):
            answers = calls.transport.run(methods.STORE, requests)
        for (_, cut), answer in zip(wave, answers, strict=True):
            for piece, count in zip(cut, answer.changed, strict=True):
                changed[piece.table] += count
    return changed


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """What is stored under one table's keys."""

    values: npt.NDArray[np.float32]
    exists: arrays.Array | None
    touch: bool

    def of(self, piece: Piece) -> wire.TableStore:
        exists = None if self.exists is None else columns.pack_bytes(piece.of(self.exists))
        return wire.TableStore(piece.table, piece.keys, piece.of(self.values), exists, self.touch)


def _waves(calls: Calls, tables: Mapping[str, tuple[arrays.Keys, int]]) -> list[list[tuple[int, list[Piece]]]]:
    """The pieces that (keys, bytes per row) of tables travel in: a wave has one request per shard at most."""
    per_shard: list[list[tuple[Piece, int]]] = [[] for _ in range(calls.layout.shard_count)]
    for table, (keys, row_bytes) in tables.items():
        for shard, piece in routing.by_shard(table, keys, calls.layout):
            per_shard[shard].append((piece, row_bytes))
    requests = [list(routing.requests(pieces, calls.limits)) for pieces in per_shard]
    return [
        [(shard, parts[wave]) for shard, parts in enumerate(requests) if wave < len(parts)]
        for wave in range(max(map(len, requests)))
    ]
