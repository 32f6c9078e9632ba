"""RowService: reading and changing rows.

Mutations come as the bytes that were on the wire, because the journal keeps them so. Each is checked whole before any
of it is applied.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import grpc

from rowbank import tracing
from rowbank.errors import InvalidRequest, RedisUnavailable
from rowbank.tracing import stage
from rowbank_protos.columns import Array, Buffer
from rowbank_protos.v1 import common_pb2, rows_pb2, rows_pb2_grpc
from rowbank_server.journal.records import Kind
from rowbank_server.ps.decoding import decode, requests
from rowbank_server.ps.durability.committer import Committer
from rowbank_server.ps.limits.row_limits import RowLimits
from rowbank_server.ps.services.encoding import allocate_lookup, allocate_pull
from rowbank_server.ps.services.exporting import export_messages
from rowbank_server.ps.tables import mutations
from rowbank_server.ps.tables.arrivals import GoneMeanwhileError
from rowbank_server.ps.tables.custody import Custody
from rowbank_server.ps.tables.departing import Departing
from rowbank_server.ps.tables.returning import Returning, request_of
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.security.caller import require_tables
from rowbank_server.storage.emptyings import Emptyings

_KEY_BYTES = 8
_LOOKS = 20  # For evicted rows that may come back with a push, while others of its keys go.


def _now_s() -> int:
    return int(time.time())


def _read_bytes(table: ShardTable, keys: Array) -> int:
    """What a read takes and gives, about."""
    return len(keys) * (_KEY_BYTES + 4 * table.dim)


def _note(tables: Sequence[ShardTable], columns: Iterable[Buffer]) -> None:
    """Says in the current span which tables a request is about, and how many keys its columns hold."""
    span = tracing.current()
    if span.recording:
        span.note(tracing.of_tables([table.name for table in tables], sum(map(len, columns)) // _KEY_BYTES))


class RowServicer(rows_pb2_grpc.RowServiceServicer):
    """Serves rows of one shard.

    Args:
        limits: what every request passes before its rows are read or changed.
        departing, emptyings: are told what callers remove and clear.
        returning: finds evicted rows that may come back.
        max_keys: the limit `max_keys_per_request`.
    """

    def __init__(
        self,
        shard: Shard,
        committer: Committer,
        custody: Custody,
        departing: Departing,
        limits: RowLimits,
        emptyings: Emptyings,
        returning: Returning,
        *,
        max_keys: int,
    ) -> None:
        self._limits = limits
        self._shard = shard
        self._custody = custody
        self._committer = committer
        self._departing = departing
        self._emptyings = emptyings
        self._returning = returning
        self._max_keys = max_keys

    def Pull(self, request: rows_pb2.PullRequest, context: grpc.ServicerContext) -> bytes:  # noqa: N802
        with stage("pull.decode"):
            columns = [(part.table, part.keys) for part in request.tables]
            requests.require_key_limit((column for _, column in columns), max_keys=self._max_keys)
            dtype, _ = requests.read_layout(request.wire_dtype, 0)
            tables = [self._shard.get(name) for name, _ in columns]
            keys = [requests.keys_of(table, column) for table, (_, column) in zip(tables, columns, strict=True)]
        _note(tables, (column for _, column in columns))
        with self._limits.read(context, tables, sum(map(_read_bytes, tables, keys))):
            with stage("pull.encode"):
                shapes = [
                    (table.name, len(part), requests.read_layout(request.wire_dtype, table.dim)[1])
                    for table, part in zip(tables, keys, strict=True)
                ]
                answer, room = allocate_pull(shapes, dtype)
            with stage("pull.look_up"):
                now = _now_s()
                for at, (table, table_keys) in enumerate(zip(tables, keys, strict=True)):
                    table.rows.pull(table_keys, room[2 * at], room[2 * at + 1], now=now)
                    self._returning.read(table, table_keys, room[2 * at], room[2 * at + 1])
            return answer

    def Push(self, request: bytes, context: grpc.ServicerContext) -> rows_pb2.PushResponse:  # noqa: N802
        return self._commit(Kind.PUSH, request, context)  # type: ignore[no-any-return]

    def Lookup(self, request: rows_pb2.LookupRequest, context: grpc.ServicerContext) -> bytes:  # noqa: N802
        with stage("lookup.decode"):
            table, keys = self._table_keys(request)
        _note([table], [request.keys])
        dtype, width = requests.read_layout(request.wire_dtype, table.dim)
        with self._limits.read(context, [table], _read_bytes(table, keys)):
            with stage("lookup.encode"):
                answer, values, found, frequency, last_used = allocate_lookup(
                    len(keys), width, dtype, with_metadata=request.with_metadata
                )
            with stage("lookup.look_up"):
                table.rows.lookup(keys, values, found, frequency=frequency, last_used=last_used)
            return answer

    def Upsert(self, request: bytes, context: grpc.ServicerContext) -> rows_pb2.UpsertResponse:  # noqa: N802
        return self._commit(Kind.UPSERT, request, context)  # type: ignore[no-any-return]

    def Accumulate(self, request: bytes, context: grpc.ServicerContext) -> rows_pb2.AccumulateResponse:  # noqa: N802
        return self._commit(Kind.ACCUMULATE, request, context)  # type: ignore[no-any-return]

    def Store(self, request: bytes, context: grpc.ServicerContext) -> rows_pb2.StoreResponse:  # noqa: N802
        return self._commit(Kind.STORE, request, context)  # type: ignore[no-any-return]

    def Remove(self, request: bytes, context: grpc.ServicerContext) -> rows_pb2.RemoveResponse:  # noqa: N802
        return self._commit(Kind.REMOVE, request, context)  # type: ignore[no-any-return]

    def Clear(self, request: bytes, context: grpc.ServicerContext) -> rows_pb2.ClearResponse:  # noqa: N802
        asked = decode.parse(Kind.CLEAR, request)
        require_tables((asked.table,))
        self._custody.prepare_clear(asked.table, force=asked.force)
        answer: rows_pb2.ClearResponse = self._commit(Kind.CLEAR, request, context)
        if answer.removed and not answer.repeated_request:
            with contextlib.suppress(RedisUnavailable):  # It is cleared; only the history lacks it.
                self._emptyings.note(asked.table, dropped=False, rows=answer.removed)
        return answer

    def Touch(self, request: bytes, context: grpc.ServicerContext) -> rows_pb2.TouchResponse:  # noqa: N802
        return self._commit(Kind.TOUCH, request, context)  # type: ignore[no-any-return]

    def Size(self, request: rows_pb2.SizeRequest, context: grpc.ServicerContext) -> rows_pb2.SizeResponse:  # noqa: N802
        return rows_pb2.SizeResponse(rows=self._shard.get(request.table).rows.size())

    def Export(  # noqa: N802
        self, request: rows_pb2.ExportRequest, context: grpc.ServicerContext
    ) -> Iterator[rows_pb2.ExportResponse]:
        table = self._shard.get(request.table)
        most_rows = request.chunk_rows or self._max_keys
        for bucket in table.buckets:
            with self._limits.read(context, [table], 0):
                rows = table.rows.export_bucket(bucket, with_slots=request.with_slots)
            yield from export_messages(rows, most_rows=most_rows)

    def Import(  # noqa: N802
        self, request_iterator: Iterable[bytes], context: grpc.ServicerContext
    ) -> rows_pb2.ImportResponse:
        """Each message of the stream is applied whole or not at all; importing the same rows again changes nothing."""
        table: ShardTable | None = None
        imported = 0
        for data in request_iterator:
            request = decode.parse(Kind.IMPORT, data)
            if table is None:
                require_tables((request.table,))
                table = self._shard.get(request.table)
                if request.keys:
                    self._custody.note_import(table)
            elif request.table not in ("", table.name):
                raise InvalidRequest(f"import: one stream is for one table, {table.name!r}, got also {request.table!r}")
            with self._limits.change_of_stream(context, table, len(data)):
                mutation = decode.build(Kind.IMPORT, request, [table], max_keys=self._max_keys)
                imported += self._committer.commit(mutation, data, timeout_s=context.time_remaining()).imported
        return rows_pb2.ImportResponse(imported=imported)

    def _commit(self, kind: Kind, data: bytes, context: grpc.ServicerContext) -> Any:
        """Checks and applies a mutation as it came on the wire, which is how the journal keeps it."""
        request = decode.parse(kind, data)
        if kind is Kind.REMOVE and request.reason:  # It is what evictions tell those who follow.
            request.ClearField("reason")
            data = request.SerializeToString()
        names = decode.tables_named(kind, request)
        require_tables(names)
        tables = [self._shard.get(name) for name in names]
        with self._limits.change(context, tables, len(data)):
            with stage(f"{kind.name.lower()}.decode"):
                mutation = decode.build(kind, request, tables, max_keys=self._max_keys)
            _note(tables, [getattr(part, "keys", b"") for part in getattr(request, "tables", [request])])
            if isinstance(mutation, mutations.Push):
                mutation.require_own()
                return self._commit_push(mutation, data, request.request_id, context)
            going = None
            if isinstance(mutation, mutations.Remove):
                going = self._departing.going(mutation.table, mutation.keys)
            answer = self._committer.commit(mutation, data, request.request_id, timeout_s=context.time_remaining())
            if going is not None and not answer.repeated_request:
                self._departing.removed(going)
            return answer

    def _commit_push(
        self, push: mutations.Push, data: bytes, request_id: common_pb2.RequestId, context: grpc.ServicerContext
    ) -> Any:
        """Lets evicted rows of its keys come back with a push."""
        for left in range(_LOOKS, 0, -1):
            with contextlib.suppress(GoneMeanwhileError):
                for first in self._returning.offer(push, last=left == 1):
                    self._committer.commit(first, request_of(first), timeout_s=context.time_remaining())
                return self._committer.commit(push, data, request_id, timeout_s=context.time_remaining())
        raise AssertionError("the last look takes what there is")

    def _table_keys(self, request: Any) -> tuple[ShardTable, Array]:
        requests.require_key_limit([request.keys], max_keys=self._max_keys)
        table = self._shard.get(request.table)
        return table, requests.keys_of(table, request.keys)
