"""What the queue of the journal knows of its stream, whom it wakes, and what it does without the interpreter."""

from __future__ import annotations

import socket
import threading

import pytest

from rowbank_server import _core
from rowbank_server.journal.records import Kind, Record, TablePart, parse

_PUSH = int(Kind.PUSH)


class Queue:
    """A queue, and what it remembers."""

    def __init__(self, **limits) -> None:
        self.window = _core.DedupWindow(window=8, max_clients=8)
        self.native = _core.JournalQueue(
            self.window,
            **{"max_pending_bytes": 1000, "max_bytes": 1000, "max_released_bytes": 1000, "wait_s": 10.0, **limits},
        )
        self.native.reopened(0)

    def begin(self, size=1, *, synced=False, sequence=0, took_s=0.0):
        """A mutation that was applied, and whose record of `size` bytes waits to be appended."""
        under_way = self.window.enter("me", sequence, _PUSH)[1] if sequence else None
        entry = self.native.begin(synced=synced, appended=True)
        self.native.submit(entry, b"", b"x" * size, b"answer", under_way)
        self.native.applied(entry, took_s)
        return entry

    def append(self):
        group = self.native.take_group()
        assert self.native.landed(group, self.native.stream)
        return group


@pytest.fixture
def queue():
    return Queue()


def stored(*sizes):
    """Entry n has position n and sizes[n - 1] bytes."""
    queue = Queue()
    for size in sizes:
        queue.begin(size)
        queue.append()
    return queue.native


def test_what_was_written_is_deleted_a_piece_at_a_time():
    groups, pieces = stored(40, 40, 40, 200, 10, 10), []
    while number := groups.passed(5, most_bytes=100):
        pieces.append(number)
        groups.forget(number)
    # An entry that is larger than a piece is one by itself; the sixth is not written yet.
    assert pieces == [2, 3, 4, 5]
    assert (groups.stored_bytes, groups.gone_through) == (10, 5)


def test_entries_with_later_records_stay(queue):
    for _ in range(5):
        queue.begin(2)
    queue.append()
    groups = queue.native
    assert groups.passed(4, most_bytes=100) == 0
    assert not groups.has_done(4)
    assert groups.passed(5, most_bytes=100) == 1
    assert groups.first_after(4) == 1
    assert groups.first_after(5) is None


def test_a_new_stream_has_nothing_and_lacks_what_came_before(queue):
    queue.begin(10)
    queue.append()
    queue.begin(10)
    group, lost = queue.native.take_group(), queue.native.stream
    queue.native.reopened(7)
    assert (queue.native.stored_bytes, queue.native.gone_through, queue.native.last_position) == (0, 7, 7)
    assert not queue.native.landed(group, lost)  # It has to be appended to the new one.
    assert queue.native.has_unappended
    assert queue.native.landed(group, queue.native.stream)
    assert (queue.native.stored_bytes, queue.native.has_unappended) == (10, False)


def test_a_mutation_is_answered_again_once_it_is_applied_and_appended(queue):
    entry = queue.begin(sequence=3)
    assert queue.window.enter("me", 3, _PUSH)[0] == _core.KNOWN_UNDER_WAY
    assert not queue.native.wait(entry, 0.0)
    assert (queue.native.done_through, queue.native.pending_bytes) == (0, 1)
    queue.append()
    assert queue.native.wait(entry, 0.0)
    assert queue.window.enter("me", 3, _PUSH) == (_core.KNOWN_ANSWERED, None, b"answer")
    assert (queue.native.done_through, queue.native.pending_bytes) == (1, 0)


def test_a_synced_mutation_is_done_once_somebody_says_so(queue):
    entry = queue.begin(synced=True, sequence=1)
    assert [one.position for one in queue.append().entries] == [1]
    assert not queue.native.wait(entry, 0.0)
    assert (queue.native.wait_appended(1, 0.0), queue.native.done_through) == (_core.Waited.YES, 0)
    queue.native.finish(entry)
    assert queue.native.wait(entry, 0.0)


def test_whoever_waits_is_woken_when_an_append_fails(queue):
    entry, woken = queue.begin(), []
    waiting = threading.Thread(target=lambda: woken.append(queue.native.wait(entry, 600.0)))
    waiting.start()
    assert queue.native.failed("away", missing=False)
    waiting.join()
    assert woken == [False]
    assert not queue.native.failed("still away", missing=True)
    assert (queue.native.failure, queue.native.missing, queue.native.may_begin()) == ("still away", True, False)
    assert queue.native.wait_appended(1, 600.0) == _core.Waited.FAILED
    queue.append()
    assert (queue.native.failure, queue.native.may_begin(), queue.native.wait(entry, 0.0)) == ("", True, True)


def test_nothing_is_taken_in_beyond_what_may_wait_or_lie_in_the_stream(queue):
    queue.begin(1000)
    assert queue.native.may_begin()
    queue.begin(1)
    assert not queue.native.may_begin()
    queue.append()
    assert (queue.native.pending_bytes, queue.native.stored_bytes) == (0, 1001)
    assert not queue.native.may_begin()
    assert queue.native.forget(1)
    assert queue.native.may_begin()


def test_nothing_is_taken_in_while_an_append_takes_too_long():
    queue = Queue(wait_s=0.0)
    assert queue.native.may_begin()
    queue.begin()
    assert queue.native.lag_s > 0
    assert not queue.native.may_begin()


def test_a_fenced_queue_gives_nothing_out_and_lets_everybody_go(queue):
    entry = queue.begin()
    queue.native.fence()
    assert not queue.native.wait(entry, 600.0)
    assert queue.native.take_group() is None
    assert queue.native.wait_appended(1, 600.0) == _core.Waited.FENCED
    assert not queue.native.may_begin()


def test_a_stopped_queue_gives_out_what_is_left(queue):
    queue.begin()
    queue.native.stop()
    queue.append()
    assert queue.native.take_group() is None


def test_the_time_of_a_replay_is_guessed_from_what_mutations_took():
    queue = Queue(max_bytes=1 << 40, max_pending_bytes=1 << 40)
    assert queue.native.replay_s == 0
    for _ in range(100):
        queue.begin(1 << 20)
        queue.append()
    assert 0.3 < queue.native.replay_s < 1.0  # By hand: 100 x 0.2 ms, and 105 MB at 200 MB/s.
    for _ in range(2000):
        queue.begin(1 << 20, took_s=0.01)
        queue.append()
    queue.native.forget(2000)
    assert queue.native.replay_s == pytest.approx(0.02 + 104.8576e6 / 400e6 + 1.0, rel=0.02)


class Redis:
    """The other end of a socket, which answers as it is told."""

    def __init__(self, answers):
        self.mine, self.other = socket.socketpair()
        self.got = b""
        self._answers = answers
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        for end, answer in self._answers:
            while not self.got.endswith(end):
                self.got += self.other.recv(1 << 16)
            for piece in answer:
                self.other.sendall(piece)
        self.other.close()

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self._thread.join()
        self.mine.close()


def test_records_are_appended_as_redis_reads_them(queue):
    queue.begin(3)
    queue.begin(2)
    queue.begin(1, synced=True)  # After which somebody has to look.
    wanted = (
        b"*10\r\n$4\r\nXADD\r\n$3\r\nkey\r\n$10\r\nNOMKSTREAM\r\n$3\r\n1-0\r\n"
        b"$1\r\n0\r\n$3\r\nxxx\r\n$1\r\n1\r\n$2\r\nxx\r\n$1\r\n2\r\n$1\r\nx\r\n"
    )
    with Redis([(b"$1\r\nx\r\n", [b"$3", b"\r\n1-", b"0\r\n"])]) as redis:
        how, group = queue.native.append(redis.mine.fileno(), "key", 60.0, queue.native.stream)
    assert (how, group.number, len(group.entries)) == (_core.Appended.YES, 1, 3)
    assert redis.got == wanted
    assert queue.native.stored_bytes == 6


@pytest.mark.parametrize(
    ("answer", "how"),
    [
        ([b"$-1\r\n"], _core.Appended.REFUSED),
        ([b"-ERR the id is equal or smaller\r\n"], _core.Appended.REFUSED),
        ([b"_\r\n"], _core.Appended.REFUSED),
        ([], _core.Appended.UNKNOWN),
        ([b"$3\r\n1-"], _core.Appended.UNKNOWN),
        ([b"$3\r\n1-0\r\n+more\r\n"], _core.Appended.UNKNOWN),
        ([b"+OK\r\n"], _core.Appended.UNKNOWN),
    ],
)
def test_what_redis_says_instead_is_for_others(queue, answer, how):
    entry = queue.begin()
    with Redis([(b"\r\nx\r\n", answer)]) as redis:
        found, group = queue.native.append(redis.mine.fileno(), "key", 60.0, queue.native.stream)
    assert (found, [one.position for one in group.entries]) == (how, [entry.position])
    assert group.records == [(b"", b"x")]
    assert (queue.native.has_unappended, queue.native.stored_bytes) == (True, 0)


def test_a_silent_redis_is_not_waited_for(queue):
    queue.begin()
    here, there = socket.socketpair()
    with here, there:
        how, _ = queue.native.append(here.fileno(), "key", 0.01, queue.native.stream)
    assert how == _core.Appended.UNKNOWN


def test_appending_ends_with_the_stream_that_it_is_for(queue):
    before = queue.native.stream
    queue.native.reopened(5)
    here, there = socket.socketpair()
    with here, there:
        assert queue.native.append(here.fileno(), "key", 60.0, before) == (_core.Appended.YES, None)


def test_a_record_is_read_as_it_was_written():
    tables = (TablePart(7, b"sgd", 3, b"all"), TablePart(2**32 - 1, b"", 2**64 - 1))
    record = Record(Kind.PUSH, 5, 2**32 - 1, tables, b"body", _core.crc32c(b"body"), "\u00fcber", 9, b"answer")
    assert parse(b"".join(record.pieces())) == record


def test_a_record_with_too_long_an_answer_is_refused():
    record = Record(Kind.PUSH, 5, 1, (), b"body", 0, answer=b"x" * 65_536)
    with pytest.raises(ValueError, match="answer: a journal record has no room for 65536"):
        record.pieces()


def test_authors_are_known_by_the_positions_of_their_mutations():
    authors = _core.Authors()
    authors.note(3, "me", "token")
    authors.note(4, "me", "")
    assert [authors.of(position) for position in (0, 3, 4, 5)] == [None, ("me", "token"), ("me", ""), None]
    for position in range(5, 5 + 131_072):
        authors.note(position, "other", "")
    assert (authors.of(4), authors.of(5)) == (None, ("other", ""))
