"""What each verb sends to which shard, and how the answers become one."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rowbank import admin
from rowbank._checks import at_least as at_least_number
from rowbank._checks import seconds, staleness
from rowbank.calls import arrays, methods, routing, wire
from rowbank.calls.methods import A, Method, Q
from rowbank.calls.near_cache import NearTables, writing
from rowbank.calls.rounding import Rounding
from rowbank.calls.routing import Piece
from rowbank.calls.transport import Freshness, Transport
from rowbank.errors import InvalidRequest
from rowbank.rows import ExportChunk, Rows
from rowbank.specs import TableSpec
from rowbank_protos import columns
from rowbank_protos.v1 import admin_pb2, common_pb2, rows_pb2

_SCORES = {"frequency": admin_pb2.SCORE_FREQUENCY, "last_used": admin_pb2.SCORE_LAST_USED}
_KEY_BYTES = 8


@dataclass(frozen=True, slots=True)
class Calls:
    """What every verb needs: the way to the shards, how keys are spread over them, and what a request may hold."""

    transport: Transport
    layout: routing.Layout
    limits: routing.Limits
    max_keys_per_call: int
    freshness: Freshness | None = None
    near: NearTables | None = None
    rounding: Rounding | None = None
    dtype: common_pb2.DataType | None = None

    def reading(
        self, max_staleness_s: float | None, at_least: Mapping[int, int] | None, dtype: str | None = None
    ) -> Calls:
        """Calls whose reads ask for that; see `Client.pull`. Raises `InvalidRequest`."""
        calls = self
        if dtype is not None:
            try:
                calls = dataclasses.replace(calls, dtype=columns.read_type(dtype), near=None)
            except columns.ColumnError as error:
                raise InvalidRequest(f"dtype: {error}") from None
        if max_staleness_s is None and at_least is None:
            return calls
        return dataclasses.replace(calls, freshness=_freshness(max_staleness_s, at_least), near=None)

    def row_bytes(self, dim: int, default: common_pb2.DataType) -> int:
        """Of a row in the answer to a read."""
        dtype, width = columns.read_layout(self.dtype or default, dim)
        return dtype.itemsize * width

    def read(self, method: Method[Q, A], requests: Sequence[tuple[int, Q]]) -> list[A]:
        """The answers to (shard, request) pairs, in their order, of whoever may answer reads."""
        return self.transport.read(method, requests, self.freshness)

    def as_keys(self, keys: Any) -> tuple[arrays.Keys, tuple[int, ...]]:
        """Flat keys and their shape, checked."""
        return arrays.as_keys(keys, limit=self.max_keys_per_call)

    def request_id(self, shard: int) -> common_pb2.RequestId:
        """The name of the next mutation of `shard`."""
        return self.transport.request_id(shard)

    def waves(self, table: str, keys: arrays.Keys, row_bytes: int) -> Iterator[list[tuple[int, Piece]]]:
        """The pieces that `keys` travel in: a wave has one request per shard at most, and goes out at once."""
        per_shard = [
            [(shard, request[0]) for request in routing.requests([(piece, row_bytes)], self.limits)]
            for shard, piece in routing.by_shard(table, keys, self.layout)
        ]
        for wave in itertools.zip_longest(*per_shard):
            yield [part for part in wave if part is not None]


def _freshness(max_staleness_s: float | None, at_least: Mapping[int, int] | None) -> Freshness:
    if max_staleness_s is not None:
        max_staleness_s = staleness(max_staleness_s)
    for shard, position in (at_least or {}).items():
        at_least_number("at_least: a shard", shard, 0)
        at_least_number(f"at_least: the position of shard {shard}", position, 0)
    return Freshness(max_staleness_s, dict(at_least or {}))


@dataclass(frozen=True, slots=True, eq=False)
class Push:
    """One table's part of a push, as the caller gave it."""

    table: str
    keys: Any
    gradients: Any
    counts: Any = None


def lookup(calls: Calls, spec: TableSpec, keys: Any, *, with_metadata: bool) -> Rows:
    """See `Table.lookup`."""
    flat, shape = calls.as_keys(keys)
    batch = arrays.distinct(flat)
    size = len(batch.keys)
    values = np.empty((size, spec.dim), np.float32)
    found = np.empty(size, np.uint8)
    frequency, last_used = np.empty((2, size), np.uint32)
    dtype = calls.dtype or columns.FLOAT32
    for wave in calls.waves(spec.name, batch.keys, _KEY_BYTES + calls.row_bytes(spec.dim, dtype) + 9):
        requests = [
            (
                shard,
                rows_pb2.LookupRequest(
                    table=spec.name,
                    keys=columns.pack_keys(piece.keys),
                    wire_dtype=dtype,
                    with_metadata=with_metadata,
                ),
            )
            for shard, piece in wave
        ]
        for (_, piece), answer in zip(wave, calls.read(methods.LOOKUP, requests), strict=True):
            count = len(piece.keys)
            stored = columns.unpack_read(answer.values, row_count=count, dim=spec.dim, value_type=dtype)
            values[piece.where] = arrays.widen(stored, dtype)
            found[piece.where] = columns.unpack_bytes(answer.found, row_count=count, name="found")
            if with_metadata:
                frequency[piece.where] = columns.unpack_counts(answer.frequency, row_count=count, name="frequency")
                last_used[piece.where] = columns.unpack_counts(answer.last_used, row_count=count, name="last_used")
    return Rows(
        values=batch.spread(values).reshape(*shape, spec.dim),
        found=batch.spread(found).astype(np.bool_).reshape(shape),
        frequency=batch.spread(frequency).reshape(shape) if with_metadata else None,
        last_used=batch.spread(last_used).reshape(shape) if with_metadata else None,
    )


def upsert(calls: Calls, spec: TableSpec, keys: Any, values: Any) -> int:
    """See `Table.upsert`."""
    flat, shape = calls.as_keys(keys)
    rows = arrays.as_values("values", values, shape=shape, dim=spec.dim, table=spec.name)
    inserted = 0
    for wave in calls.waves(spec.name, flat, _KEY_BYTES + 4 * spec.dim):
        requests = [
            (
                shard,
                wire.UpsertMessage(
                    table=spec.name,
                    keys=piece.keys,
                    values=piece.of(rows),
                    wire_dtype=columns.FLOAT32,
                    request_id=calls.request_id(shard),
                ),
            )
            for shard, piece in wave
        ]
        with writing(calls.near, {spec.name: flat}):
            inserted += sum(answer.inserted for answer in calls.transport.run(methods.UPSERT, requests))
    return inserted


def accumulate(calls: Calls, spec: TableSpec, keys: Any, deltas: Any, exists: Any) -> int:
    """See `Table.accumulate`."""
    flat, shape = calls.as_keys(keys)
    rows = arrays.as_values("deltas", deltas, shape=shape, dim=spec.dim, table=spec.name)
    flags = arrays.as_flags("exists", exists, shape=shape)
    applied = 0
    for wave in calls.waves(spec.name, flat, _KEY_BYTES + 4 * spec.dim + 1):
        requests = [
            (
                shard,
                rows_pb2.AccumulateRequest(
                    table=spec.name,
                    keys=columns.pack_keys(piece.keys),
                    deltas=columns.pack_values(piece.of(rows)),
                    exists=columns.pack_bytes(piece.of(flags)),
                    wire_dtype=columns.FLOAT32,
                    request_id=calls.request_id(shard),
                ),
            )
            for shard, piece in wave
        ]
        with writing(calls.near, {spec.name: flat}):
            applied += sum(answer.applied for answer in calls.transport.run(methods.ACCUMULATE, requests))
    return applied


def remove(calls: Calls, spec: TableSpec, keys: Any) -> int:
    """See `Table.remove`."""
    flat, _ = calls.as_keys(keys)
    removed = 0
    for wave in calls.waves(spec.name, arrays.distinct(flat).keys, _KEY_BYTES):
        requests = [
            (
                shard,
                rows_pb2.RemoveRequest(
                    table=spec.name, keys=columns.pack_keys(piece.keys), request_id=calls.request_id(shard)
                ),
            )
            for shard, piece in wave
        ]
        with writing(calls.near, {spec.name: flat}):
            removed += sum(answer.removed for answer in calls.transport.run(methods.REMOVE, requests))
    return removed


def touch(calls: Calls, spec: TableSpec, keys: Any, counts: Any) -> int:
    """See `Table.touch`."""
    flat, shape = calls.as_keys(keys)
    given = None if counts is None else arrays.as_counts(counts, shape=shape)
    batch = arrays.distinct(flat)
    summed = arrays.sum_counts(batch, given)
    touched = 0
    for wave in calls.waves(spec.name, batch.keys, _KEY_BYTES + 4):
        requests = [
            (
                shard,
                rows_pb2.TouchRequest(
                    table=spec.name,
                    keys=columns.pack_keys(piece.keys),
                    counts=b"" if summed is None else columns.pack_counts(piece.of(summed)),
                    request_id=calls.request_id(shard),
                ),
            )
            for shard, piece in wave
        ]
        touched += sum(answer.touched for answer in calls.transport.run(methods.TOUCH, requests))
    return touched


def clear(calls: Calls, table: str, *, force: bool) -> int:
    """See `Table.clear`."""
    requests = [
        (shard, rows_pb2.ClearRequest(table=table, request_id=calls.request_id(shard), force=force))
        for shard in range(calls.layout.shard_count)
    ]
    with writing(calls.near, {table: None}):
        return sum(answer.removed for answer in calls.transport.run(methods.CLEAR, requests))


def sizes(calls: Calls, table: str) -> list[int]:
    """Stored rows of each shard."""
    request = rows_pb2.SizeRequest(table=table)
    if calls.transport.reads_replicas or calls.freshness is not None:
        requests = [(shard, request) for shard in range(calls.layout.shard_count)]
        return [answer.rows for answer in calls.read(methods.SIZE, requests)]
    return [answer.rows for answer in calls.transport.each(methods.SIZE, request)]


def export(
    calls: Calls, spec: TableSpec, *, with_slots: bool, chunk_rows: int | None, timeout_s: float | None
) -> Iterator[ExportChunk]:
    """See `Table.export`."""
    rows = 0 if chunk_rows is None else at_least_number("chunk_rows", chunk_rows, 1, bits=32, also=", or None")
    timeout_s = None if timeout_s is None else seconds("timeout_s", timeout_s)
    request = rows_pb2.ExportRequest(table=spec.name, with_slots=with_slots, chunk_rows=rows)
    for shard in range(calls.layout.shard_count):
        for answer in calls.transport.stream(methods.EXPORT, shard, request, timeout_s=timeout_s):
            yield exported_chunk(answer, spec, with_slots=with_slots)


def exported_chunk(answer: rows_pb2.ExportResponse, spec: TableSpec, *, with_slots: bool) -> ExportChunk:
    """The rows in one message of an export."""
    keys = columns.unpack_keys(answer.keys)
    count = len(keys)
    slots = None
    if with_slots:
        slots = columns.unpack_values(answer.slots, row_count=count, dim=answer.slot_width, name="slots")
    return ExportChunk(
        keys=keys,
        values=columns.unpack_values(answer.values, row_count=count, dim=spec.dim),
        frequency=columns.unpack_counts(answer.frequency, row_count=count, name="frequency"),
        last_used=columns.unpack_counts(answer.last_used, row_count=count, name="last_used"),
        slots=slots,
    )


def import_rows(calls: Calls, spec: TableSpec, chunk: ExportChunk, *, timeout_s: float | None) -> int:
    """See `Table.import_rows`; one chunk."""
    keys, shape = calls.as_keys(chunk.keys)
    if len(shape) != 1:
        raise InvalidRequest(f"import: expected keys of shape [N], got {list(shape)}")
    values = arrays.as_values("values", chunk.values, shape=shape, dim=spec.dim, table=spec.name)
    slots = None
    width = 0
    if chunk.slots is not None and chunk.slots.shape[-1]:
        width = chunk.slots.shape[-1]
        slots = arrays.as_values("slots", chunk.slots, shape=shape, dim=width, table=spec.name)
    frequency, last_used = (
        arrays.as_counts(getattr(chunk, name), shape=shape, name=name, low=0) for name in ("frequency", "last_used")
    )
    imported = 0
    for wave in calls.waves(spec.name, keys, _KEY_BYTES + 4 * (spec.dim + width) + 8):
        for shard, piece in wave:
            request = rows_pb2.ImportRequest(
                table=spec.name,
                keys=columns.pack_keys(piece.keys),
                values=columns.pack_values(piece.of(values)),
                frequency=columns.pack_counts(piece.of(frequency)),
                last_used=columns.pack_counts(piece.of(last_used)),
                slots=b"" if slots is None else columns.pack_values(piece.of(slots)),
                slot_width=width,
            )
            with writing(calls.near, {spec.name: keys}):
                answer = calls.transport.upload(methods.IMPORT, shard, iter([request]), timeout_s=timeout_s)
            imported += answer.imported
    return imported


def raise_step(calls: Calls, table: str, step: int) -> None:
    """Lets every shard's step of a table be at least `step`."""
    for shard in range(calls.layout.shard_count):
        request = rows_pb2.ImportRequest(table=table, step=step)
        calls.transport.upload(methods.IMPORT, shard, iter([request]), timeout_s=calls.transport.timeout_s)


def describe_row(calls: Calls, table: str, key: int) -> admin.RowInfo:
    """See `Table.describe_row`."""
    flat, shape = calls.as_keys(key)
    if shape != ():
        raise InvalidRequest(f"key: expected one integer, got shape {list(shape)}")
    shard = routing.by_shard(table, flat, calls.layout)[0][0]
    request = admin_pb2.DescribeRowRequest(table=table, key=int(flat[0]))
    return admin.row_info(int(flat[0]), calls.transport.one(methods.DESCRIBE_ROW, shard, request))


def top(calls: Calls, table: str, limit: int, by: str) -> admin.TopRows:
    """See `Table.top`."""
    request = admin_pb2.TopRowsRequest(
        table=table, limit=at_least_number("limit", limit, 1, bits=32), score=score_of(by)
    )
    return admin.merge_top(calls.transport.each(methods.TOP_ROWS, request), limit, by_frequency=by == "frequency")


def score_of(by: str) -> admin_pb2.Score:
    """What rows are ranked by. Raises `InvalidRequest`."""
    if by not in _SCORES:
        raise InvalidRequest(f"by: expected one of {', '.join(_SCORES)}, got {by!r}")
    return _SCORES[by]
