"""The background work of a shard: write-back, keeping up with the catalog, and noticing what Redis lost.

One thread, one cycle every `flush_interval_s`. A cycle first asks whether Redis still has what it was told. If it came
back empty or older, everything in RAM is written again, because RAM is the newer of the two; if another process serves
the shard now, this one stops writing at once, because RAM is then the older. Tables that the journal has may wait, as
`schedule` says, unless Redis was away: then it may have lost a part of the journal. When they are written, that may
take many times a cycle; the others have their turn in between.
"""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections.abc import Callable

from rowbank.errors import NotReady, RedisUnavailable
from rowbank_protos.v1.deltas_pb2 import WriteBackMark
from rowbank_server.journal.journal import Journal
from rowbank_server.ps.deltas.log import DeltaLog
from rowbank_server.ps.durability.cold_writeback import list_cold
from rowbank_server.ps.durability.dedup import DedupWindow
from rowbank_server.ps.durability.recovery import Recovery
from rowbank_server.ps.durability.schedule import Schedule
from rowbank_server.ps.durability.writeback import flush_table, rewrite_table, settle, unsettle
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.storage.cold import ColdStore
from rowbank_server.storage.evictions import EvictionHistory
from rowbank_server.storage.rows import MAX_BYTES_PER_TRANSACTION, FenceLostError, RowStore
from rowbank_server.storage.state import ShardState, Standing

_log = logging.getLogger("rowbank.ps")
_LONGEST_BACKOFF_S = 10.0
_LONGEST_PAUSE_S = 0.01
_PRESSED_BYTES = 1 << 20  # Of a transaction; Redis does nothing else for some 3 ms.
_FOLLOWERS_ASK_S = 20.0  # Most have a picture of all tables by then.
_WriteTable = Callable[[ShardTable, RowStore, Journal], int]


class BrokenOffError(Exception):
    """A write-back ended early, on purpose: the journal has what it did not write."""


class Keeper:
    """Runs the cycles.

    Attributes:
        on_redis_away: told whether Redis could not be reached, when that changes.
        last_duration_s: how long the last write-back of all tables took that succeeded.
        written_rows: how many rows were written or deleted in Redis since the start.
        transactions: how many transactions that took, those of a write-back under way included.

    Args:
        on_replaced: called once, from the keeper's thread, when another process took over the shard.
    """

    def __init__(
        self,
        *,
        shard: Shard,
        store: RowStore,
        state: ShardState,
        journal: Journal,
        log: DeltaLog,
        dedup: DedupWindow,
        recovery: Recovery,
        history: EvictionHistory,
        schedule: Schedule,
        flush_interval_s: float,
        max_dirty_rows: int,
        on_replaced: Callable[[], None],
    ) -> None:
        self._shard = shard
        self._store = store
        self._state = state
        self._journal = journal
        self._log = log
        self._serial = 0
        self._dedup = dedup
        self._recovery = recovery
        self._history = history
        self._schedule = schedule
        self._flush_interval_s = flush_interval_s
        self._max_dirty_rows = max_dirty_rows
        self._on_replaced = on_replaced
        self._cycle_lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self.on_redis_away: Callable[[bool], None] = lambda away: None
        self._failures = 0
        self._replaced = False
        self._rewrite_due = False
        self._all_due = True
        self._readings = 0
        self._asked_until_s = 0.0
        self._written_steps: dict[int, int] | None = None
        self._hurry = threading.Event()
        self._until_s = math.inf
        self._doubtful = True  # The journal may lack a part of what is not written. So it is until all is.
        self._written_through_s = time.monotonic()
        self._long: set[int] | None = None  # Ids of the tables that a long write-back is at, while it is.
        self._between_s = 0.0
        self.last_duration_s = 0.0
        self.written_rows = 0
        self.transactions = 0

    @property
    def redis_connected(self) -> bool:
        """Whether the last cycle reached Redis."""
        return self._failures == 0 and not self._journal.failure

    @property
    def replaced(self) -> bool:
        """Whether another process serves the shard now."""
        return self._replaced

    def dirty_rows(self) -> int:
        """Rows that are not written back in their present state."""
        return sum(table.rows.dirty_rows() for table in self._shard.tables())

    def lag_s(self) -> float:
        """How long ago everything that was due was written back; 0: everything is, or this process does not write."""
        behind = self._thread.is_alive() and self.dirty_rows() > 0
        return time.monotonic() - self._written_through_s if behind else 0.0

    def start(self) -> None:
        """Starts the cycles."""
        self._written_through_s = time.monotonic()
        self._thread.start()

    def stop(self, *, longest_s: float = math.inf) -> None:
        """Ends the cycles; one that is under way ends first.

        Args:
            longest_s: from now on a write-back of what waits in the journal is broken off then, when all that nothing
                but write-back keeps has been written. What it has not written stays marked, and so does what it has.
        """
        self._until_s = time.monotonic() + longest_s
        self._stopping.set()
        self._hurry.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Asks for a cycle soon. From any thread."""
        self._wake.set()

    def flush(self) -> int:
        """Runs one cycle now: how many rows were written or deleted in Redis.

        Raises:
            RedisUnavailable: Redis failed; what was not written is still marked to be.
            NotReady: another process serves the shard now, or this one stops and the rest is in the journal.
        """
        written = self.flush_last()
        if written is None:
            raise NotReady("this server stops; what was not written back is in its journal")
        return written

    def flush_last(self) -> int | None:
        """As `flush`, of a process that stops; None: it was broken off, as `stop` says, and the journal has the rest.

        REQUIRES: unless `stop` was told that there is time without end, the journal has appended everything.
        """
        self._hurry.set()  # A cycle that is under way pauses no more.
        try:
            return self._locked_flush(functools.partial(flush_table, pause=self._give_turn), everything=True)
        except BrokenOffError:
            return None

    def _locked_flush(self, write_table: _WriteTable, *, everything: bool = False) -> int:
        with self._cycle_lock:
            try:
                written = self._flush(write_table, everything=everything)
                self.written_rows += written
                return written
            except NotReady:
                self._replaced = True
                self._journal.fence()
                self._wake.set()  # The keeper's thread says it to whom it concerns, whoever found out.
                raise
            except FenceLostError:
                self._rewrite_due = True
                raise
            except BrokenOffError:
                self._all_due = True
                raise
            except BaseException:
                self._all_due = self._doubtful = True
                raise

    def _flush(self, write_table: _WriteTable, *, everything: bool) -> int:
        standing = Standing.REPLACED if self._replaced else self._state.standing()
        if standing is Standing.REPLACED:
            raise NotReady("another process has taken over this shard; nothing is written any more")
        if standing is Standing.LOST or self._journal.missing:
            self._rewrite_due = True
        if self._rewrite_due:
            return self._rewrite()
        self._doubtful |= self._state.restarted
        self._all_due |= everything or self._state.restarted or self._recovery.pending or self._followers_ask()
        self._shard.refresh()
        self._shard.delete_garbage()
        self._history.append_waiting()
        chosen = self._schedule.choose(self._shard.tables())
        if chosen is None or self._all_due:
            return self._write_back(write_table)
        return self._write_some(write_table, chosen)

    def _followers_ask(self) -> bool:
        """Whether somebody began to follow a while ago, who knows what Redis has only after a whole write-back."""
        before, self._readings = self._readings, self._log.readings
        if self._readings != before:
            self._asked_until_s = time.monotonic() + _FOLLOWERS_ASK_S
        return time.monotonic() < self._asked_until_s

    def _write_some(self, write_table: _WriteTable, tables: list[ShardTable]) -> int:
        """Writes `tables`, which nothing else keeps, and what refers to them. The journal stays as it is.

        Followers are not told: their marks say at worst that Redis lacks rows that it has.
        """
        began_s = time.monotonic()
        if not tables:
            self._written_through_s = began_s
            return 0
        changes = self._dedup.take_changes()
        try:
            written = sum(self._write_table(write_table, table) for table in tables)
            steps = {table.entry.table_id: table.step for table in self._shard.tables()}
            if written or changes.windows or changes.gone or steps != self._written_steps:
                self._state.write(steps, changes.windows, changes.gone)
                self._written_steps = steps
        except BaseException:
            self._dedup.give_back(changes)
            for table in tables:
                unsettle(table)
            raise
        for table in tables:
            settle(table)
        self._written_through_s = began_s
        return written

    def _write_back(self, write_table: _WriteTable) -> int:
        """Writes tables, then what refers to them, then trims the journal of what is written: a crash in between
        leaves at worst records that replay recognises as applied."""
        began_s = time.monotonic()
        through = self._journal.done_through()  # First: what is done by now shows in windows and tables taken later.
        self._serial += 1
        self._log.write_back(WriteBackMark.STAGE_BEGUN, self._serial)
        changes = None
        tables = self._shard.tables()
        try:
            for table in tables:
                list_cold(table, ColdStore(self._store))
            waited, others = self._schedule.split(tables)
            written = self._write_long(write_table, waited)
            # Not before, or what was written in between would be overwritten with something older.
            changes = self._dedup.take_changes()
            written += sum(self._write_table(write_table, table) for table in others)
            steps = {table.entry.table_id: table.step for table in tables}
            trims = self._recovery.pending or self._journal.has_done(through)
            if written or changes.windows or changes.gone or trims or steps != self._written_steps:
                # Positions that came to nothing are none that a follower could have reached.
                reached = min(through, self._log.position)
                self._state.write(steps, changes.windows, changes.gone, through=reached)
                self._written_steps = steps
        except BaseException:
            if changes is not None:
                self._dedup.give_back(changes)
            for table in tables:
                unsettle(table)
            self._log.write_back(WriteBackMark.STAGE_FAILED, self._serial)
            raise
        for table in tables:
            settle(table)
        self._log.write_back(WriteBackMark.STAGE_ENDED, self._serial, self._state.flush)
        # The oldest first: of a journal that is replayed again, all that followed must be there, too. What it created
        # would rise again if the removal, in the next journal, were gone.
        self._recovery.written_back()
        self._journal.trim(through)
        self._written_through_s = began_s
        self.last_duration_s = time.monotonic() - began_s
        self._schedule.all_written(began_s)
        self._all_due = self._doubtful = False
        return written

    def _write_long(self, write_table: _WriteTable, tables: list[ShardTable]) -> int:
        """Writes tables that waited for the journal, of which there may be much."""
        self._long, self._between_s = {table.entry.table_id for table in tables}, time.monotonic()
        try:
            return sum(self._write_table(write_table, table) for table in tables)
        finally:
            self._long = None

    def _write_between(self, long: set[int]) -> None:
        """A cycle's work for all other tables, in the middle of a long write-back."""
        try:
            self._shard.refresh()
            self._history.append_waiting()
            others = [table for table in self._shard.tables() if table.entry.table_id not in long]
            through_s = self._written_through_s
            self.written_rows += self._write_some(functools.partial(flush_table, pause=self._rest), others)
            self._written_through_s = through_s  # What is due is not written yet.
        finally:
            self._between_s = time.monotonic()

    def _write_table(self, write_table: _WriteTable, table: ShardTable) -> int:
        try:
            return write_table(table, self._store, self._journal)
        except FenceLostError:
            self._shard.refresh()  # Another shard may have dropped it a moment ago, and deleted all that Redis had.
            if table.dropped:
                return 0
            raise

    def require_room(self) -> None:
        """Raises RedisUnavailable if Redis is away and as many rows as may be wait to be written."""
        if self._failures == 0:
            return
        dirty = self.dirty_rows()
        if dirty >= self._max_dirty_rows:
            raise RedisUnavailable(
                f"Redis cannot be reached and {dirty} rows wait to be written back, at most {self._max_dirty_rows} may "
                "(setting max_dirty_rows); mutations are accepted again once Redis is back",
                metadata={"setting": "max_dirty_rows", "limit": str(self._max_dirty_rows)},
            )

    def _rewrite(self) -> int:
        _log.warning("Redis has lost writes of this shard; everything in RAM is written again")
        started = time.monotonic()
        epoch = self._state.reclaim()
        self._store.use_epoch(epoch)
        # An older copy of Redis may hold journals whose every record is in RAM, with what came after them.
        self._recovery.seal(epoch)
        self._journal.reopen(epoch)
        self._shard.restore_catalog()
        self._shard.refresh()  # What another shard dropped meanwhile is not written again.
        for table in self._shard.tables():
            self._store.claim(table.entry.table_id, table.buckets)
            table.forget_evicted()
        self._dedup.mark_all_changed()
        self._written_steps = None
        written = self._write_back(functools.partial(rewrite_table, pause=self._count))
        self._rewrite_due = False
        tables = len(self._shard.tables())
        _log.warning("wrote %d rows of %d tables again in %.2f s", written, tables, time.monotonic() - started)
        return written

    def _run(self) -> None:
        delay_s = self._flush_interval_s
        while not self._stopping.is_set():
            self._wake.wait(delay_s)
            self._wake.clear()
            if self._stopping.is_set():
                return
            delay_s = self._cycle()
            if self._replaced:
                self._on_replaced()
                return

    def _pause(self, took_s: float) -> None:
        self._give_turn(took_s)
        self._rest(took_s)

    def _give_turn(self, took_s: float) -> None:
        """Counts a transaction, and writes what may not wait for the end of a long write-back."""
        self._count(took_s)
        if self._long is None:
            return
        now_s = time.monotonic()
        out_of_time = now_s >= self._until_s and self._may_leave_rest()
        if out_of_time or now_s - self._between_s >= self._flush_interval_s:
            self._write_between(self._long)
        if out_of_time:
            raise BrokenOffError

    def _may_leave_rest(self) -> bool:
        """Whether the journal has all of what waits, and may be replayed over everything else."""
        return not self._doubtful and self._schedule.journal_may_stay(self._shard.tables())

    def _count(self, took_s: float) -> None:
        self.transactions += 1

    def _rest(self, took_s: float) -> None:
        """Leaves half of the time to requests and appends, which need the same processors and the same Redis."""
        if not (self._stopping.is_set() or self._schedule.pressing):
            self._hurry.wait(min(took_s, _LONGEST_PAUSE_S))

    def _transaction_bytes(self) -> int:
        """Large ones where there is no time: each waits once until the journal has what came before it."""
        return _PRESSED_BYTES if self._schedule.pressing else MAX_BYTES_PER_TRANSACTION

    def _cycle(self) -> float:
        """Returns the seconds to wait for the next cycle."""
        try:
            self._hurry.clear()
            self._locked_flush(functools.partial(flush_table, pause=self._pause, most_bytes=self._transaction_bytes))
        except RedisUnavailable as error:
            self._failures += 1
            if self._failures == 1:
                self.on_redis_away(True)
                _log.error("write-back failed, reads go on from RAM: %s", error)
            return min(self._flush_interval_s * (1 << min(self._failures - 1, 10)), _LONGEST_BACKOFF_S)
        except NotReady as error:
            _log.error("%s", error)
        except BrokenOffError:
            _log.info("a write-back was broken off as this server stops; the journal has the rest")
        except Exception:
            _log.exception("write-back failed for a reason that is a defect; it is tried again")
        else:
            if self._failures:
                self.on_redis_away(False)
                _log.info("Redis is back after %d failed write-backs", self._failures)
            self._failures = 0
        return self._flush_interval_s
