"""Applies what an owner says: tables, pictures of them, mutations, answers for repeats, steps of write-backs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from rowbank.errors import RequestError
from rowbank_protos.v1 import deltas_pb2
from rowbank_server.journal.records import CorruptRecordError, Record, parse
from rowbank_server.ps.deltas.log import DeltaLog
from rowbank_server.ps.durability.applying import RecordApplier
from rowbank_server.ps.durability.dedup import DedupWindow
from rowbank_server.ps.following.copies import Copies, VoidError
from rowbank_server.ps.following.marks import WriteBacks
from rowbank_server.ps.following.relay import Relay
from rowbank_server.ps.tables.shard import Shard

_log = logging.getLogger("rowbank.following")
_UNUSABLE = (CorruptRecordError, RequestError, ValueError)


class Applier:
    """For one thread at a time.

    Attributes:
        copies: the tables.
        write_backs: what Redis may lack.
        position: everything up to it is applied to the tables that are whole.
        handed_over: the owner stops, and everything that it acknowledged is here.
        records: how many mutations were applied.
        unusable: records and rows that could not be read or applied; the tables concerned were asked for anew.

    Args:
        log: gets the mutations for those who will follow this process; None: it will not be an owner.
    """

    def __init__(self, shard: Shard, dedup: DedupWindow, log: DeltaLog | None) -> None:
        self._shard = shard
        self._dedup = dedup
        self._relay = Relay(log)
        self._records = RecordApplier(dedup)
        self.copies = Copies(shard, self._records)
        self.write_backs = WriteBacks()
        self.position = 0
        self.handed_over = False
        self.records = 0
        self.unusable = 0
        self._begins = False
        self._takers: dict[str, Callable[[Any], None]] = {
            "tables": self._take_tables,
            "picture_start": self._take_picture_start,
            "picture_rows": self._take_picture_rows,
            "picture_end": self._take_picture_end,
            "write_back": self._take_write_back,
            "hand_over": self._take_hand_over,
            "windows": self._take_windows,
        }

    def begin(self, hello: deltas_pb2.FollowResponse) -> None:
        """Takes the first message of a stream. What the owner cannot go on with is void."""
        self._begins = True
        self.handed_over = False
        if not hello.hello.continued:
            self.forget()
            self.position = hello.position.number
        self._relay.begin(self.position, continued=hello.hello.continued)

    def forget(self) -> None:
        """Makes everything void, so that nothing of it is asked to go on."""
        lost = self.copies.void_all()
        if lost:
            _log.warning("tables %s come anew from the owner", ", ".join(lost))
        self.position = 0

    def take(self, message: deltas_pb2.FollowResponse) -> None:
        """Applies a message, after `begin`.

        Raises:
            VoidError: tables are void; a new stream has to bring them.
        """
        kind = message.WhichOneof("content")
        void: VoidError | None = None
        if kind == "records":
            void = self._take_records(message.records)
        elif kind is not None:
            taker = self._takers.get(kind)
            if taker is None:
                raise VoidError(f"the owner sent {kind}, which was not asked for")
            taker(getattr(message, kind))
        self._advance(message)
        if void is not None:
            raise void

    def stop(self) -> None:
        """Leaves the tables as an owner of their own needs them: with their optimizers, and all that may be dirty."""
        self.write_backs.give_back(self.copies.all())
        self._records.use_own_optimizers()

    def _advance(self, message: deltas_pb2.FollowResponse) -> None:
        if message.HasField("position"):
            self.position = message.position.number
        self._relay.complete(self.position)
        for copy in self.copies.advance(self.position):
            _log.info("table %s is here: %d rows", copy.table.name, copy.table.rows.size())
            if copy.table.frozen:
                self._relay.filled(copy.table.entry.table_id)

    def _take_records(self, records: deltas_pb2.Records) -> VoidError | None:
        """Goes on after what cannot be used, for the other tables' sake; the last of it is returned."""
        void: VoidError | None = None
        for data in records.records:
            try:
                record = parse(data)
            except CorruptRecordError as error:
                self.unusable += 1
                self.forget()  # Nobody knows which tables it was about.
                raise VoidError(f"a record cannot be read: {error}") from error
            self._relay.record(record.position, data, at_ms=records.oldest_ms)
            void = self._apply(record) or void
        return void

    def _apply(self, record: Record) -> VoidError | None:
        seen = {part.table_id for part in record.tables if self.copies.has(part.table_id, record.position)}
        try:
            self._records.apply(record, only=self._records.table_ids - seen if seen else None)
        except _UNUSABLE as error:
            self.unusable += 1
            self.copies.void(part.table_id for part in record.tables)
            self._records.remember(record)  # Their pictures will have it.
            return VoidError(f"record {record.position} cannot be applied: {error}")
        self.records += 1
        return None

    def _take_tables(self, tables: deltas_pb2.FollowedTables) -> None:
        try:
            self.copies.take_list(tables.tables, begins=self._begins)
        except (VoidError, RequestError, ValueError) as error:
            self.unusable += 1
            self.forget()
            raise VoidError(f"the owner's list of tables cannot be used: {error}") from error
        self._begins = False
        self._relay.tables(self._shard.followed_tables().values())

    def _take_picture_start(self, start: deltas_pb2.PictureStart) -> None:
        self.copies.start_picture(start.table_id)

    def _take_picture_rows(self, rows: deltas_pb2.PictureRows) -> None:
        self._in_picture(rows.table_id, lambda: self.copies.load(rows))

    def _take_picture_end(self, end: deltas_pb2.PictureEnd) -> None:
        self._in_picture(end.table_id, lambda: self.copies.end_picture(end))

    def _in_picture(self, table_id: int, act: Callable[[], None]) -> None:
        try:
            act()
        except (VoidError, ValueError) as error:
            self.unusable += 1
            self.copies.void([table_id])
            raise VoidError(str(error)) from error

    def _take_write_back(self, mark: deltas_pb2.WriteBackMark) -> None:
        self.write_backs.take(mark, self.copies.all())

    def _take_hand_over(self, _: deltas_pb2.HandOver) -> None:
        self.handed_over = True

    def _take_windows(self, windows: deltas_pb2.AnswerWindows) -> None:
        corrupt = self._dedup.merge({window.client_id: window.packed for window in windows.windows})
        for client_id in corrupt:
            _log.error("what was answered to client %r came damaged; repeats of it are not recognised", client_id)
