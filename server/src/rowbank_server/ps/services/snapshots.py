"""SnapshotService: one picture at a time of all tables of a shard.

The picture costs no pause but the moment in which mutations are held back; afterwards the native tables copy a row when
it is first changed, until its bucket was read. Both the holding back and the copies end by themselves when the caller
is not heard of any more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc

from rowbank.errors import InvalidRequest, NotReady, SnapshotNotFound, TableExists
from rowbank_protos.v1 import common_pb2, rows_pb2, snapshots_pb2, snapshots_pb2_grpc, tables_pb2
from rowbank_server import _core
from rowbank_server.journal.journal import Journal
from rowbank_server.ps.durability.gate import MutationGate
from rowbank_server.ps.services.exporting import export_messages
from rowbank_server.ps.tables.mutations import Import, Mutation
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.ps.tables.table import ShardTable

_log = logging.getLogger("rowbank.ps")
_MAX_HOLD_MS = 10_000
_LEASE_S = 60.0
_COPIED_AT_ONCE = 4096  # Rows for which a copy locks its new table.


class _Picture:
    """What is known of the picture that was taken last."""

    def __init__(
        self, snapshot_id: str, tables: list[ShardTable], infos: Sequence[tables_pb2.TableInfo], position: int
    ) -> None:
        self.snapshot_id = snapshot_id
        self.tables = tables
        self.infos = infos
        self.unread = {table.name: table for table in tables}
        self.position = position
        self.last_read_s = time.monotonic()
        self.held = True


class SnapshotServicer(snapshots_pb2_grpc.SnapshotServiceServicer):
    """Serves pictures of one shard.

    Args:
        commit: makes a mutation last, as `Committer.commit`.
        flush: writes what changed to Redis, as `Keeper.flush`.
        on_filled: called with the id of a table that is a model version's copy and whole now.
    """

    def __init__(
        self,
        shard: Shard,
        journal: Journal,
        gate: MutationGate,
        *,
        commit: Callable[[Mutation, bytes], Any],
        flush: Callable[[], int],
        on_filled: Callable[[int], None],
    ) -> None:
        self._commit = commit
        self._flush = flush
        self._on_filled = on_filled
        self._shard = shard
        self._journal = journal
        self._gate = gate
        self._lock = threading.Lock()
        self._picture: _Picture | None = None

    def BeginSnapshot(  # noqa: N802
        self, request: snapshots_pb2.BeginSnapshotRequest, context: grpc.ServicerContext
    ) -> snapshots_pb2.BeginSnapshotResponse:
        if not request.snapshot_id:
            raise InvalidRequest("snapshot_id: expected a unique name, got none")
        if not 1 <= request.hold_ms <= _MAX_HOLD_MS:
            raise InvalidRequest(f"hold_ms: expected 1 to {_MAX_HOLD_MS}, got {request.hold_ms}")
        tables = self._shard.current_tables()
        hold_s = request.hold_ms / 1000
        with self._lock:
            if self._picture is not None:
                raise NotReady("another snapshot of this shard is being saved; try again when it is done")
            if not self._gate.close(timeout_s=hold_s):
                raise NotReady(f"mutations that were under way did not end within {request.hold_ms} ms; try again")
            try:
                for table in tables:
                    table.rows.freeze()
                answer = snapshots_pb2.BeginSnapshotResponse(
                    at_ms=int(time.time() * 1000),
                    position=self._journal.last_position(),
                    tables=[table.info() for table in tables],
                )
                picture = self._picture = _Picture(request.snapshot_id, tables, answer.tables, answer.position)
                _later(hold_s, lambda: self._resume(picture))
                _later(_LEASE_S, lambda: self._expire(picture))
            except BaseException:
                self._gate.open()
                raise
        return answer

    def ResumeMutations(  # noqa: N802
        self, request: snapshots_pb2.ResumeMutationsRequest, context: grpc.ServicerContext
    ) -> snapshots_pb2.ResumeMutationsResponse:
        picture = self._find(request.snapshot_id)
        held = self._resume(picture)
        self._journal.wait_appended(picture.position)
        return snapshots_pb2.ResumeMutationsResponse(held=held)

    def ReadSnapshot(  # noqa: N802
        self, request: snapshots_pb2.ReadSnapshotRequest, context: grpc.ServicerContext
    ) -> Iterator[rows_pb2.ExportResponse]:
        picture = self._find(request.snapshot_id)
        table = picture.unread.pop(request.table, None)
        if table is None:
            raise InvalidRequest(f"table {request.table!r} is not in the snapshot, or was read already")
        read = threading.Event()
        # Nobody can read the rest again: whoever saves is gone, and others need not wait until the picture expires.
        if not context.add_callback(lambda: None if read.is_set() else self._end(picture)):
            self._end(picture)
        for bucket in table.buckets:
            with self._lock:  # So that it does not end, and another begin, between the look and the export.
                if self._picture is not picture:
                    raise _gone(request.snapshot_id)
                rows = table.rows.export_frozen(bucket, with_slots=request.with_slots)
            for message in export_messages(rows):
                picture.last_read_s = time.monotonic()
                yield message
        read.set()

    def FreezeTable(  # noqa: N802
        self, request: snapshots_pb2.FreezeTableRequest, context: grpc.ServicerContext
    ) -> snapshots_pb2.FreezeTableResponse:
        picture = self._find(request.snapshot_id)
        if request.value_dtype not in common_pb2.DataType.values() or request.value_dtype == common_pb2.DATA_TYPE_INT8:
            raise InvalidRequest(f"value_dtype: expected FLOAT32, FLOAT16 or BFLOAT16, got {request.value_dtype}")
        source = picture.unread.get(request.table)
        if source is None:
            self._shard.get(request.table)  # Says so if there is no such table at all.
            raise InvalidRequest(f"table {request.table!r} is not in the snapshot, or was read already")
        frozen = self._shard.create_frozen(source, request.frozen_name, request.value_dtype)
        if frozen.rows.size():
            raise TableExists(f"table {frozen.name!r} exists and has rows", metadata={"table": frozen.name})
        step = next(info.step for info in picture.infos if info.spec.name == request.table)
        del picture.unread[request.table]
        for bucket in source.buckets:
            with self._lock:
                if self._picture is not picture:
                    raise _gone(request.snapshot_id)
                rows = source.rows.export_frozen(bucket)
            if not context.is_active():
                raise NotReady("the caller went away before the copy was whole")
            picture.last_read_s = time.monotonic()
            self._copy(frozen, rows)
        self._on_filled(frozen.entry.table_id)  # First, so that a standby knows it before the caller does.
        self._flush()
        return snapshots_pb2.FreezeTableResponse(table=frozen.info(), step=step)

    def _copy(self, frozen: ShardTable, rows: _core.ExportedRows) -> None:
        for start in range(0, len(rows.keys), _COPIED_AT_ONCE):
            part = slice(start, start + _COPIED_AT_ONCE)
            keys, values = rows.keys[part], rows.values[part]
            self._commit(Import(frozen, keys, values, rows.frequency[part], rows.last_used[part], None, 0), b"")

    def EndSnapshot(  # noqa: N802
        self, request: snapshots_pb2.EndSnapshotRequest, context: grpc.ServicerContext
    ) -> snapshots_pb2.EndSnapshotResponse:
        picture = self._picture
        if picture is not None and picture.snapshot_id == request.snapshot_id:
            self._end(picture)
        return snapshots_pb2.EndSnapshotResponse()

    def _find(self, snapshot_id: str) -> _Picture:
        picture = self._picture
        if picture is None or picture.snapshot_id != snapshot_id:
            raise _gone(snapshot_id)
        return picture

    def _resume(self, picture: _Picture) -> bool:
        """Whether mutations had been held back for this picture until now."""
        with self._lock:
            held, picture.held = picture.held, False
            if held:
                self._gate.open()
            return held

    def _end(self, picture: _Picture) -> None:
        self._resume(picture)
        with self._lock:
            if self._picture is not picture:
                return
            for table in picture.tables:
                table.rows.thaw()
            self._picture = None

    def _expire(self, picture: _Picture) -> None:
        """Ends a picture that nobody reads, or looks again when it may have become one."""
        left_s = picture.last_read_s + _LEASE_S - time.monotonic()
        if self._picture is not picture:
            return
        if left_s > 0:
            _later(left_s, lambda: self._expire(picture))
            return
        _log.warning("snapshot %s was not read for %.0f s and is given up", picture.snapshot_id, _LEASE_S)
        self._end(picture)


def _gone(snapshot_id: str) -> SnapshotNotFound:
    return SnapshotNotFound(
        f"snapshot {snapshot_id!r} is not there: it ended, was not read for {_LEASE_S:.0f} s, or the shard restarted",
        metadata={"snapshot": snapshot_id},
    )


def _later(delay_s: float, act: Callable[[], object]) -> None:
    timer = threading.Timer(delay_s, act)
    timer.daemon = True
    timer.start()
