"""TableService: the life of tables."""

from __future__ import annotations

import contextlib

import grpc

from rowbank.errors import InvalidRequest, RedisUnavailable
from rowbank_protos.v1 import tables_pb2, tables_pb2_grpc
from rowbank_server.ps.tables.custody import Custody
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.security.caller import require_tables
from rowbank_server.storage.emptyings import Emptyings

_REFRESH_WAIT_S = 1.0  # A list without the tables of a moment ago is better than none.
_MAX_HOLDER = 200
_MAX_TTL_S = 86_400.0


class TableServicer(tables_pb2_grpc.TableServiceServicer):
    """Answers from the shard's tables and the catalog. `emptyings` is told what is dropped."""

    def __init__(self, shard: Shard, custody: Custody, emptyings: Emptyings) -> None:
        self._shard = shard
        self._custody = custody
        self._emptyings = emptyings

    def CreateTable(  # noqa: N802
        self, request: tables_pb2.CreateTableRequest, context: grpc.ServicerContext
    ) -> tables_pb2.CreateTableResponse:
        table, created = self._shard.create(request.spec, exist_ok=request.exist_ok)
        return tables_pb2.CreateTableResponse(table=table.info(), created=created)

    def GetTable(  # noqa: N802
        self, request: tables_pb2.GetTableRequest, context: grpc.ServicerContext
    ) -> tables_pb2.GetTableResponse:
        return tables_pb2.GetTableResponse(table=self._shard.get(request.name).info())

    def ListTables(  # noqa: N802
        self, request: tables_pb2.ListTablesRequest, context: grpc.ServicerContext
    ) -> tables_pb2.ListTablesResponse:
        return tables_pb2.ListTablesResponse(
            tables=[table.info() for table in self._shard.current_tables(within_s=_REFRESH_WAIT_S)]
        )

    def UpdateTable(  # noqa: N802
        self, request: tables_pb2.UpdateTableRequest, context: grpc.ServicerContext
    ) -> tables_pb2.UpdateTableResponse:
        return tables_pb2.UpdateTableResponse(table=self._shard.update(request.spec).info())

    def DropTable(  # noqa: N802
        self, request: tables_pb2.DropTableRequest, context: grpc.ServicerContext
    ) -> tables_pb2.DropTableResponse:
        dropped = self._shard.drop(request.name, missing_ok=request.missing_ok, force=request.force)
        if dropped:
            with contextlib.suppress(RedisUnavailable):  # It is dropped; only the history lacks it.
                self._emptyings.note(request.name, dropped=True, rows=0)
        return tables_pb2.DropTableResponse(dropped=dropped)

    def HoldTables(  # noqa: N802
        self, request: tables_pb2.HoldTablesRequest, context: grpc.ServicerContext
    ) -> tables_pb2.HoldTablesResponse:
        if not 1 <= len(request.holder) <= _MAX_HOLDER:
            raise InvalidRequest(f"holder: expected 1 to {_MAX_HOLDER} characters, got {len(request.holder)}")
        if not 0 < request.ttl_s <= _MAX_TTL_S:
            raise InvalidRequest(f"ttl_s: expected above 0 and at most {_MAX_TTL_S:.0f} seconds, got {request.ttl_s}")
        require_tables(self._custody.held_by(request.holder))
        self._custody.hold(request.holder, request.tables, run=request.run, ttl_s=request.ttl_s)
        return tables_pb2.HoldTablesResponse()

    def ReleaseTables(  # noqa: N802
        self, request: tables_pb2.ReleaseTablesRequest, context: grpc.ServicerContext
    ) -> tables_pb2.ReleaseTablesResponse:
        require_tables(self._custody.held_by(request.holder))
        return tables_pb2.ReleaseTablesResponse(held=self._custody.release(request.holder))

    def ListHolders(  # noqa: N802
        self, request: tables_pb2.ListHoldersRequest, context: grpc.ServicerContext
    ) -> tables_pb2.ListHoldersResponse:
        return tables_pb2.ListHoldersResponse(holders=self._custody.holders_of(request.table))
