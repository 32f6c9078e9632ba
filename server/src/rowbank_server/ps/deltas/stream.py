"""One follower's stream: where it begins, pictures of tables, and what changes."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rowbank.errors import FollowerTooSlow, NotReady
from rowbank_protos.v1 import deltas_pb2
from rowbank_server.journal.journal import Journal
from rowbank_server.journal.records import peek_position
from rowbank_server.ps.deltas import pictures
from rowbank_server.ps.deltas.asking import ROWS, Begin, begin
from rowbank_server.ps.deltas.changes import collect, row_changes
from rowbank_server.ps.deltas.followers import Follower
from rowbank_server.ps.deltas.frames import Framer
from rowbank_server.ps.deltas.items import OVERHEAD_BYTES, FrozenFilled, HandOver, Item, TablesChanged, WriteBack
from rowbank_server.ps.deltas.log import DeltaLog
from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.storage.state import EPOCH_SHIFT

_PAUSE_S = 0.015  # Between looks, so that a mutation wakes nobody.
_CONFIRM_PAUSE_S = 0.001
_SILENCE_S = 0.1
_BATCH_BYTES = 1 << 20
_BATCH_ITEMS = 4096
_WINDOWS_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Sources:
    """What streams are made of.

    Attributes:
        tables: answers the tables of the shard.
        windows: answers what clients were answered, packed, client by client.
        hello: what the shard says of itself.
        owner_until: answers until when, monotonic seconds, no other process owns the shard.
    """

    log: DeltaLog
    journal: Journal
    tables: Callable[[], Sequence[ShardTable]]
    windows: Callable[[], Iterable[tuple[str, bytes]]]
    hello: deltas_pb2.FollowHello
    owner_until: Callable[[], float] = lambda: float("inf")


class Stream:
    """For one thread, that of the call.

    Args:
        ended: set when nobody reads any more.
    """

    def __init__(self, follower: Follower, sources: Sources, ended: threading.Event) -> None:
        self._follower = follower
        self._asked = follower.asked
        self._sources = sources
        self._log = sources.log
        self._journal = sources.journal
        self._ended = ended
        self._framer = Framer(sources.hello.server_id)
        self._index = 0
        self._position = 0
        self._listed: dict[int, deltas_pb2.FollowedTable] = {}
        self._spoke_of_tables = False
        self._listed_before = 0  # Tables as of items before that index were listed.
        self._pictures: collections.deque[int] = collections.deque()
        self._current: pictures.Picture | None = None
        self._spoke = 0.0
        self._as_of_ms = 0  # What was acknowledged before is in what was sent.
        self._handed_over = float("inf")

    def messages(self) -> Iterator[bytes]:
        """Everything that is sent, without an end of its own; inside of `log.reading`.

        Raises:
            FollowerTooSlow: it was passed by.
            NotReady: the shard stops, or another process serves it.
            RedisUnavailable: the journal was to be read, and cannot.
        """
        for message in self._messages():
            self._spoke = time.monotonic()
            self._follower.sent_bytes += len(message)
            self._follower.position = self._position
            self._follower.index = self._index
            yield message

    def _messages(self) -> Iterator[bytes]:
        start = begin(self._asked, self._log, self._journal, self._sources.hello.server_id)
        self._position, self._follower.source = start.position, start.source
        self._pictures.extend(start.pictures)
        self._listed_before = start.listed
        hello = deltas_pb2.FollowHello()
        hello.CopyFrom(self._sources.hello)
        hello.continued, hello.source = start.continued, start.source
        hello.epoch = self._journal.last_position() >> EPOCH_SHIFT
        self._as_of_ms = self._log.at_ms(time.monotonic())
        yield self._say(hello=hello)
        self._as_of_ms = 0  # Not known before the log is read to its end.
        yield from self._list(start.tables)
        yield from self._void(start.pictures)
        if start.index is None:
            yield from self._read_journal(start)
        else:
            self._index = start.index
        if self._asked.records and not start.continued:
            yield from self._windows()
        while not self._ended.is_set():
            yield from self._step()

    def _step(self) -> Iterator[bytes]:
        # A process that was replaced, and does not know it yet, must not pass for up to date.
        released_until = min(self._journal.released_until(), self._sources.owner_until(), self._handed_over)
        items, position = self._log.read(self._index, max_bytes=_BATCH_BYTES, max_items=_BATCH_ITEMS)
        self._index += len(items)
        if self._index >= self._log.end()[0]:
            as_of_ms = max(0, self._log.at_ms(released_until))
        else:  # What was acknowledged before one was begun comes before it.
            as_of_ms = max((item.at_ms for item in items if item.event is None), default=0)
        if items:
            yield from self._send(items, self._index - len(items), position, as_of_ms)
        else:
            self._position = position
            self._as_of_ms = max(self._as_of_ms, as_of_ms)
        if self._current is not None or self._pictures:
            yield from self._go_on_with_picture()
        elif not items:
            if time.monotonic() - self._spoke > _SILENCE_S:
                yield self._say()
            self._ended.wait(_PAUSE_S)

    def _say(self, **content: Any) -> bytes:
        """A message with the position so far, unless a follower of keys or rows could not go on from there."""
        whole = self._asked.records or not (self._pictures or self._current)
        return self._framer.message(self._position if whole else None, self._as_of_ms, **content)

    def _void(self, tables: Iterable[int]) -> Iterator[bytes]:
        """Says of tables whose pictures may take a while to come that what the follower has is void."""
        if self._asked.records:
            for table_id in tables:
                yield self._say(picture_start=deltas_pb2.PictureStart(table_id=table_id))

    def _send(self, items: Sequence[Item], first: int, position: int, as_of_ms: int) -> Iterator[bytes]:
        """Sends items in order, mutations that follow each other together; all of them is as of `as_of_ms`.

        Args:
            first: index of the first of them.
        """
        mutations: list[Item] = []
        for index, item in enumerate(items, first):
            if item.event is None:
                mutations.append(item)
                continue
            if isinstance(item.event, HandOver):  # From then on somebody else acknowledges.
                as_of_ms, self._handed_over = min(as_of_ms, item.at_ms), 0.0
            yield from self._send_mutations(mutations, mutations[-1].position if mutations else 0)
            mutations = []
            if index >= self._listed_before or not isinstance(item.event, TablesChanged):
                yield from self._send_event(item)
            elif not self._asked.records:  # It gets pictures of all tables that it has not.
                for table_id in item.event.unlike:
                    self._restart_picture(table_id)
        if self._asked.records:  # One message has all of them.
            self._as_of_ms = max(self._as_of_ms, as_of_ms)
        yield from self._send_mutations(mutations, position)
        self._as_of_ms = max(self._as_of_ms, as_of_ms)

    def _send_mutations(self, mutations: Sequence[Item], position: int) -> Iterator[bytes]:
        if not mutations:
            self._position = max(self._position, position)
            return
        if self._asked.records:
            self._position = position
            yield self._framer.records(position, self._as_of_ms, mutations)
            return
        wanted = self._listed.keys() - self._pictures
        tables = {table.entry.table_id: table for table in self._sources.tables()}
        for table_id, changes in collect(mutations, wanted).items():
            table = tables.get(table_id)
            if table is None:
                continue
            if changes.cleared:
                self._restart_picture(table_id)
                continue
            for message in row_changes(table, changes, values=self._asked.detail == ROWS):
                yield from self._confirmed()
                yield self._say(changes=message)
        yield from self._confirmed()
        self._position = position

    def _send_event(self, item: Item) -> Iterator[bytes]:
        event = item.event
        if isinstance(event, TablesChanged):
            new = event.unlike - self._listed.keys()
            yield from self._list(event.tables)
            for table_id in new:
                self._restart_picture(table_id)
            yield from self._void(new)
        elif isinstance(event, FrozenFilled):
            if event.table_id in self._listed:
                self._restart_picture(event.table_id)
                yield from self._void([event.table_id])
        elif self._asked.records and isinstance(event, WriteBack):
            mark = deltas_pb2.WriteBackMark(stage=event.stage, serial=event.serial, flush=event.flush)
            yield self._say(write_back=mark)
        elif self._asked.records and isinstance(event, HandOver):
            yield self._say(hand_over=deltas_pb2.HandOver())

    def _list(self, tables: Sequence[deltas_pb2.FollowedTable]) -> Iterator[bytes]:
        """Says which tables there are, if that is news."""
        wanted = {table.table_id: table for table in tables if self._asked.wants(table)}
        if wanted != self._listed or not self._spoke_of_tables:
            self._listed = wanted
            self._pictures = collections.deque(table_id for table_id in self._pictures if table_id in wanted)
            self._spoke_of_tables = True
            yield self._say(tables=deltas_pb2.FollowedTables(tables=wanted.values()))

    def _restart_picture(self, table_id: int) -> None:
        if table_id not in self._listed:
            return
        if self._current is not None and self._current.table_id == table_id:
            self._current = None
        if table_id not in self._pictures:
            self._pictures.append(table_id)

    def _go_on_with_picture(self) -> Iterator[bytes]:
        """Sends some buckets of a table."""
        if self._log.closed:
            raise NotReady(self._log.closed)
        if self._current is None:
            table_id = self._pictures.popleft()
            table = self._table(table_id)
            if table is None:  # It will be in service in a moment, or is gone, which the next list says.
                self._pictures.append(table_id)
                self._ended.wait(_PAUSE_S)
                return
            self._current = pictures.Picture(table, self._asked.detail, self._journal.last_position)
            yield self._say(picture_start=self._current.start())
        picture = self._current
        if self._table(picture.table_id) is not picture.table:
            self._current = None  # It was dropped, which the next list says.
            return
        contents = picture.read()
        yield from self._confirmed()
        for content in contents:
            yield self._say(**content)
        if picture.done:
            end = picture.end()
            yield from self._confirmed()
            end.whole_at = min(end.whole_at, self._log.position)  # Some positions came to nothing.
            self._current = None
            yield self._say(picture_end=end)

    def _confirmed(self) -> Iterator[bytes]:
        """Waits until what was read from RAM so far cannot be undone by a crash any more, with signs of life."""
        position = self._journal.last_position()
        while self._journal.released_through() < position and not self._ended.is_set():
            if self._log.closed:
                raise NotReady(self._log.closed)
            if time.monotonic() - self._spoke > _SILENCE_S:
                yield self._say()
            self._ended.wait(_CONFIRM_PAUSE_S)

    def _table(self, table_id: int) -> ShardTable | None:
        return next((table for table in self._sources.tables() if table.entry.table_id == table_id), None)

    def _windows(self) -> Iterator[bytes]:
        """What clients were answered, up to where the stream begins or later."""
        while self._journal.done_through() < self._position and not self._ended.is_set():
            if time.monotonic() - self._spoke > _SILENCE_S:
                yield self._say()
            self._ended.wait(_CONFIRM_PAUSE_S)
        message, size = deltas_pb2.AnswerWindows(), 0
        for client_id, packed in self._sources.windows():
            message.windows.add(client_id=client_id, packed=packed)
            size += len(packed)
            if size >= _WINDOWS_BYTES:
                yield self._say(windows=message)
                message, size = deltas_pb2.AnswerWindows(), 0
        if size:
            yield self._say(windows=message)

    def _read_journal(self, start: Begin) -> Iterator[bytes]:
        """Sends what the journal has after the position, until the log is reached; the position stays where it is."""
        lower = start.position
        while True:
            _, upper = self._log.first()
            index = self._log.index_after(lower)
            if index is not None:
                break
            size, items = 0, list[Item]()
            for stored in self._journal.stored_after(lower):
                position = peek_position(stored.data)
                if position is not None and lower < position <= upper:
                    items.append(Item(position, (stored.data,), None, len(stored.data) + OVERHEAD_BYTES, 0))
                    size += len(stored.data)
                if size >= _BATCH_BYTES:
                    yield from self._send_stored(items)
                    size, items = 0, []
            yield from self._send_stored(items)
            if self._journal.gone_through() > max(lower, start.position):
                raise FollowerTooSlow("the journal was trimmed while it was read; follow again")
            lower = upper
        lacking = [  # Tables that came while the journal was read, and of which it has not everything.
            table_id
            for table_id, table in self._listed.items()
            if table_id not in start.pictures and not self._log.has_all(table, start.position, own=True)
        ]
        for table_id in lacking:
            self._restart_picture(table_id)
        yield from self._void(lacking)
        self._index = index

    def _send_stored(self, items: Sequence[Item]) -> Iterator[bytes]:
        """Sends mutations of the journal; new tables first."""
        if items:
            self._listed_before = self._log.end()[0]
            yield from self._list(self._log.tables())
            yield from self._send_mutations(items, self._position)
