"""Appends what mutations leave behind to the shard's stream in Redis, many at a time.

One thread appends. Positions, the queue and the order of release are the native queue's (server/core/journal_queue.h);
so is the appending, as long as all goes well: the interpreter is asked when Redis answers something unexpected, or
somebody has to look after what was appended.

When Redis fails, what is queued stays queued and is appended when Redis is back; who waits is told at once that it is
not known yet, and nothing more is taken in. When the stream is gone, it was sealed by a successor, or Redis lost it:
the keeper finds out which, and calls `fence` or `reopen`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

from rowbank.errors import NotReady, RedisUnavailable
from rowbank_protos.patience import go_soon
from rowbank_server import _core
from rowbank_server.journal.pacing import Pacing
from rowbank_server.journal.records import Record
from rowbank_server.journal.streams import JournalStreams, StoredRecord
from rowbank_server.journal.syncer import Syncer
from rowbank_server.journal.writer import StreamWriter, close_quietly
from rowbank_server.storage.state import EPOCH_SHIFT

_log = logging.getLogger("rowbank.journal")
_MAX_TRIM_BYTES = 64 << 20  # Redis does nothing else while it frees them, for about 5 ms.
_FIRST_RETRY_S = 0.05
_LONGEST_RETRY_S = 1.0
_STOP_WAIT_S = 10.0


class Journal:
    """The journal of one shard. Thread-safe.

    Args:
        queue: where mutations take their positions; has the journal's limits.
        on_trouble: called from any thread when write-back should look at Redis, or make room, soon.
        on_opened: told the position above which this process's are.
        on_released: called from any thread when records may have been released that somebody follows.
    """

    def __init__(
        self,
        streams: JournalStreams,
        queue: _core.JournalQueue,
        *,
        on_trouble: Callable[[], None],
        on_opened: Callable[[int], None],
        on_released: Callable[[], None],
    ) -> None:
        self._streams = streams
        self._queue = queue
        self._on_trouble = on_trouble
        self._on_opened = on_opened
        self._on_released = on_released
        self._lock = threading.Lock()  # Of the stream that is written to, and what it holds.
        self._writer: StreamWriter | None = None
        self._used_writer: StreamWriter | None = None  # The appending thread's; it alone closes writers.
        self._pacing = Pacing(queue)
        self._syncer = Syncer(streams.barrier(), queue.finish)
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._epoch = 0
        self._trimmed = 0

    @property
    def failure(self) -> str:
        """Why the last append failed; empty: it did not."""
        return self._queue.failure

    @property
    def missing(self) -> bool:
        """Whether the stream was gone at the last append."""
        return self._queue.missing

    @property
    def stored_bytes(self) -> int:
        """Bytes of records in the stream."""
        return self._queue.stored_bytes

    @property
    def replay_s(self) -> float:
        """About how long a replay of what is in the stream would take."""
        return self._queue.replay_s

    @property
    def pending_bytes(self) -> int:
        """Bytes of records that wait to be appended."""
        return self._queue.pending_bytes

    @property
    def appended_records(self) -> int:
        """Mutations appended so far."""
        return self._queue.appended_records

    @property
    def appended_groups(self) -> int:
        """Appends that carried them."""
        return self._queue.appended_groups

    def lag_s(self) -> float:
        """Age of the oldest mutation that Redis has not taken yet; 0: it has all."""
        return self._queue.lag_s

    @property
    def paced(self) -> int:
        """Mutations that waited as the journal was nearly full."""
        return self._pacing.waits

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
        self._on_opened(self._queue.last_position)
        self._thread.start()
        self._syncer.start()

    def reopen(self, epoch: int) -> None:
        """Goes on in a new stream, with what is queued first, after the old one was lost. Raises as `open` does."""
        if not self._streams.open(epoch):
            raise NotReady("another process has taken over this shard")
        with self._lock:
            self._writer = self._streams.writer(epoch)
            self._epoch = epoch
            self._queue.reopened(epoch << EPOCH_SHIFT)

    def fence(self) -> None:
        """Gives up: another process serves the shard. Nothing is appended or acknowledged any more."""
        self._queue.fence()

    def require_room(self, longest_s: float | None = None, before_wait: Callable[[], None] = lambda: None) -> None:
        """Raises, before anything is applied, if a mutation could not be appended soon. Waits while the journal is
        nearly full, see `Pacing`.

        Args:
            longest_s: of that wait, if it is shorter than `wait_s`.
            before_wait: called before it.
        Raises:
            RedisUnavailable: Redis fails or stalls, or the journal is full until write-back makes room.
            NotReady: another process has taken over the shard.
        """
        if self._queue.may_begin():
            return
        self._require_appends()
        if self._queue.crowding > 0:
            before_wait()
            self._on_trouble()
            self._pacing.wait(self._queue.wait_s if longest_s is None else min(longest_s, self._queue.wait_s))
            self._require_appends()
        if self._queue.stored_bytes > self._queue.max_bytes:
            raise _full("wait to be written back", "journal_max_bytes", self._queue.max_bytes)

    def _require_appends(self) -> None:
        """Raises as `require_room` does, but for what lies in the stream."""
        if self._queue.fenced:
            raise NotReady("another process has taken over this shard; nothing is accepted any more")
        if failure := self._queue.failure:
            raise RedisUnavailable(f"the journal cannot be appended to; nothing was applied: {failure}")
        if self._queue.lag_s > self._queue.wait_s:
            raise RedisUnavailable(
                f"Redis has not answered an append for {self._queue.wait_s:g} s; nothing was applied"
            )
        if self._queue.pending_bytes > self._queue.max_pending_bytes:
            raise _full("wait to be appended", "journal_max_pending_bytes", self._queue.max_pending_bytes)

    def begin(self, *, synced: bool = False, appended: bool = True) -> _core.JournalEntry:
        """Takes the next position. Then `submit` and `applied`, in any order, or `abandon`.

        Args:
            appended: False: the record is for followers alone, and the mutation is done once it is applied.
        """
        return self._queue.begin(synced=synced, appended=appended)

    def submit(self, entry: _core.JournalEntry, record: Record, under_way: _core.UnderWay | None) -> None:
        """Queues the record of `entry`; once that is done, repeats of `under_way` get the record's answer."""
        head, body = record.pieces()
        self._queue.submit(entry, head, body, record.answer, under_way)

    def abandon(self, entry: _core.JournalEntry) -> None:
        """Forgets an entry whose mutation failed before it was submitted."""
        self._queue.abandon(entry)
        self._tell_released()

    def applied(self, entry: _core.JournalEntry, took_s: float = 0.0) -> None:
        """Says that the mutation is in RAM.

        Args:
            took_s: processor time that it took, from which the time of a replay is guessed; 0: not known.
        """
        self._queue.applied(entry, took_s)
        self._tell_released()

    def wait(self, entry: _core.JournalEntry, timeout_s: float | None) -> None:
        """Waits until `entry` is done, for `wait_s` or `timeout_s`, whichever is shorter.

        Raises:
            RedisUnavailable: not done yet; it may be later, and a repeat of the request finds out.
            NotReady: another process has taken over the shard.
        """
        limit_s = self._queue.wait_s * (2 if entry.synced else 1)
        if self._queue.wait(entry, limit_s if timeout_s is None else min(limit_s, timeout_s)):
            return
        if self._queue.fenced:
            raise NotReady("another process has taken over this shard; the mutation may not be there")
        failure = self._queue.failure
        raise RedisUnavailable(
            "the journal has not confirmed the mutation yet; send it again, unchanged, to learn what became of it"
            + (f": {failure}" if failure else "")
        )

    def last_position(self) -> int:
        """The highest position given out."""
        return self._queue.last_position

    def done_through(self) -> int:
        """All mutations up to this position are done."""
        return self._queue.done_through

    def released_through(self) -> int:
        """Everything up to this position is applied and appended, and followers can have it."""
        return self._queue.released_through

    def released_until(self) -> float:
        """Every mutation that was acknowledged before this time, monotonic seconds, was released to followers."""
        return self._queue.released_until

    def wait_appended(self, position: int) -> None:
        """Waits until everything up to `position` is appended.

        Write-back must not overtake the journal: a row that shows a mutation whose record was never appended would be
        mutated twice, when the client sends the mutation again after a crash.

        Raises:
            RedisUnavailable, NotReady: that cannot be known now.
        """
        waited = self._queue.wait_appended(position, _STOP_WAIT_S)
        if waited == _core.Waited.FENCED:
            raise NotReady("another process has taken over this shard; nothing is written any more")
        if waited != _core.Waited.YES:
            raise RedisUnavailable(f"rows wait for the journal: {self._queue.failure or 'appends take too long'}")

    def gone_through(self) -> int:
        """Every record above this position can still be read from the stream, or will be in it."""
        return self._queue.gone_through

    def stored_after(self, position: int) -> Iterator[StoredRecord]:
        """Reads the stream, from the first entry on with records above `position`. Raises RedisUnavailable."""
        with self._lock:
            epoch, first = self._epoch, self._queue.first_after(position)
        if first is not None:
            yield from self._streams.read_own(epoch, first)

    def has_done(self, position: int) -> bool:
        """Whether the stream has entries that `trim` would delete."""
        return self._queue.has_done(position)

    def trim(self, position: int) -> None:
        """Deletes the records up to `position`; their effects must have been written back. Raises RedisUnavailable."""
        while True:
            with self._lock:
                epoch, passed = self._epoch, self._queue.passed(position, most_bytes=_MAX_TRIM_BYTES)
            if passed:
                self._streams.trim(epoch, passed + 1)
            with self._lock:
                if self._epoch == epoch and self._queue.forget(passed):
                    self._trimmed = max(self._trimmed, position)
            self._pacing.look_again()
            if not passed:
                return

    def stop(self) -> bool:
        """Appends what is queued and ends; False if not everything could be appended."""
        self._queue.stop()
        if self._thread.is_alive():
            self._thread.join(_STOP_WAIT_S)
        self._syncer.stop()
        return not self._queue.has_unappended

    def delete_stream(self) -> None:
        """Deletes this process's stream after a last write-back has covered it. Raises RedisUnavailable."""
        if not self._queue.has_unappended and not self._queue.stored_bytes and not self._queue.fenced:
            self._streams.close(self._epoch)

    def _run(self) -> None:
        go_soon()  # A record is sent before its push is applied on the same core, and Redis works meanwhile.
        while (group := self._queue.take_group()) is not None:
            if not self._append(group):
                return
            self._look_after(group)
            while group is not None:
                group = self._append_on()

    def _append_on(self) -> _core.JournalGroup | None:
        """Appends whatever comes without the interpreter, as long as it can; returns what has landed then. None: that
        is over, or cannot be done."""
        writer = self._used_writer
        with self._lock:
            stream, is_current = self._queue.stream, writer is self._writer
        socket = None if writer is None or not is_current else writer.plain_socket()
        if socket is None or writer is None:
            return None
        how, group = self._queue.append(socket.fileno(), writer.key, writer.timeout_s(), stream)
        if group is None:
            return None
        if how != _core.Appended.YES:
            writer.lose(group.number, unknown=how == _core.Appended.UNKNOWN)
            if not self._append(group):
                return None
        self._look_after(group)
        return group

    def _append(self, group: _core.JournalGroup) -> bool:
        """Appends until it succeeds; False: the journal was fenced, or stopped while Redis fails."""
        retry_s = _FIRST_RETRY_S
        while not self._queue.fenced and not (self._queue.failure and self._queue.stopping):
            with self._lock:
                writer, stream = self._writer, self._queue.stream
            assert writer is not None
            if writer is not self._used_writer:
                close_quietly(self._used_writer)
                self._used_writer = writer
            failed = self._queue.failure
            try:
                if not writer.append(group.number, group.records):
                    self._failed("the stream is gone", missing=True)
                elif self._queue.landed(group, stream):
                    if failed:
                        _log.info("the journal is appended to again")
                        self._on_trouble()
                    return True
            except RedisUnavailable as error:
                self._failed(error.message)
            except Exception as error:
                _log.exception("an append failed for a reason that is a defect; it is tried again")
                self._failed(f"{type(error).__name__}")
            self._queue.pause(retry_s, stream)
            retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
        return False

    def _failed(self, why: str, *, missing: bool = False) -> None:
        if self._queue.failed(why, missing=missing):
            _log.error("cannot append to the journal, mutations are refused until it can: %s", why)
        self._on_trouble()

    def _look_after(self, group: _core.JournalGroup) -> None:
        """What is to be done about a group that was appended."""
        try:
            for entry in group.entries:
                if entry.synced:
                    self._syncer.add(entry)
            self._tell_released()
            if self._queue.filling:
                self._on_trouble()
        except Exception:
            _log.exception("an appended mutation could not be finished, which is a defect")

    def _tell_released(self) -> None:
        if self._queue.keeps_records:
            self._on_released()


def _full(what: str, setting: str, limit: int) -> RedisUnavailable:
    return RedisUnavailable(
        f"more than {limit} bytes of mutations {what} (setting {setting}); nothing was applied, try again",
        metadata={"setting": setting, "limit": str(limit)},
    )
