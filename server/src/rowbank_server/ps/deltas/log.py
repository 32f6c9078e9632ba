"""The newest mutations of a shard, in the order of their positions, for whoever follows.

They are kept by reference, not copied, up to a number of bytes, and only while somebody follows or did a minute ago.
A reader asks for what comes after what it has; nobody waits for readers, and one that is passed by is told so. Between
the mutations stand events: tables that came and went, write-backs, the end.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from rowbank.errors import FollowerTooSlow, NotReady
from rowbank_protos.v1 import common_pb2, deltas_pb2
from rowbank_server import _core
from rowbank_server.ps.deltas.items import (
    OVERHEAD_BYTES,
    Event,
    FrozenFilled,
    HandOver,
    Item,
    TablesChanged,
    WriteBack,
    followed,
)
from rowbank_server.ps.tables.table import ShardTable

IDLE_S = 60.0  # Followers that were cut off come back within this time.
_NOT_ORDERED = 1 << 62


class DeltaLog:
    """Thread-safe. Indexes count items, mutations and events alike; positions are those of mutations.

    Args:
        queue: where mutations are released from; whoever looks at this log sees what was released until then.
        buffer_bytes: of records, and what they cost beside them.
    """

    def __init__(self, queue: _core.JournalQueue, *, buffer_bytes: int) -> None:
        self._queue = queue
        self._buffer_bytes = buffer_bytes
        self._lock = threading.Lock()
        self._items: dict[int, Item] = {}
        self._first = self._end = 0
        self._bytes = 0
        self._position = 0
        self._first_position = 0  # All mutations after it that were journaled are here,
        self._ordered_from = _NOT_ORDERED  # and those of relaxed tables after this one, too.
        self._inherited: int | None = None
        self._opened_at = 0
        self._tables: tuple[deltas_pb2.FollowedTable, ...] = ()
        self._first_tables: tuple[deltas_pb2.FollowedTable, ...] = ()
        self._table_events: collections.deque[int] = collections.deque()  # Indexes.
        self._filled: dict[int, int] = {}
        self._relaxed_until: dict[int, int] = {}
        self._readers = 0
        self._readings = 0
        self._keeping = False
        self._idle_until = 0.0
        self._closed = ""
        self._clock_ms = time.time() * 1e3 - time.monotonic() * 1e3
        self.ordering_lock = threading.Lock()  # Held by who starts to order relaxed mutations.

    @property
    def buffer_bytes(self) -> int:
        """How much is kept at most."""
        return self._buffer_bytes

    @property
    def position(self) -> int:
        """The highest position released so far."""
        with self._current():
            return self._position

    @property
    def inherited(self) -> int | None:
        """Up to here this process knows what its predecessors did; None: not known."""
        return self._inherited

    @property
    def opened_at(self) -> int:
        """Positions of this process are above this one; 0: it has not begun to give any."""
        return self._opened_at

    @property
    def held_bytes(self) -> int:
        """Bytes held for followers."""
        with self._current():
            return self._bytes

    @property
    def first_position(self) -> int:
        """Who has taken in this position, or a later one, is served from here."""
        with self._current():
            return self._first_position if self._keeping else self._position

    @property
    def active(self) -> bool:
        """Whether anybody follows, or did a minute ago."""
        with self._current():
            return self._check_active()

    @property
    def readings(self) -> int:
        """How often somebody began to follow."""
        return self._readings

    @property
    def ordered(self) -> bool:
        """Whether mutations of relaxed tables have to be given to this log."""
        return self._ordered_from != _NOT_ORDERED and self.active

    @property
    def ordered_from(self) -> int:
        """All mutations of relaxed tables above this position were given to this log."""
        return self._ordered_from

    @property
    def closed(self) -> str:
        """Why no more comes; empty: more may come."""
        return self._closed

    def at_ms(self, monotonic_s: float) -> int:
        """A time of this process in Unix milliseconds, by a clock that nobody sets."""
        return int(monotonic_s * 1e3 + self._clock_ms)

    def order_relaxed(self, position: int) -> None:
        """From now on every mutation of a relaxed table takes a position, and those are above `position`."""
        with self._current():
            self._ordered_from = position

    def opened(self, position: int) -> None:
        """Positions of this process are above `position`."""
        with self._current():
            self._opened_at = position
            self._position = max(self._position, position)
            if self._inherited is None:  # Of what was before, nobody knows what is missing.
                self._first_position = max(self._first_position, position)

    def collect(self) -> None:
        """Takes in what was released, which else waits in RAM for somebody to look here."""
        with self._current():
            self._check_active()

    @contextlib.contextmanager
    def _current(self) -> Iterator[None]:
        """Holds the lock, with everything taken in that was released."""
        with self._lock:
            released, through = self._queue.take_released()
            for position, lost, head, body, begun in released:
                if lost:
                    self._lost(position)
                else:
                    self._released(position, (head, body), begun)
            self._position = max(self._position, through)
            yield

    def _released(self, position: int, pieces: tuple[bytes, ...], begun: float) -> None:
        self._position = max(self._position, position)
        if self._keeping and (self._readers or begun < self._idle_until or self._check_active()):
            self._put(position, pieces, None, sum(map(len, pieces)), self.at_ms(begun))

    def _lost(self, position: int) -> None:
        """Whoever follows has to come again, and gets pictures of relaxed tables."""
        self._position = max(self._position, position)
        self._restart(self._position)
        if self._ordered_from != _NOT_ORDERED:
            self._ordered_from = self._position

    def seed(self, position: int | None) -> None:
        """Starts anew: this process knows what comes after `position`, and appends it. None: not even that."""
        with self._current():
            self._inherited = position
            self._position = max(self._position, position or 0)
            self._restart(self._position)
            self._keep()

    def append_followed(self, position: int, record: bytes | Sequence[bytes], *, at_ms: int = 0) -> None:
        """Takes a mutation of a former owner, which this process has applied; positions rise."""
        pieces = (record,) if isinstance(record, bytes) else tuple(record)
        with self._current():
            self._position = max(self._position, position)
            if self._inherited is not None:
                self._inherited = max(self._inherited, position)
            self._keep()
            self._put(position, pieces, None, sum(map(len, pieces)), at_ms)

    def append_replayed(self, records: Iterable[tuple[int, bytes]]) -> None:
        """Takes mutations of a former owner in any order, such as a journal has, after those that are here."""
        for position, record in sorted(records, key=lambda item: item[0]):
            if position > self._position:
                self.append_followed(position, record)

    def write_back(self, stage: deltas_pb2.WriteBackMark.Stage, serial: int, flush: int = 0) -> None:
        """Marks a step of a write-back; before BEGUN is marked nothing may be taken."""
        self._put_event(WriteBack(stage, serial, flush))

    def tables_changed(self, tables: Iterable[ShardTable]) -> None:
        """Says which tables there are; of a new one, before its first mutation."""
        there = list(tables)
        known = {table.table_id: table.spec.durability for table in self._tables}
        new = [table for table in there if table.entry.table_id not in known]
        with self._current():
            ordered = self._ordered_from != _NOT_ORDERED
            unlike = (
                table.entry.table_id
                for table in new
                if table.rows.size() or not (table.journaled or table.frozen or ordered)
            )
            changed = TablesChanged(followed(there), frozenset(unlike))
            for table in changed.tables:
                former = known.get(table.table_id, table.spec.durability)
                if former == common_pb2.DURABILITY_RELAXED != table.spec.durability:
                    self._relaxed_until[table.table_id] = self._position
        self._tables = changed.tables
        self._put_event(changed)

    def frozen_filled(self, table_id: int) -> None:
        """Says that a model version's copy is whole."""
        with self._current():
            self._filled[table_id] = self._position
        self._put_event(FrozenFilled(table_id))

    def has_all(self, table: deltas_pb2.FollowedTable, position: int, *, own: bool) -> bool:
        """Whether what became of a table after `position` is in the mutations that are here, or in the journal.

        Args:
            own: the position is one of this process; a former owner's relaxed mutations are not known.
        """
        table_id = table.table_id
        if table.spec.frozen:  # Filled without records, before this process where it does not know when.
            return own and self._filled.get(table_id, -1) < position
        # Mutations that took no position are behind the one of that time, too.
        if table.spec.durability != common_pb2.DURABILITY_RELAXED and position > self._relaxed_until.get(table_id, -1):
            return True
        return own and position > self._ordered_from and position >= self._first_position  # The journal has none.

    def hand_over(self) -> None:
        """Says that nothing comes any more, and everything that was acknowledged is here."""
        self._put_event(HandOver())

    def close(self, reason: str) -> None:
        """Ends all reading."""
        self._closed = reason

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Around everything that a reader does."""
        with self._current():
            self._readers += 1
            self._readings += 1
            self._keep()
        try:
            yield
        finally:
            with self._current():
                self._readers -= 1
                self._idle_until = time.monotonic() + IDLE_S

    def end(self) -> tuple[int, int]:
        """For readers: the index of the next item, and the position before it."""
        with self._current():
            return self._end, self._position

    def first(self) -> tuple[int, int]:
        """For readers: the index of the oldest item, and the position before it."""
        with self._current():
            return self._first, self._first_position

    def index_after(self, position: int) -> int | None:
        """For readers: the index of the first item after `position`, events behind it included; None: it is gone."""
        with self._current():
            if position < self._first_position:
                return None
            low, high = self._first, self._end
            while low < high:
                middle = (low + high) // 2
                if self._items[middle].position > position:
                    high = middle
                else:
                    low = middle + 1
            while low > self._first and self._items[low - 1].event is not None:
                low -= 1
            return low

    def tables_at(self, index: int) -> tuple[deltas_pb2.FollowedTable, ...]:
        """The tables that there were before the item `index`."""
        with self._current():
            for at in reversed(self._table_events):
                event = self._items[at].event
                if at < index and isinstance(event, TablesChanged):
                    return event.tables
            return self._first_tables

    def tables(self) -> tuple[deltas_pb2.FollowedTable, ...]:
        """The tables that there are now."""
        return self._tables

    def read(self, index: int, *, max_bytes: int, max_items: int) -> tuple[list[Item], int]:
        """Items from `index` on, and the position that whoever takes them in has reached.

        Raises:
            FollowerTooSlow: they are gone.
            NotReady: nothing comes any more.
        """
        found: list[Item] = []
        size = 0
        with self._current():
            first, end, position = self._first, self._end, self._position
        if self._closed and index >= end:
            raise NotReady(self._closed)
        while first <= index < end and size < max_bytes and len(found) < max_items:
            item = self._items.get(index)  # Without the lock, for which mutations would wait.
            if item is None:
                first = end
                break
            found.append(item)
            size += item.size
            index += 1
        if index < first:
            raise FollowerTooSlow(
                "more changed than is kept for followers (setting follow_buffer_bytes); follow again from the last "
                "position that was taken in"
            )
        return found, position if index == end else found[-1].position

    def lag(self, index: int) -> tuple[int, int]:
        """How many items come from `index` on, and when the first of them was begun, in Unix milliseconds; 0: none."""
        with self._current():
            item = self._items.get(max(index, self._first))
            return self._end - index, 0 if item is None else item.at_ms

    def _put_event(self, event: Event) -> None:
        with self._current():
            if self._keeping and self._check_active():
                self._put(self._position, (), event, 0, self.at_ms(time.monotonic()))
            elif isinstance(event, TablesChanged):
                self._first_tables = event.tables

    def _put(self, position: int, pieces: tuple[bytes, ...], event: Event | None, size: int, at_ms: int) -> None:
        size += OVERHEAD_BYTES
        self._items[self._end] = Item(position, pieces, event, size, at_ms)
        if isinstance(event, TablesChanged):
            self._table_events.append(self._end)
        self._end += 1
        self._bytes += size
        while self._bytes > self._buffer_bytes and self._first < self._end - 1:
            gone = self._items.pop(self._first)
            self._first += 1
            self._bytes -= gone.size
            self._first_position = gone.position
            if isinstance(gone.event, TablesChanged):
                self._first_tables = gone.event.tables
                self._table_events.popleft()

    def _restart(self, position: int) -> None:
        """Forgets all items, so that every reader is behind."""
        self._items.clear()
        self._table_events.clear()
        self._end += 1
        self._first, self._bytes = self._end, 0
        self._first_position, self._first_tables = position, self._tables

    def _keep(self) -> None:
        self._idle_until = time.monotonic() + IDLE_S
        if not self._keeping:
            self._position = max(self._position, self._queue.keep_records(True))
            self._restart(self._position)
            self._keeping = True

    def _check_active(self) -> bool:
        if self._keeping and not self._readers and time.monotonic() >= self._idle_until:
            self._keeping = False
            self._queue.keep_records(False)
            self._ordered_from = _NOT_ORDERED
            self._restart(self._position)
        return self._keeping
