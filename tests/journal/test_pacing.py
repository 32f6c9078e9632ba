"""Mutations wait where the journal fills: a little before its bound, and for room at it."""

from __future__ import annotations

import math
import threading
import time

import pytest
from tests.journal.test_queue import Queue
from tests.processes import until

from rowbank_server.journal.pacing import Pacing, delay_s


@pytest.fixture
def queue() -> Queue:
    return Queue(max_bytes=1000)


def test_the_fuller_the_longer():
    assert [delay_s(crowding) for crowding in (-4.0, 0.0, 0.5, 0.9, 1.0, 1.2)] == pytest.approx(
        [0, 0, 0.02, 0.18, math.inf, math.inf]  # 20 ms of c / (1 - c).
    )


def test_crowding_goes_from_four_fifths_to_all(queue):
    assert queue.native.crowding == pytest.approx(-4)
    for size, crowding in ((800, 0.0), (100, 0.5), (100, 1.0), (20, 1.1)):
        queue.begin(size)
        queue.append()
        assert queue.native.crowding == pytest.approx(crowding)
        assert queue.native.may_begin() == (crowding <= 1e-9)


def test_nobody_waits_where_there_is_room(queue):
    Pacing(queue.native).wait(600.0)


def test_before_the_bound_a_mutation_goes_on_after_a_while(queue):
    queue.begin(900)
    queue.append()
    began = time.monotonic()
    Pacing(queue.native).wait(600.0)
    assert time.monotonic() - began >= 0.02


def test_at_the_bound_mutations_wait_for_room(queue):
    queue.begin(1000)
    queue.append()
    pacing = Pacing(queue.native)
    threads = [threading.Thread(target=pacing.wait, args=[600.0]) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: pacing.waits == 4, what="four that wait")
    assert all(thread.is_alive() for thread in threads)
    assert queue.native.forget(1)
    pacing.look_again()
    for thread in threads:
        thread.join()


def test_who_can_wait_no_longer_goes(queue):
    queue.begin(1000)
    queue.append()
    Pacing(queue.native).wait(0.01)
    assert queue.native.crowding >= 1


@pytest.mark.parametrize("end", ["fail", "fence"])
def test_a_journal_that_ends_lets_everybody_go(queue, end):
    queue.begin(1000)
    queue.append()
    pacing = Pacing(queue.native)
    thread = threading.Thread(target=pacing.wait, args=[600.0])
    thread.start()
    if end == "fail":
        queue.native.failed("away", missing=False)
    else:
        queue.native.fence()
    thread.join()
