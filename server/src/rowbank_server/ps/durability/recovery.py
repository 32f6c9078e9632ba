"""Brings a shard to where its predecessor was: fences it, replays what it acknowledged, remembers what it answered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from rowbank.errors import RequestError
from rowbank_server.journal.records import CorruptRecordError, parse
from rowbank_server.journal.streams import JournalStreams, StoredRecord
from rowbank_server.ps.durability.applying import RecordApplier
from rowbank_server.ps.durability.dedup import DedupWindow
from rowbank_server.ps.tables.table import ShardTable

_log = logging.getLogger("rowbank.ps")
_PROGRESS_S = 2.0


class Replay:
    """Applies sealed journals to loaded tables. For one thread.

    What cannot be read is set aside, and the rest goes on.

    Attributes:
        records: how many were read.
        corrupt: how many of them could not be read.
    """

    def __init__(self, streams: JournalStreams, dedup: DedupWindow) -> None:
        self._streams = streams
        self._applier = RecordApplier(dedup)
        self.records = 0
        self.corrupt = 0

    def run(self, streams: Iterable[str], tables: Iterable[ShardTable]) -> None:
        """Replays sealed `streams`, oldest first. Raises RedisUnavailable."""
        loaded = list(tables)
        for table in loaded:
            self._applier.add(table)
        started = reported = time.monotonic()
        for stream in streams:
            for stored in self._streams.read_sealed(stream):
                self._replay(stored)
                if time.monotonic() - reported > _PROGRESS_S:
                    reported = time.monotonic()
                    _log.info("replayed %d journal records, at %s", self.records, stored.place)
        self._applier.use_own_optimizers()
        for table in loaded:
            table.end_replay()
        if self.records:
            _log.info("replayed %d journal records in %.2f s", self.records, time.monotonic() - started)

    def _replay(self, stored: StoredRecord) -> None:
        self.records += 1
        try:
            self._applier.apply(parse(stored.data))
        except (CorruptRecordError, RequestError, ValueError) as error:
            self.corrupt += 1
            self._streams.quarantine(stored)
            _log.error("journal record %s is in quarantine and was not replayed: %s", stored.place, error)


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
