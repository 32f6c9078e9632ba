"""Brings a shard to where its predecessor was: fences it, replays what it acknowledged, remembers what it answered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Set

from rowbank.errors import RequestError
from rowbank_server.journal.records import CorruptRecordError, parse, peek_position
from rowbank_server.journal.streams import JournalStreams, StoredRecord
from rowbank_server.ps.deltas.log import DeltaLog
from rowbank_server.ps.deltas.seed import Seed
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

    Args:
        seed: takes those that are above `above`, for whoever follows; None: nobody does.
    """

    def __init__(self, streams: JournalStreams, dedup: DedupWindow, seed: Seed | None = None) -> None:
        self._streams = streams
        self._seed = seed
        self._applier = RecordApplier(dedup)
        self._above = 0
        self._loaded: Set[int] = frozenset()
        self.records = 0
        self.corrupt = 0

    def run(
        self, streams: Iterable[str], tables: Iterable[ShardTable], *, above: int = 0, loaded: Set[int] | None = None
    ) -> None:
        """Replays sealed `streams`, oldest first. Raises RedisUnavailable.

        Args:
            above: tables that are not `loaded` have seen everything up to this position, and nothing later.
            loaded: ids of tables whose rows were read from Redis; None: all.
        """
        given = list(tables)
        for table in given:
            self._applier.add(table)
        self._above = above
        self._loaded = {table.entry.table_id for table in given} if loaded is None else loaded
        started = reported = time.monotonic()
        for stream in streams:
            for stored in self._read(stream):
                self._replay(stored)
                if time.monotonic() - reported > _PROGRESS_S:
                    reported = time.monotonic()
                    _log.info("replayed %d journal records, at %s", self.records, stored.place)
        self._applier.use_own_optimizers()
        for table in given:
            table.end_replay()
        if self.records:
            _log.info("replayed %d journal records in %.2f s", self.records, time.monotonic() - started)

    def _read(self, stream: str) -> Iterator[StoredRecord]:
        if self._loaded or not self._above:
            return self._streams.read_sealed(stream)
        return self._streams.read_tail(stream, above=self._above)

    def _replay(self, stored: StoredRecord) -> None:
        position = peek_position(stored.data)
        seen = position is not None and position <= self._above
        if seen and not self._loaded:
            return
        self.records += 1
        try:
            self._applier.apply(parse(stored.data), only=self._loaded if seen else None)
        except (CorruptRecordError, RequestError, ValueError) as error:
            self.corrupt += 1
            self._streams.quarantine(stored)
            _log.error("journal record %s is in quarantine and was not replayed: %s", stored.place, error)
            return
        if position is not None and not seen and self._seed is not None:
            self._seed.add(position, stored.data)


class Recovery:
    """What has to happen between claiming a shard and serving it, and once after its first write-back.

    Args:
        log: gets what was replayed, so that those who followed a predecessor can go on.
    """

    def __init__(
        self,
        streams: JournalStreams,
        dedup: DedupWindow,
        log: DeltaLog,
        *,
        open_journal: Callable[[int], None],
    ) -> None:
        self._streams = streams
        self._dedup = dedup
        self._open_journal = open_journal
        self._log = log
        self._sealed: list[str] = []
        self.corrupt_records = 0

    def seal(self, epoch: int) -> None:
        """From now on no predecessor can acknowledge anything. Raises RedisUnavailable."""
        self._sealed = self._streams.seal_older(epoch)

    def look_ahead(self, epoch: int, owner: str, *, above: int) -> None:
        """Prepares `replay_tail` for the journal of an owner that may be gone. Raises RedisUnavailable."""
        self._streams.look_ahead(epoch, owner, above=above)

    def replay(self, windows: dict[str, bytes], tables: Iterable[ShardTable], *, through: int | None) -> None:
        """Restores the answers to repeats, replays the sealed journals on loaded `tables`. Raises RedisUnavailable.

        Args:
            through: the sealed journals have everything that was done after this position; None: not known.
        """
        _tell_corrupt(self._dedup.restore(windows))
        seed = Seed(self._log)
        replay = Replay(self._streams, self._dedup, seed)
        replay.run(self._sealed, tables)
        self.corrupt_records += replay.corrupt
        seed.start(through)

    def replay_tail(
        self,
        tables: Iterable[ShardTable],
        *,
        above: int,
        loaded: Set[int],
        complete: bool = False,
        gap_through: int | None = None,
    ) -> int:
        """Replays what a follower has not seen, as `Replay.run` does; returns how many records that were.

        Args:
            complete: nothing was done after `above`.
            gap_through: of what was done up to this position, the sealed journals may lack what came after `above`.
        Raises:
            RedisUnavailable: it may be called again.
        """
        seed = Seed(self._log)
        replay = Replay(self._streams, self._dedup, seed)
        streams = [] if complete and not loaded else self._sealed
        replay.run(streams, tables, above=above, loaded=loaded)
        self.corrupt_records += replay.corrupt
        if gap_through is None:
            seed.go_on()
        else:
            seed.start(gap_through)
        return replay.records

    def merge_windows(self, windows: dict[str, bytes]) -> None:
        """Adds stored answers to repeats to those that are known."""
        _tell_corrupt(self._dedup.merge(windows))

    def remember_all(self) -> None:
        """Has all known answers stored with the next write-back, since nobody knows which are."""
        self._dedup.mark_all_changed()

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


def _tell_corrupt(clients: Iterable[str]) -> None:
    for client_id in clients:
        _log.error("what was answered to client %r is corrupt; repeats of it are not recognised", client_id)
