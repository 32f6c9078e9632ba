"""An owner's tables without an owner: mutations of them as records, and all that they hold as bytes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from tests.server.support import f32, i64, sgd

from rowbank_protos.v1 import common_pb2, deltas_pb2, rows_pb2, tables_pb2
from rowbank_server import _core
from rowbank_server.journal.records import Kind, Record, TablePart
from rowbank_server.ps.decoding import decode
from rowbank_server.ps.tables import specs
from rowbank_server.ps.tables.table import Ownership, ShardTable
from rowbank_server.storage.catalog import CatalogEntry

BUCKETS = 4
NOW_S = 1_700_000_000


def dump(table: ShardTable) -> dict[str, Any]:
    """All that a table holds: rows with their positions, the common row, the step."""
    rows = {}
    for bucket in table.buckets:
        keys, packed = table.rows.pack_bucket(bucket)
        size = table.rows.packed_row_bytes
        rows.update({int(key): packed[at * size : (at + 1) * size] for at, key in enumerate(keys)})
    return {"rows": rows, "common": table.rows.pack_common_row(), "step": table.step}


class Author:
    """Tables that change, and what an owner would say of it."""

    def __init__(self) -> None:
        self.tables: dict[str, ShardTable] = {}
        self.position = 0
        self._ids = itertools.count(1)

    def create(self, name: str, dim: int = 2, **fields: Any) -> ShardTable:
        spec = specs.canonical(tables_pb2.TableSpec(name=name, dim=dim, **{"optimizer": sgd(1.0), **fields}))
        self.tables[name] = ShardTable(CatalogEntry(next(self._ids), NOW_S, BUCKETS, spec), Ownership(0, 1))
        return self.tables[name]

    def commit(self, kind: Kind, request: Any) -> bytes:
        """Applies a mutation as the committer does; the record of it."""
        body = request.SerializeToString()
        parsed = decode.parse(kind, body)
        tables = [self.tables[name] for name in decode.tables_named(kind, parsed)]
        mutation = decode.build(kind, parsed, tables, max_keys=1 << 20)
        self.position += 1
        mutation.prepare()
        now = NOW_S + self.position
        answer = mutation.apply(now=now, position=self.position)
        outcomes = mutation.outcomes(self.position)
        parts = [
            TablePart(table.entry.table_id, table.optimizer_bytes, step, outcome)
            for table, step, outcome in zip(mutation.tables, mutation.steps(), outcomes, strict=True)
        ]
        who = getattr(request, "request_id", common_pb2.RequestId())
        record = Record(
            kind=kind,
            position=self.position,
            now_s=now,
            tables=tuple(parts),
            body=body,
            body_crc=_core.crc32c(body),
            client_id=who.client_id,
            sequence=who.sequence,
            answer=answer.SerializeToString(),
        )
        return b"".join(record.pieces())

    def push(self, table: str, keys: list[int], gradients: Any = None, *, sequence: int = 0) -> bytes:
        dim = self.tables[table].dim
        filled = np.full((len(keys), dim), -1, np.float32) if gradients is None else gradients
        part = rows_pb2.TableGradients(table=table, keys=i64(*keys), gradients=f32(filled))
        request = rows_pb2.PushRequest(tables=[part])
        if sequence:
            request.request_id.CopyFrom(common_pb2.RequestId(client_id="c", sequence=sequence))
        return self.commit(Kind.PUSH, request)

    def remove(self, table: str, keys: list[int]) -> bytes:
        return self.commit(Kind.REMOVE, rows_pb2.RemoveRequest(table=table, keys=i64(*keys)))

    def clear(self, table: str) -> bytes:
        return self.commit(Kind.CLEAR, rows_pb2.ClearRequest(table=table))

    def hello(self, *, continued: bool = False, **fields: Any) -> deltas_pb2.FollowResponse:
        return self._message(hello=deltas_pb2.FollowHello(server_id="owner", continued=continued, **fields))

    def listed(self) -> deltas_pb2.FollowResponse:
        tables = [
            deltas_pb2.FollowedTable(
                table_id=table.entry.table_id,
                spec=table.spec,
                created_at_s=NOW_S,
                bucket_count=BUCKETS,
                step=table.step,
            )
            for table in self.tables.values()
        ]
        return self._message(tables=deltas_pb2.FollowedTables(tables=tables))

    def records(self, *records: bytes) -> deltas_pb2.FollowResponse:
        return self._message(records=deltas_pb2.Records(records=records))

    def mark(self, stage: str, serial: int, flush: int = 0) -> deltas_pb2.FollowResponse:
        value = deltas_pb2.WriteBackMark.Stage.Value(f"STAGE_{stage}")
        return self._message(write_back=deltas_pb2.WriteBackMark(stage=value, serial=serial, flush=flush))

    def picture_start(self, name: str) -> deltas_pb2.FollowResponse:
        table = self.tables[name]
        start = deltas_pb2.PictureStart(table_id=table.entry.table_id, rows=table.rows.size())
        return self._message(picture_start=start)

    def bucket(self, name: str, bucket: int) -> deltas_pb2.FollowResponse:
        table = self.tables[name]
        keys, packed = table.rows.pack_bucket(bucket)
        rows = deltas_pb2.PictureRows(table_id=table.entry.table_id, bucket=bucket, keys=keys.tobytes(), packed=packed)
        return self._message(picture_rows=rows)

    def picture_end(self, name: str) -> deltas_pb2.FollowResponse:
        table = self.tables[name]
        end = deltas_pb2.PictureEnd(
            table_id=table.entry.table_id,
            whole_at=self.position,
            step=table.step,
            common_row=table.rows.pack_common_row(),
            common_position=self.position,
        )
        return self._message(picture_end=end)

    def picture(self, name: str) -> list[deltas_pb2.FollowResponse]:
        buckets = [self.bucket(name, bucket) for bucket in self.tables[name].buckets]
        return [self.picture_start(name), *buckets, self.picture_end(name)]

    def _message(self, **content: Any) -> deltas_pb2.FollowResponse:
        position = deltas_pb2.StreamPosition(server_id="owner", number=self.position)
        return deltas_pb2.FollowResponse(position=position, at_ms=1, **content)
