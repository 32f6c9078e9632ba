"""Makes this process its shard's owner: claims it, fences who had it, loads or keeps the rows, opens the journal."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from rowbank.errors import RedisUnavailable
from rowbank_server.ps.durability.cold_writeback import correct_replayed
from rowbank_server.ps.durability.recovery import Recovery
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.ps.tables.table import Ownership, ShardTable
from rowbank_server.storage.catalog import Catalog, CatalogBehindError, CatalogView
from rowbank_server.storage.cold import ColdStore
from rowbank_server.storage.lease import Lease, Sight
from rowbank_server.storage.rows import RowStore
from rowbank_server.storage.state import EPOCH_SHIFT, Claim, OutpacedError, ShardState, Taken

_log = logging.getLogger("rowbank.ps")


class FollowedTables(Protocol):
    """What was followed, table by table; see `Copies`."""

    def complete(self) -> Iterable[int]:
        """The ids of tables of which this process has all rows."""


class FollowedOwner(Protocol):
    """The owner that this process followed, as far as it got.

    Attributes:
        epoch, owner_id: of the owner.
        position: everything up to here is in this process's tables, and nothing later.
        last_flush: the number of the last write-back of that owner whose end was seen.
    """

    @property
    def epoch(self) -> int: ...

    @property
    def owner_id(self) -> str: ...

    @property
    def position(self) -> int: ...

    @property
    def last_flush(self) -> int: ...

    @property
    def copies(self) -> FollowedTables: ...

    def settled(self, table_id: int) -> bool:
        """Whether the table's dirty marks name all rows in which Redis may differ."""

    def detach(self) -> None:
        """Returns when nothing more is taken in."""


class Laps:
    """How long the parts of something took, in milliseconds, for the log."""

    def __init__(self) -> None:
        self._begun = self._last = time.perf_counter()
        self._parts: list[str] = []

    @property
    def total_ms(self) -> float:
        """All parts together."""
        return (self._last - self._begun) * 1e3

    def end(self, part: str) -> None:
        """Ends the part that began where the last one ended."""
        now = time.perf_counter()
        self._parts.append(f"{part} {(now - self._last) * 1e3:.1f}")
        self._last = now

    def __str__(self) -> str:
        return ", ".join(self._parts) + " ms"


class Claiming:
    """For one thread.

    Attributes:
        claimed: whether this process ever had the shard.

    The order is what makes it safe: once buckets and journal are fenced, no predecessor can write or acknowledge
    anything that is not loaded or replayed afterwards.

    Args:
        on_claimed: called once the shard is claimed, with the epoch, before anything is loaded.
    """

    def __init__(
        self,
        *,
        shard: Shard,
        catalog: Catalog,
        store: RowStore,
        state: ShardState,
        recovery: Recovery,
        ownership: Ownership,
        lease: Lease,
        on_claimed: Callable[[], None] = lambda: None,
    ) -> None:
        self._shard = shard
        self._catalog = catalog
        self._store = store
        self._state = state
        self._recovery = recovery
        self._ownership = ownership
        self._lease = lease
        self._on_claimed = on_claimed
        self._looked_at = 0
        self._lost = False  # Redis lost writes, as was seen before the first of several tries to take over.
        self.claimed = False

    def load(self, seen: Sight | None = None) -> None:
        """Claims the shard, loads every table of the catalog and replays the journal; afterwards it serves.

        Args:
            seen: only if the shard is as it was seen, without a lease of another.
        Raises:
            RedisUnavailable: Redis failed.
            NotReady: another process took over the shard meanwhile.
            OutpacedError: the shard is not as it was `seen`; nothing was done.
            UnfinishedJournalError: see `ShardState.claim`.
        """
        started = time.monotonic()
        try:
            claim, view = self._claim(seen)
        except CatalogBehindError:
            raise RedisUnavailable(
                "Redis lost writes of the catalog while this shard started; start it again once Redis is whole"
            ) from None
        self._shard.forget_followed()
        self._shard.open_all(view, claim.steps)
        tables = self._shard.tables()
        self._recovery.replay(claim.windows, tables, through=claim.through)
        self._correct(tables)
        self._recovery.start_journal(claim.epoch)
        self._shard.serve()
        rows = sum(table.rows.size() for table in tables)
        _log.info("loaded %d rows of %d tables in %.2f s", rows, len(tables), time.monotonic() - started)

    def is_outpaced(self, seen: Sight) -> bool:
        """Whether another process claimed the shard after this one did. One of a lower epoch is what Redis lost."""
        return self.claimed and seen.owner != self._lease.owner and seen.epoch >= self._state.epoch

    def note_catalog(self) -> None:
        """Remembers which catalog there is, so that a lost one shows. Raises RedisUnavailable."""
        with contextlib.suppress(CatalogBehindError):
            self._catalog.generation()

    def look_ahead(self, followed: FollowedOwner) -> None:
        """Prepares a take-over from an owner that may be gone, once for each position. Raises RedisUnavailable."""
        position = followed.position
        if position != self._looked_at:
            self._recovery.look_ahead(followed.epoch, followed.owner_id, above=position)
            self._looked_at = position

    def take_over(self, followed: FollowedOwner, seen: Sight, *, handed_over: bool) -> None:
        """Claims the shard for a process that has its rows from following; afterwards it serves, without a load.

        What comes before what, and why:

        1. The claim compares the shard with what was seen, in one script, so that of several standbys one wins and a
           living owner that renewed its lease keeps the shard.
        2. Following ends before the journal is sealed. Until then the former owner still is one, and what it releases
           is in its stream; from here on nothing of it is taken in, so `position` stands still.
        3. The journal is sealed. Whatever the former owner has acknowledged of a journaled table is now in sealed
           streams, at positions up to `position`, which the tables have, or above, which is the tail.
        4. The catalog is read after that, so that it has every table that the tail speaks of. Tables that it does not
           have are gone; those that this process has not whole are loaded.
        5. Buckets are fenced before any of them is loaded, and before this process writes any.
        6. The tail is replayed, and of loaded tables the whole of the sealed streams. An owner that handed over has no
           tail.
        7. The journal is opened, in a script that fails if another process took over meanwhile. Only then is anything
           acknowledged. Positions of the new epoch are above all that were replayed.

        What the former owner wrote back, and whether Redis has all of it, is not known exactly. Tables for which it is
        not are written whole by the next write-back, and sealed streams stay until that has ended.

        It may be called again after an error, with what is seen then: replaying twice changes nothing.

        Args:
            seen: what the shard must look like, by epoch and owner.
            handed_over: the owner said that it stopped, so its lease does not matter.
        Raises:
            RedisUnavailable, NotReady, OutpacedError: as `load` does.
        """
        laps = Laps()
        known = max(followed.epoch, followed.position >> EPOCH_SHIFT, self._state.epoch)
        self._lost |= seen.epoch < known or not seen.owner
        try:
            taken = self._state.take_over(seen, least_epoch=known + 1, lease=self._lease, handed_over=handed_over)
        except OutpacedError:
            self._lost = False
            raise
        self._note_claimed()
        laps.end("claim")
        followed.detach()
        laps.end("detach")
        lost = self._lost = self._lost or taken.flush < followed.last_flush
        view = self._fence(taken, lost=lost, laps=laps)
        self._take_tables(followed, taken, view, lost=lost, handed_over=handed_over, laps=laps)
        self._recovery.start_journal(self._state.epoch)
        self._shard.serve()
        laps.end("journal")
        what = "; Redis lost writes, everything is written again" if lost else ""
        _log.info("took over in %.1f ms%s: %s", laps.total_ms, what, laps)

    def _take_tables(
        self, followed: FollowedOwner, taken: Taken, view: CatalogView, *, lost: bool, handed_over: bool, laps: Laps
    ) -> None:
        """Brings the tables, followed or loaded, to where the former owner was."""
        behind = taken.through > followed.position
        whole = set() if behind else set(followed.copies.complete())
        loaded = self._shard.take_over(view, whole, taken.steps)
        if loaded:
            self._recovery.merge_windows(self._state.windows())
        self._recovery.remember_all()
        laps.end("tables")
        tables = self._shard.tables()
        for table in tables:
            if table.entry.table_id not in loaded:
                _adopt(table, followed, lost=lost, handed_over=handed_over)
        records = self._recovery.replay_tail(
            tables,
            above=followed.position,
            loaded=loaded,
            complete=handed_over,
            gap_through=taken.through if behind else None,
        )
        self._correct(table for table in tables if table.entry.table_id in loaded)
        laps.end("tail")
        rows = sum(table.rows.size() for table in tables)
        _log.info("%d rows, %d tables, %d loaded, %d records replayed", rows, len(tables), len(loaded), records)

    def _correct(self, replayed: Iterable[ShardTable]) -> None:
        for table in replayed:
            correct_replayed(table, ColdStore(self._store))

    def _claim(self, seen: Sight | None) -> tuple[Claim, CatalogView]:
        """Claims the shard, seals its journal, then claims the buckets of all tables that exist.

        The catalog is read last of all, so that it has every table that a sealed journal speaks of. A bucket with a
        higher epoch says that Redis lost the shard's own; then everything is claimed again, above that.
        """
        claim = self._state.claim(lease=self._lease, seen=seen)
        self._note_claimed()
        while True:
            self._store.use_epoch(claim.epoch)
            self._recovery.seal(claim.epoch)
            view = self._catalog.read()
            highest = self._claim_buckets(view)
            if highest <= claim.epoch:
                return claim, view
            claim = self._state.claim(highest + 1, lease=self._lease)

    def _fence(self, taken: Taken, *, lost: bool, laps: Laps) -> CatalogView:
        """As `_claim` does after a claim, for a process with tables: where Redis lost the catalog, these are told."""
        epoch = taken.epoch
        while True:
            self._store.use_epoch(epoch)
            self._recovery.seal(epoch)
            laps.end("seal")
            try:
                if lost:
                    raise CatalogBehindError
                view = self._catalog.read()
            except CatalogBehindError:
                self._shard.restore_catalog()
                view = self._catalog.read()
            laps.end("catalog")
            highest = self._claim_buckets(view)
            laps.end("fences")
            if highest <= epoch:
                return view
            epoch = self._state.raise_epoch(highest + 1, lease=self._lease)

    def _note_claimed(self) -> None:
        self.claimed = True
        self._on_claimed()

    def _claim_buckets(self, view: CatalogView) -> int:
        return self._store.claim_all(
            {entry.table_id: self._ownership.buckets(entry.bucket_count) for entry in view.entries.values()}
        )


def _adopt(table: ShardTable, followed: FollowedOwner, *, lost: bool, handed_over: bool) -> None:
    """Makes a followed table this process's own: what has to be written of it is decided here.

    Of a relaxed table the former owner may have written rows that it never released; an owner that handed over has
    released all. A frozen one does not change.
    """
    unsure = not table.frozen and not table.journaled and not handed_over
    with table.write_lock:
        # Of what the former owner had yet to delete there is no list.
        table.second_chance.wipe_due |= table.second_chance.on and (lost or not followed.settled(table.entry.table_id))
        table.mirror_unknown |= lost or unsure or not followed.settled(table.entry.table_id)
    table.journaled_position = max(table.journaled_position, followed.position)
