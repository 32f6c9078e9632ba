"""The order in which mutations are released, and the log that keeps the newest of them."""

from __future__ import annotations

import time

import pytest

from rowbank.errors import FollowerTooSlow, NotReady
from rowbank_protos.v1 import deltas_pb2
from rowbank_server import _core
from rowbank_server.ps.deltas.items import OVERHEAD_BYTES, FrozenFilled, HandOver, WriteBack
from rowbank_server.ps.deltas.log import DeltaLog

BUFFER_BYTES = 10_000
BEGUN = deltas_pb2.WriteBackMark.STAGE_BEGUN


def new_queue(*, max_released_bytes=1000) -> _core.JournalQueue:
    window = _core.DedupWindow(window=8, max_clients=8)
    return _core.JournalQueue(
        window, max_pending_bytes=1 << 30, max_bytes=1 << 30, max_released_bytes=max_released_bytes, wait_s=10.0
    )


class Shard:
    """A log, and mutations on their way to it."""

    def __init__(self) -> None:
        self.queue = new_queue()
        self.queue.reopened(100)
        self.log = DeltaLog(self.queue, buffer_bytes=BUFFER_BYTES)
        self.log.opened(100)
        self.groups: dict[int, _core.JournalGroup] = {}  # Of entries that were not applied and not appended.

    def begin(self, record: bytes = b"", *, appended: bool = True) -> _core.JournalEntry:
        entry = self.queue.begin(synced=False, appended=appended)
        self.queue.submit(entry, b"head", record, b"", None)
        if appended:
            group = self.queue.take_group()
            assert group is not None
            self.groups[entry.position] = group
        return entry

    def step(self, entry: _core.JournalEntry) -> None:
        """It was appended; or, the second time, applied."""
        group = self.groups.pop(entry.position, None)
        if group is None:
            self.queue.applied(entry, 0.0)
        else:
            assert self.queue.landed(group, self.queue.stream)

    def mutate(self, record: bytes = b"") -> int:
        entry = self.begin(record)
        self.step(entry)
        self.step(entry)
        return entry.position

    def seen(self, index: int) -> list[int]:
        return [item.position for item in self.log.read(index, max_bytes=1 << 30, max_items=1 << 30)[0]]


def test_a_mutation_is_released_when_it_and_all_before_it_are_applied_and_appended():
    shard = Shard()
    with shard.log.reading():
        start, position = shard.log.end()
        assert position == 100
        first, second, third = (shard.begin() for _ in range(3))
        for entry in (second, second, third, first):
            shard.step(entry)
        assert shard.seen(start) == []
        shard.step(first)
        assert shard.seen(start) == [101, 102]
        shard.step(third)
        assert shard.seen(start) == [101, 102, 103]
        assert shard.log.position == 103
    assert shard.queue.unreleased == 0


def test_what_came_to_nothing_is_passed():
    shard = Shard()
    with shard.log.reading():
        start, _ = shard.log.end()
        first, second = shard.begin(), shard.begin()
        shard.step(second)
        shard.step(second)
        shard.queue.abandon(first)
        assert shard.seen(start) == [102]


def test_a_relaxed_mutation_needs_no_append_and_waits_for_those_before_it():
    shard = Shard()
    with shard.log.reading():
        start, _ = shard.log.end()
        journaled, relaxed = shard.begin(), shard.begin(appended=False)
        shard.step(relaxed)
        assert shard.seen(start) == []
        shard.step(journaled)
        shard.step(journaled)
        assert shard.seen(start) == [101, 102]


def test_relaxed_mutations_that_wait_too_long_are_lost_and_readers_are_told():
    shard = Shard()
    with shard.log.reading():
        shard.log.order_relaxed(100)
        start, _ = shard.log.end()
        stuck = shard.begin()
        for _ in range(20_000):
            shard.step(shard.begin(b"x" * 100, appended=False))
        assert shard.queue.unreleased < 10_000
        assert shard.seen(start) == []
        shard.step(stuck)
        shard.step(stuck)
        with pytest.raises(FollowerTooSlow):
            shard.seen(start)
        last = 100 + 1 + 20_000
        assert (shard.log.position, shard.log.ordered_from, shard.queue.unreleased) == (last, last, 0)
        start, _ = shard.log.end()
        shard.step(shard.begin(appended=False))
        assert shard.seen(start) == [last + 1]


def test_nothing_is_kept_until_somebody_follows():
    shard = Shard()
    shard.mutate(b"x" * 1000)
    assert (shard.log.active, shard.log.held_bytes, shard.log.position) == (False, 0, 101)
    with shard.log.reading():
        shard.mutate(b"x" * 1000)
        assert shard.log.held_bytes == 4 + 1000 + OVERHEAD_BYTES
        assert shard.log.index_after(100) is None
    assert shard.log.active  # For a while.
    shard.mutate()
    with shard.log.reading():
        index = shard.log.index_after(101)
        assert index is not None
        assert shard.seen(index) == [102, 103]


def test_the_log_is_bounded_and_says_who_was_passed():
    shard = Shard()
    with shard.log.reading():
        start, _ = shard.log.end()
        for _ in range(100):
            shard.mutate(b"x" * 1000)
        assert shard.log.held_bytes <= BUFFER_BYTES
        with pytest.raises(FollowerTooSlow, match="follow_buffer_bytes"):
            shard.seen(start)
        first = shard.log.first_position
        kept = BUFFER_BYTES // (4 + 1000 + OVERHEAD_BYTES)
        assert first == 200 - kept
        index = shard.log.index_after(first)
        assert index is not None
        assert shard.seen(index) == list(range(first + 1, 201))
        assert shard.log.index_after(first - 1) is None
        shard.mutate(b"x" * 10 * BUFFER_BYTES)
        index = shard.log.index_after(200)
        assert index is not None
        assert shard.seen(index) == [201]  # However large.


def test_a_reader_takes_as_much_as_it_asks_for():
    shard = Shard()
    with shard.log.reading():
        start, _ = shard.log.end()
        for _ in range(5):
            shard.mutate(b"x" * 100)
        assert [item.position for item in shard.log.read(start, max_bytes=1, max_items=9)[0]] == [101]
        items, position = shard.log.read(start + 1, max_bytes=1 << 20, max_items=3)
        assert ([item.position for item in items], position) == ([102, 103, 104], 104)
        assert shard.log.lag(start + 2)[0] == 3


def test_events_stand_between_the_mutations():
    shard = Shard()
    with shard.log.reading():
        start, _ = shard.log.end()
        shard.mutate()
        shard.log.write_back(BEGUN, 7)
        shard.log.frozen_filled(3)
        shard.mutate()
        shard.log.hand_over()
        items, _ = shard.log.read(start, max_bytes=1 << 20, max_items=9)
        assert [item.event or item.position for item in items] == [
            101,
            WriteBack(BEGUN, 7, 0),
            FrozenFilled(3),
            102,
            HandOver(),
        ]
        # Whoever has 101 may not have had what came behind it.
        assert shard.log.index_after(101) == start + 1
        assert shard.log.index_after(102) == start + 4


def test_a_successor_goes_on_from_what_it_replayed():
    log = DeltaLog(new_queue(), buffer_bytes=BUFFER_BYTES)
    log.seed(90)
    log.append_replayed([(95, b"b"), (92, b"a"), (89, b"too old")])
    log.append_followed(97, b"c")
    log.opened(1 << 40)
    assert (log.inherited, log.position, log.first_position) == (97, 1 << 40, 90)
    with log.reading():
        index = log.index_after(92)
        assert index is not None
        items, position = log.read(index, max_bytes=1 << 20, max_items=9)
        assert [(item.position, item.pieces) for item in items] == [(95, (b"b",)), (97, (b"c",))]
        assert position == 1 << 40
        assert log.index_after(89) is None


def test_a_closed_log_gives_the_rest_and_says_why_it_ends():
    shard = Shard()
    with shard.log.reading():
        start, _ = shard.log.end()
        shard.mutate()
        shard.log.close("the server stops")
        assert shard.seen(start) == [101]
        with pytest.raises(NotReady, match="the server stops"):
            shard.seen(start + 1)


def test_the_age_of_what_was_not_read_is_that_of_the_clock():
    shard = Shard()
    with shard.log.reading():
        start, _ = shard.log.end()
        shard.mutate()
        assert abs(shard.log.lag(start)[1] - time.time() * 1e3) < 60_000
        assert shard.log.lag(start + 1) == (0, 0)
