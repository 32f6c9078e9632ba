"""RowService: reading and changing rows.

Every mutation is checked whole before any of it is applied; what can still fail after that is a defect.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import numpy as np
from google.protobuf.message import Message

from rowbank.errors import DimMismatch, InvalidRequest
from rowbank_protos.columns import Array, pack_counts, pack_keys, pack_values
from rowbank_protos.v1 import rows_pb2, rows_pb2_grpc
from rowbank_server.ps import requests
from rowbank_server.ps.dedup import DedupWindow
from rowbank_server.ps.encoding import encode_lookup, encode_pull
from rowbank_server.ps.keeper import Keeper
from rowbank_server.ps.shard import Shard
from rowbank_server.ps.table import ShardTable

_EXPORT_CHUNK_BYTES = 4 << 20
_Response = TypeVar("_Response", bound=Message)


@dataclass(frozen=True, slots=True)
class _CheckedPush:
    """One table's part of a push, ready to be applied."""

    table: ShardTable
    keys: Array
    gradients: Array
    counts: Array | None
    step: int
    learning_rate: float | None
    clip_value: float | None
    max_norm: float | None


def _now_s() -> int:
    return int(time.time())


class RowServicer(rows_pb2_grpc.RowServiceServicer):
    """Serves rows of one shard.

    Args:
        max_keys: the limit `max_keys_per_request`.
    """

    def __init__(self, shard: Shard, keeper: Keeper, dedup: DedupWindow[Message], *, max_keys: int) -> None:
        self._shard = shard
        self._keeper = keeper
        self._dedup = dedup
        self._max_keys = max_keys

    def Pull(self, request: rows_pb2.PullRequest, context: grpc.ServicerContext) -> bytes:  # noqa: N802
        columns = [(part.table, part.keys) for part in request.tables]
        requests.require_key_limit((column for _, column in columns), max_keys=self._max_keys)
        dtype = requests.wire_dtype_of(request.wire_dtype)
        tables = [self._shard.get(name) for name, _ in columns]
        keys = [requests.keys_of(table, column) for table, (_, column) in zip(tables, columns, strict=True)]
        now = _now_s()
        answers = []
        for table, table_keys in zip(tables, keys, strict=True):
            values = np.empty((len(table_keys), table.dim), dtype)
            status = np.empty(len(table_keys), np.uint8)
            table.rows.pull(table_keys, values, status, now=now)
            answers.append((table.name, values, status))
        return encode_pull(answers)

    def Push(self, request: rows_pb2.PushRequest, context: grpc.ServicerContext) -> rows_pb2.PushResponse:  # noqa: N802
        requests.require_key_limit((part.keys for part in request.tables), max_keys=self._max_keys)
        checked = [self._check_push(part, request.wire_dtype) for part in request.tables]

        def apply() -> rows_pb2.PushResponse:
            now = _now_s()
            return rows_pb2.PushResponse(steps=[_push(part, now=now) for part in checked])

        return self._once(request, apply)

    def Lookup(self, request: rows_pb2.LookupRequest, context: grpc.ServicerContext) -> bytes:  # noqa: N802
        table, keys = self._table_keys(request)
        values = np.empty((len(keys), table.dim), requests.wire_dtype_of(request.wire_dtype))
        found = np.empty(len(keys), np.uint8)
        if not request.with_metadata:
            table.rows.lookup(keys, values, found)
            return encode_lookup(values, found, None, None)
        frequency, last_used = np.empty(len(keys), np.uint32), np.empty(len(keys), np.uint32)
        table.rows.lookup(keys, values, found, frequency=frequency, last_used=last_used)
        return encode_lookup(values, found, frequency, last_used)

    def Upsert(self, request: rows_pb2.UpsertRequest, context: grpc.ServicerContext) -> rows_pb2.UpsertResponse:  # noqa: N802
        table, keys = self._table_keys(request)
        values = self._rows(table, keys, request.values, request.wire_dtype, name="values")

        def apply() -> rows_pb2.UpsertResponse:
            return rows_pb2.UpsertResponse(inserted=table.rows.upsert(keys, values, now=_now_s()))

        return self._once(request, apply)

    def Accumulate(  # noqa: N802
        self, request: rows_pb2.AccumulateRequest, context: grpc.ServicerContext
    ) -> rows_pb2.AccumulateResponse:
        table, keys = self._table_keys(request)
        deltas = self._rows(table, keys, request.deltas, request.wire_dtype, name="deltas")
        exists = requests.flags_of(table, request.exists, row_count=len(keys), name="exists")

        def apply() -> rows_pb2.AccumulateResponse:
            return rows_pb2.AccumulateResponse(applied=table.rows.accumulate(keys, deltas, exists, now=_now_s()))

        return self._once(request, apply)

    def Remove(self, request: rows_pb2.RemoveRequest, context: grpc.ServicerContext) -> rows_pb2.RemoveResponse:  # noqa: N802
        table, keys = self._table_keys(request)

        def apply() -> rows_pb2.RemoveResponse:
            return rows_pb2.RemoveResponse(removed=table.rows.remove(keys))

        return self._once(request, apply)

    def Clear(self, request: rows_pb2.ClearRequest, context: grpc.ServicerContext) -> rows_pb2.ClearResponse:  # noqa: N802
        table = self._shard.get(request.table)

        def apply() -> rows_pb2.ClearResponse:
            return rows_pb2.ClearResponse(removed=table.clear())

        return self._once(request, apply)

    def Size(self, request: rows_pb2.SizeRequest, context: grpc.ServicerContext) -> rows_pb2.SizeResponse:  # noqa: N802
        return rows_pb2.SizeResponse(rows=self._shard.get(request.table).rows.size())

    def Touch(self, request: rows_pb2.TouchRequest, context: grpc.ServicerContext) -> rows_pb2.TouchResponse:  # noqa: N802
        table, keys = self._table_keys(request)
        counts = requests.counts_of(table, request.counts, row_count=len(keys))

        def apply() -> rows_pb2.TouchResponse:
            return rows_pb2.TouchResponse(touched=table.rows.touch(keys, counts, now=_now_s()))

        return self._once(request, apply)

    def Export(  # noqa: N802
        self, request: rows_pb2.ExportRequest, context: grpc.ServicerContext
    ) -> Iterator[rows_pb2.ExportResponse]:
        table = self._shard.get(request.table)
        slot_width = table.rows.slot_width if request.with_slots else 0
        row_bytes = 4 * (table.dim + slot_width) + 16
        chunk_rows = min(request.chunk_rows or self._max_keys, max(1, _EXPORT_CHUNK_BYTES // row_bytes))
        for bucket in table.buckets:
            rows = table.rows.export_bucket(bucket, with_slots=request.with_slots)
            for start in range(0, len(rows.keys), chunk_rows):
                part = slice(start, start + chunk_rows)
                yield rows_pb2.ExportResponse(
                    keys=pack_keys(rows.keys[part]),
                    values=pack_values(rows.values[part]),
                    frequency=pack_counts(rows.frequency[part]),
                    last_used=pack_counts(rows.last_used[part]),
                    slots=b"" if rows.slots is None else pack_values(rows.slots[part]),
                    slot_width=slot_width,
                )

    def Import(  # noqa: N802
        self, request_iterator: Iterable[rows_pb2.ImportRequest], context: grpc.ServicerContext
    ) -> rows_pb2.ImportResponse:
        """Each message of the stream is applied whole or not at all; importing the same rows again changes nothing."""
        table: ShardTable | None = None
        imported = 0
        for request in request_iterator:
            if table is None:
                table = self._shard.get(request.table)
            elif request.table not in ("", table.name):
                raise InvalidRequest(f"import: one stream is for one table, {table.name!r}, got also {request.table!r}")
            imported += self._import(table, request)
        return rows_pb2.ImportResponse(imported=imported)

    def _import(self, table: ShardTable, request: rows_pb2.ImportRequest) -> int:
        requests.require_key_limit([request.keys], max_keys=self._max_keys)
        self._keeper.require_room()
        keys = requests.keys_of(table, request.keys)
        values = self._rows(table, keys, request.values, 0, name="values")
        slots = None
        if request.slots:
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
        table.rows.import_rows(
            keys,
            values,
            requests.counts_of(table, request.frequency, row_count=len(keys), name="frequency"),
            requests.counts_of(table, request.last_used, row_count=len(keys), name="last_used"),
            slots,
            now=_now_s(),
        )
        table.raise_step(request.step)
        return len(keys)

    def _table_keys(self, request: Any) -> tuple[ShardTable, Array]:
        requests.require_key_limit([request.keys], max_keys=self._max_keys)
        table = self._shard.get(request.table)
        return table, requests.keys_of(table, request.keys)

    def _rows(self, table: ShardTable, keys: Array, column: bytes, wire_dtype: int, *, name: str) -> Array:
        rows = requests.rows_of(table, column, row_count=len(keys), wire_dtype=wire_dtype, name=name)
        requests.require_finite(table, keys, rows, wire_dtype=wire_dtype, name=name)
        return rows

    def _check_push(self, part: rows_pb2.TableGradients, wire_dtype: int) -> _CheckedPush:
        table = self._shard.get(part.table)
        keys = requests.keys_of(table, part.keys)
        return _CheckedPush(
            table=table,
            keys=keys,
            gradients=self._rows(table, keys, part.gradients, wire_dtype, name="gradients"),
            counts=requests.counts_of(table, part.counts, row_count=len(keys)),
            step=part.step,
            learning_rate=requests.override_of(table, part, "learning_rate"),
            clip_value=requests.override_of(table, part, "clip_value"),
            max_norm=requests.override_of(table, part, "max_norm"),
        )

    def _once(self, request: Any, apply: Callable[[], _Response]) -> _Response:
        """Applies a checked mutation, or answers as before if it is a repeat."""

        def guarded() -> _Response:
            self._keeper.require_room()
            return apply()

        outcome, repeated = self._dedup.apply_once(request.request_id, guarded)
        answer: Any = outcome
        if repeated:
            answer = copy.copy(answer)
            answer.repeated_request = True
        return answer  # type: ignore[no-any-return]


def _push(part: _CheckedPush, *, now: int) -> int:
    """Returns the step used."""
    step = part.table.next_step(part.step)
    part.table.rows.push(
        part.keys,
        part.gradients,
        part.counts,
        step=step,
        now=now,
        learning_rate=part.learning_rate,
        clip_value=part.clip_value,
        max_norm=part.max_norm,
    )
    return step
