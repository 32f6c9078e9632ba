"""Gives mutations their positions and appends them to the shard's stream, many at a time.

One thread appends. Whatever was queued while its last append ran goes with the next one, so a lone mutation waits for
nobody and many share the cost (group commit). A mutation is done when it has been applied in RAM and appended (and, for
a synced table, reached the disk); only then is it remembered as answered and may its record be trimmed.

When Redis fails, what is queued stays queued and is appended when Redis is back; who waits is told at once that it is
not known yet, and nothing more is taken in. When the stream is gone, it was sealed by a successor, or Redis lost it:
the keeper finds out which, and calls `fence` or `reopen`.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from rowbank.errors import NotReady, RedisUnavailable
from rowbank_server.journal.entry import Entry
from rowbank_server.journal.records import Record
from rowbank_server.journal.release import ReleaseOrder
from rowbank_server.journal.replay_rate import ReplayRate
from rowbank_server.journal.stored import StoredGroups
from rowbank_server.journal.streams import JournalStreams, StoredRecord
from rowbank_server.journal.syncer import Syncer
from rowbank_server.journal.writer import StreamWriter, close_quietly
from rowbank_server.storage.state import EPOCH_SHIFT

_log = logging.getLogger("rowbank.journal")
_MAX_GROUP_BYTES = 4 << 20
_MAX_TRIM_BYTES = 64 << 20  # Redis does nothing else while it frees them, for about 5 ms.
_FIRST_RETRY_S = 0.05
_LONGEST_RETRY_S = 1.0
_STOP_WAIT_S = 10.0
_FILLING, _NEARLY_FULL = 0.625, 0.875  # Of what the stream may hold.


class Journal:
    """The journal of one shard. Thread-safe.

    Args:
        wait_s: how long a mutation waits for its append before its caller is told to try again.
        max_pending_bytes: records in RAM that are not appended yet, beyond which mutations are refused.
        max_bytes: records in the stream that are not written back yet, beyond which mutations are refused.
        on_trouble: called from any thread when write-back should look at Redis, or make room, soon.
        release: hands mutations to followers.
    """

    def __init__(
        self,
        streams: JournalStreams,
        *,
        wait_s: float,
        max_pending_bytes: int,
        max_bytes: int,
        on_trouble: Callable[[], None],
        release: ReleaseOrder,
    ) -> None:
        self._streams = streams
        self._wait_s = wait_s
        self._max_pending_bytes = max_pending_bytes
        self._max_bytes = max_bytes
        self._on_trouble = on_trouble
        self._release = release
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._progress = threading.Condition(self._lock)
        self._queue: collections.deque[Entry] = collections.deque()
        self._open_entries: dict[int, Entry] = {}  # Not done, by position, ascending.
        self._unappended: dict[int, Entry] = {}
        self._stored = StoredGroups()
        self._rate = ReplayRate()
        self._writer: StreamWriter | None = None
        self._used_writer: StreamWriter | None = None  # The appending thread's; it alone closes writers.
        self._syncer = Syncer(streams.barrier(), self._finish)
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._epoch = 0
        self._last = 0
        self._group = 0
        self._pending_bytes = 0
        self._failure = ""
        self._missing = False
        self._fenced = False
        self._stopping = False
        self._trimmed = 0
        self.appended_records = 0
        self.appended_groups = 0

    @property
    def failure(self) -> str:
        """Why the last append failed; empty: it did not."""
        return self._failure

    @property
    def missing(self) -> bool:
        """Whether the stream was gone at the last append."""
        return self._missing

    @property
    def stored_bytes(self) -> int:
        """Bytes of records in the stream."""
        return self._stored.bytes

    @property
    def replay_s(self) -> float:
        """About how long a replay of what is in the stream would take."""
        return self._rate.seconds(self._stored.records, self._stored.bytes)

    @property
    def filling(self) -> bool:
        """Whether it is time to make room: five eighths of what the stream may hold are there."""
        return self._stored.bytes > self._max_bytes * _FILLING

    @property
    def nearly_full(self) -> bool:
        """Whether room is needed before anything else: seven eighths of what the stream may hold are there."""
        return self._stored.bytes > self._max_bytes * _NEARLY_FULL

    @property
    def pending_bytes(self) -> int:
        """Bytes of records that wait to be appended."""
        return self._pending_bytes

    def lag_s(self) -> float:
        """Age of the oldest mutation that Redis has not taken yet; 0: it has all."""
        with self._lock:
            oldest = next(iter(self._unappended.values()), None)
        return 0.0 if oldest is None else time.monotonic() - oldest.begun

    @property
    def trimmed_through(self) -> int:
        """Nothing up to this position can be replayed any more."""
        return self._trimmed

    def open(self, epoch: int) -> None:
        """Creates the stream of `epoch` and starts to append.

        Raises:
            NotReady: another process has taken over the shard.
            RedisUnavailable: Redis failed.
        """
        self.reopen(epoch)
        with self._lock:
            self._release.opened(self._last)
        self._thread.start()
        self._syncer.start()

    def reopen(self, epoch: int) -> None:
        """Goes on in a new stream, with what is queued first, after the old one was lost. Raises as `open` does."""
        if not self._streams.open(epoch):
            raise NotReady("another process has taken over this shard")
        with self._lock:
            self._writer = self._streams.writer(epoch)
            self._epoch = epoch
            self._last = max(self._last, epoch << EPOCH_SHIFT)
            self._stored.restart(self._last)
            self._missing = False
            self._work.notify_all()

    def fence(self) -> None:
        """Gives up: another process serves the shard. Nothing is appended or acknowledged any more."""
        with self._lock:
            self._fenced = True
            self._queue.clear()
            self._release.close(self._last)
            self._interrupt()
            self._work.notify_all()
            self._progress.notify_all()

    def require_room(self) -> None:
        """Raises, before anything is applied, if a mutation could not be appended soon.

        Raises:
            RedisUnavailable: Redis fails or stalls, or the journal is full until write-back makes room.
            NotReady: another process has taken over the shard.
        """
        if self._fenced:
            raise NotReady("another process has taken over this shard; nothing is accepted any more")
        if self._failure:
            raise RedisUnavailable(f"the journal cannot be appended to; nothing was applied: {self._failure}")
        with self._lock:
            oldest = next(iter(self._unappended.values()), None)
        if oldest is not None and time.monotonic() - oldest.begun > self._wait_s:
            raise RedisUnavailable(f"Redis has not answered an append for {self._wait_s:g} s; nothing was applied")
        if self._pending_bytes > self._max_pending_bytes:
            raise _full("wait to be appended", "journal_max_pending_bytes", self._max_pending_bytes)
        if self._stored.bytes > self._max_bytes:
            self._on_trouble()
            raise _full("wait to be written back", "journal_max_bytes", self._max_bytes)

    def begin(self, on_done: Callable[[Entry], None], *, synced: bool = False, appended: bool = True) -> Entry:
        """Takes the next position. Then `submit` and `applied`, in any order, or `abandon`.

        Args:
            on_done: called once, from any thread, when the mutation is applied and appended.
            appended: False: the record is for followers alone, and the mutation is done once it is applied.
        """
        with self._lock:
            self._last += 1
            entry = Entry(self._last, on_done, synced=synced, appended=appended)
            self._open_entries[entry.position] = entry
            self._release.add(entry)
            if appended:
                self._unappended[entry.position] = entry
            return entry

    def submit(self, entry: Entry, record: Record) -> None:
        """Queues the record of `entry`."""
        entry.pieces = record.pieces()
        with self._lock:
            if not entry.appended:
                self._release.keep(entry)
                return
            self._pending_bytes += entry.size
            self._queue.append(entry)
            self._work.notify()

    def abandon(self, entry: Entry) -> None:
        """Forgets an entry whose mutation failed before it was submitted."""
        with self._lock:
            self._open_entries.pop(entry.position, None)
            self._unappended.pop(entry.position, None)
            self._release.abandon(entry)
            self._progress.notify_all()

    def applied(self, entry: Entry, took_s: float = 0.0) -> None:
        """Says that the mutation is in RAM.

        Args:
            took_s: processor time that it took, from which the time of a replay is guessed; 0: not known.
        """
        with self._lock:
            if entry.appended and took_s:
                self._rate.learn(entry.size, took_s)
            entry.owed -= 1
            self._release.advance()
        self._finish(entry)

    def wait(self, entry: Entry, timeout_s: float | None) -> None:
        """Waits until `entry` is done, for `wait_s` or `timeout_s`, whichever is shorter.

        Raises:
            RedisUnavailable: not done yet; it may be later, and a repeat of the request finds out.
            NotReady: another process has taken over the shard.
        """
        limit_s = self._wait_s * (2 if entry.synced else 1)
        entry.woken.wait(limit_s if timeout_s is None else min(limit_s, timeout_s))
        if entry.done:
            return
        if self._fenced:
            raise NotReady("another process has taken over this shard; the mutation may not be there")
        raise RedisUnavailable(
            "the journal has not confirmed the mutation yet; send it again, unchanged, to learn what became of it"
            + (f": {self._failure}" if self._failure else "")
        )

    def last_position(self) -> int:
        """The highest position given out."""
        return self._last

    def done_through(self) -> int:
        """All mutations up to this position are done."""
        with self._lock:
            return next(iter(self._open_entries)) - 1 if self._open_entries else self._last

    def released_through(self) -> int:
        """Everything up to this position is applied and appended, and followers can have it."""
        with self._lock:
            return self._release.through(self._last)

    def released_until(self) -> float:
        """Every mutation that was acknowledged before this time, monotonic seconds, was released to followers."""
        now = time.monotonic()
        with self._lock:
            since = self._release.waiting_since
        return now if since is None else min(now, since)

    def wait_appended(self, position: int) -> None:
        """Waits until everything up to `position` is appended.

        Write-back must not overtake the journal: a row that shows a mutation whose record was never appended would be
        mutated twice, when the client sends the mutation again after a crash.

        Raises:
            RedisUnavailable, NotReady: that cannot be known now.
        """
        deadline = time.monotonic() + _STOP_WAIT_S
        with self._progress:
            while self._unappended and next(iter(self._unappended)) <= position:
                if self._fenced:
                    raise NotReady("another process has taken over this shard; nothing is written any more")
                left_s = deadline - time.monotonic()
                if self._failure or left_s <= 0:
                    raise RedisUnavailable(f"rows wait for the journal: {self._failure or 'appends take too long'}")
                self._progress.wait(left_s)

    def gone_through(self) -> int:
        """Every record above this position can still be read from the stream, or will be in it."""
        with self._lock:
            return self._stored.gone_through

    def stored_after(self, position: int) -> Iterator[StoredRecord]:
        """Reads the stream, from the first entry on with records above `position`. Raises RedisUnavailable."""
        with self._lock:
            epoch, first = self._epoch, self._stored.first_after(position)
        if first is not None:
            yield from self._streams.read_own(epoch, first)

    def has_done(self, position: int) -> bool:
        """Whether the stream has entries that `trim` would delete."""
        with self._lock:
            return self._stored.has_done(position)

    def trim(self, position: int) -> None:
        """Deletes the records up to `position`; their effects must have been written back. Raises RedisUnavailable."""
        while True:
            with self._lock:
                epoch, passed = self._epoch, self._stored.passed(position, most_bytes=_MAX_TRIM_BYTES)
            if passed:
                self._streams.trim(epoch, passed + 1)
            with self._lock:
                if self._epoch == epoch:
                    self._stored.forget(passed)
                    if not self._stored:
                        self._trimmed = max(self._trimmed, position)
            if not passed:
                return

    def stop(self) -> bool:
        """Appends what is queued and ends; False if not everything could be appended."""
        with self._lock:
            self._stopping = True
            self._work.notify_all()
        if self._thread.is_alive():
            self._thread.join(_STOP_WAIT_S)
        self._syncer.stop()
        return not self._unappended

    def delete_stream(self) -> None:
        """Deletes this process's stream after a last write-back has covered it. Raises RedisUnavailable."""
        if not self._unappended and not self._stored and not self._fenced:
            self._streams.close(self._epoch)

    def _run(self) -> None:
        while True:
            with self._work:
                while not self._stopping and not self._fenced and not self._queue:
                    self._work.wait()
                if self._fenced or not self._queue:
                    return
                group = self._take_group()
            self._group += 1
            if not self._append(self._group, group):
                return
            try:
                self._landed(self._group, group)
            except Exception:
                _log.exception("an appended mutation could not be finished, which is a defect")

    def _take_group(self) -> list[Entry]:
        group: list[Entry] = []
        size = 0
        while self._queue and (not group or size + self._queue[0].size <= _MAX_GROUP_BYTES):
            group.append(self._queue.popleft())
            size += group[-1].size
        return group

    def _append(self, number: int, group: Sequence[Entry]) -> bool:
        """Appends until it succeeds; False: the journal was fenced, or stopped while Redis fails."""
        retry_s = _FIRST_RETRY_S
        records = [entry.pieces for entry in group]
        while True:
            with self._lock:
                writer = self._writer
                if self._fenced or (self._failure and self._stopping):
                    return False
            assert writer is not None
            if writer is not self._used_writer:
                close_quietly(self._used_writer)
                self._used_writer = writer
            try:
                if writer.append(number, records):
                    return True
                self._failed("the stream is gone", missing=True)
            except RedisUnavailable as error:
                self._failed(error.message)
            except Exception as error:
                _log.exception("an append failed for a reason that is a defect; it is tried again")
                self._failed(f"{type(error).__name__}")
            with self._work:
                if not self._stopping and not self._fenced and self._writer is writer:
                    self._work.wait(retry_s)
            retry_s = min(2 * retry_s, _LONGEST_RETRY_S)

    def _failed(self, why: str, *, missing: bool = False) -> None:
        with self._lock:
            first = not self._failure
            self._failure = why
            self._missing = missing
            self._interrupt()
            self._progress.notify_all()
        if first:
            _log.error("cannot append to the journal, mutations are refused until it can: %s", why)
        self._on_trouble()

    def _interrupt(self) -> None:
        """Wakes who waits for an append that may take long. Holds the lock."""
        for entry in self._unappended.values():
            entry.woken.set()

    def _landed(self, number: int, group: Sequence[Entry]) -> None:
        size = sum(entry.size for entry in group)
        with self._lock:
            for entry in group:
                self._unappended.pop(entry.position, None)
                entry.owed -= 1
            self._release.advance()
            self._pending_bytes -= size
            self._stored.add(number, max(entry.position for entry in group), size, records=len(group))
            recovered, self._failure = self._failure, ""
            filling = self.filling
            self._progress.notify_all()
        self.appended_records += len(group)
        self.appended_groups += 1
        for entry in group:
            if entry.synced:
                self._syncer.add(entry)
            else:
                self._finish(entry)
        if recovered:
            _log.info("the journal is appended to again")
        if filling or recovered:
            self._on_trouble()

    def _finish(self, entry: Entry) -> None:
        """Counts one of the two halves, applied and appended; the second makes the entry done."""
        with self._lock:
            entry.halves -= 1
            if entry.halves:
                return
        entry.on_done(entry)
        with self._lock:
            self._open_entries.pop(entry.position, None)
            entry.done = True
        entry.woken.set()


def _full(what: str, setting: str, limit: int) -> RedisUnavailable:
    return RedisUnavailable(
        f"more than {limit} bytes of mutations {what} (setting {setting}); nothing was applied, try again",
        metadata={"setting": setting, "limit": str(limit)},
    )
