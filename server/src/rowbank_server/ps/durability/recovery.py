"""Brings a shard to where its predecessor was: fences it, replays what it acknowledged, remembers what it answered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from rowbank.errors import RequestError
from rowbank_protos.v1 import tables_pb2
from rowbank_server.journal.records import CorruptRecordError, Kind, Record, parse
from rowbank_server.journal.streams import JournalStreams, StoredRecord
from rowbank_server.ps.decoding import decode
from rowbank_server.ps.durability.dedup import DedupWindow
from rowbank_server.ps.tables import specs
from rowbank_server.ps.tables.mutations import Mutation, Push
from rowbank_server.ps.tables.table import ShardTable

_log = logging.getLogger("rowbank.ps")
_PROGRESS_S = 2.0
_NO_LIMIT = 1 << 62


class Replay:
    """Applies sealed journals to loaded tables. For one thread.

    A record is applied to the rows that have not seen its position, with the optimizer's numbers of its own time; what
    cannot be read is set aside, and the rest goes on.

    Attributes:
        records: how many were read.
        corrupt: how many of them could not be read.
    """

    def __init__(self, streams: JournalStreams, dedup: DedupWindow) -> None:
        self._streams = streams
        self._dedup = dedup
        self._tables: dict[int, ShardTable] = {}
        self._optimizers: dict[int, bytes] = {}
        self.records = 0
        self.corrupt = 0

    def run(self, streams: Iterable[str], tables: Iterable[ShardTable]) -> None:
        """Replays sealed `streams`, oldest first. Raises RedisUnavailable."""
        self._tables = {table.entry.table_id: table for table in tables}
        self._optimizers = {table_id: table.optimizer_bytes for table_id, table in self._tables.items()}
        started = reported = time.monotonic()
        for stream in streams:
            for stored in self._streams.read_sealed(stream):
                self._replay(stored)
                if time.monotonic() - reported > _PROGRESS_S:
                    reported = time.monotonic()
                    _log.info("replayed %d journal records, at %s", self.records, stored.place)
        for table_id, table in self._tables.items():
            self._use_optimizer(table_id, table.optimizer_bytes)
            table.end_replay()
        if self.records:
            _log.info("replayed %d journal records in %.2f s", self.records, time.monotonic() - started)

    def _replay(self, stored: StoredRecord) -> None:
        self.records += 1
        try:
            record = parse(stored.data)
            self._apply(record)
        except (CorruptRecordError, RequestError, ValueError) as error:
            self.corrupt += 1
            self._streams.quarantine(stored)
            _log.error("journal record %s is in quarantine and was not replayed: %s", stored.place, error)
            return
        if record.client_id:
            self._dedup.replay(record.client_id, record.sequence, record.kind, record.answer)

    def _apply(self, record: Record) -> None:
        request = decode.parse(record.kind, record.body)
        names = decode.tables_named(record.kind, request)
        if len(names) != len(record.tables):
            raise CorruptRecordError(f"the head has {len(record.tables)} tables, the request {len(names)}")
        kept = [place for place, part in enumerate(record.tables) if part.table_id in self._tables]
        if record.kind in (Kind.PUSH, Kind.STORE):
            parts = [request.tables[place] for place in kept]  # The others were dropped since.
            del request.tables[:]
            request.tables.extend(parts)
        elif not kept:
            return
        tables = [self._tables[record.tables[place].table_id] for place in kept]
        mutation = decode.build(record.kind, request, tables, max_keys=_NO_LIMIT)
        for place, table in zip(kept, tables, strict=True):
            self._use_optimizer(table.entry.table_id, record.tables[place].optimizer)
            table.journaled_position = record.position
        if isinstance(mutation, Push):
            for part, place in zip(mutation.parts, kept, strict=True):
                part.step = part.table.next_step(record.tables[place].step)
            missing: Mutation = mutation.after(record.position, [record.tables[place].outcome for place in kept])
        else:
            missing = mutation.after(record.position)
        missing.apply(now=record.now_s, position=record.position)

    def _use_optimizer(self, table_id: int, serialized: bytes) -> None:
        if self._optimizers[table_id] != serialized:
            table = self._tables[table_id]
            spec = tables_pb2.TableSpec(name=table.name, optimizer=tables_pb2.Optimizer.FromString(serialized))
            table.rows.set_hyperparameters(specs.build_optimizer(spec))
            self._optimizers[table_id] = serialized


class Recovery:
    """What has to happen between claiming a shard and serving it, and once after its first write-back."""

    def __init__(self, streams: JournalStreams, dedup: DedupWindow, *, open_journal: Callable[[int], None]) -> None:
        self._streams = streams
        self._dedup = dedup
        self._open_journal = open_journal
        self._sealed: list[str] = []
        self.corrupt_records = 0

    def seal(self, epoch: int) -> None:
        """From now on no predecessor can acknowledge anything. Raises RedisUnavailable."""
        self._sealed = self._streams.seal_older(epoch)

    def replay(self, windows: dict[str, bytes], tables: Iterable[ShardTable]) -> None:
        """Restores the answers to repeats, replays the sealed journals on loaded `tables`. Raises RedisUnavailable."""
        for client_id in self._dedup.restore(windows):
            _log.error("what was answered to client %r is corrupt; repeats of it are not recognised", client_id)
        replay = Replay(self._streams, self._dedup)
        replay.run(self._sealed, tables)
        self.corrupt_records += replay.corrupt

    def start_journal(self, epoch: int) -> None:
        """Opens this process's own journal. Raises RedisUnavailable, or NotReady if it was replaced meanwhile."""
        self._open_journal(epoch)

    def written_back(self) -> None:
        """Everything replayed is written back, so the sealed journals can go. Raises RedisUnavailable."""
        if self._sealed:
            self._streams.delete_sealed(self._sealed)
            self._sealed = []

    @property
    def pending(self) -> bool:
        """Whether sealed journals wait for a write-back."""
        return bool(self._sealed)
