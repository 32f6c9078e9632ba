"""TableService: the life of tables."""

from __future__ import annotations

import grpc

from rowbank_protos.v1 import tables_pb2, tables_pb2_grpc
from rowbank_server.ps.tables.shard import Shard


class TableServicer(tables_pb2_grpc.TableServiceServicer):
    """Answers from the shard's tables and the catalog."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

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
        return tables_pb2.ListTablesResponse(tables=[table.info() for table in self._shard.current_tables()])

    def UpdateTable(  # noqa: N802
        self, request: tables_pb2.UpdateTableRequest, context: grpc.ServicerContext
    ) -> tables_pb2.UpdateTableResponse:
        return tables_pb2.UpdateTableResponse(table=self._shard.update(request.spec).info())

    def DropTable(  # noqa: N802
        self, request: tables_pb2.DropTableRequest, context: grpc.ServicerContext
    ) -> tables_pb2.DropTableResponse:
        return tables_pb2.DropTableResponse(dropped=self._shard.drop(request.name, missing_ok=request.missing_ok))
