"""The guard before a neighbour: bounds, the breaker, and no thread more than it was given."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.processes import until

from rowbank.errors import InvalidRequest, RedisUnavailable
from rowbank_server.guard import Guard

SOON_S = 0.05
LONG_S = 30.0


class Neighbour:
    """Answers each call once it may."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.calls = 0

    def ask(self) -> int:
        self.calls += 1
        self.may_answer.wait()
        return self.calls


def guard(**options) -> Guard:
    return Guard("Redis", RedisUnavailable, **{"threads": 1, "pause_s": SOON_S, **options})


def test_answers_and_errors_pass_through():
    guarded = guard()
    assert guarded.call(lambda: 7, within_s=LONG_S) == 7
    assert guarded.call(lambda: 8, within_s=None) == 8
    with pytest.raises(ZeroDivisionError):
        guarded.call(lambda: 1 // 0, within_s=LONG_S)
    with pytest.raises(InvalidRequest):
        guarded.call(_refuse, within_s=LONG_S)
    assert not guarded.is_open  # None of that says that the neighbour is away.


def answers(guarded: Guard) -> bool:
    try:
        return guarded.call(lambda: 5, within_s=LONG_S) == 5
    except RedisUnavailable:
        return False


def _refuse() -> None:
    raise InvalidRequest("no")


def _fail() -> None:
    raise RedisUnavailable("gone")


def test_a_neighbour_that_stands_still_is_left_behind_and_taken_up_again():
    guarded, neighbour = guard(probe_aside=True), Neighbour()
    with pytest.raises(RedisUnavailable, match=r"Redis did not answer within 0\.05 s"):
        guarded.call(neighbour.ask, within_s=SOON_S)
    assert guarded.is_open
    for _ in range(100):
        with pytest.raises(RedisUnavailable, match="is left alone until it answers again"):
            guarded.call(neighbour.ask, within_s=LONG_S)
    assert neighbour.calls == 1  # No second thread stands still.
    neighbour.may_answer.set()
    until(lambda: answers(guarded))
    assert not guarded.is_open


def test_a_failure_opens_the_breaker_and_a_caller_that_may_wait_closes_it():
    guarded = guard()
    with pytest.raises(RedisUnavailable, match="gone"):
        guarded.call(_fail, within_s=LONG_S)
    with pytest.raises(RedisUnavailable, match="is left alone"):
        guarded.call(lambda: 1, within_s=LONG_S)
    until(lambda: answers(guarded))
    assert not guarded.is_open


def test_a_caller_in_a_hurry_opens_nothing_for_the_others():
    guarded, neighbour = guard(patience_s=LONG_S), Neighbour()
    with pytest.raises(RedisUnavailable, match="did not answer within"):
        guarded.call(neighbour.ask, within_s=SOON_S)
    assert not guarded.is_open
    neighbour.may_answer.set()
    assert guarded.call(lambda: "next", within_s=LONG_S) == "next"


def test_a_neighbour_that_keeps_callers_in_a_hurry_waiting_is_left_alone():
    """None of them waits for long, and yet the first one's call has kept the thread for longer than that."""
    guarded, neighbour = guard(patience_s=4 * SOON_S), Neighbour()

    def refused() -> bool:
        with pytest.raises(RedisUnavailable):
            guarded.call(neighbour.ask, within_s=SOON_S)
        return guarded.is_open

    assert not refused()
    until(refused)
    neighbour.may_answer.set()
    until(lambda: answers(guarded))


def test_what_no_thread_took_up_is_not_done_later():
    guarded, neighbour, done = guard(), Neighbour(), []
    first = threading.Thread(target=lambda: guarded.call(neighbour.ask, within_s=LONG_S))
    first.start()
    until(lambda: neighbour.calls == 1)
    with pytest.raises(RedisUnavailable, match="did not answer within"):
        guarded.call(lambda: done.append(1), within_s=SOON_S)
    assert not guarded.is_open  # The one thread was busy, which says nothing of Redis.
    neighbour.may_answer.set()
    first.join()
    assert guarded.call(lambda: "next", within_s=LONG_S) == "next"
    assert done == []


def test_nothing_is_asked_once_the_time_is_used_up():
    with pytest.raises(RedisUnavailable, match="the time for this request is used up"):
        guard().call(lambda: pytest.fail("asked"), within_s=0.0)


def test_coroutines_wait_without_a_thread():
    async def run() -> None:
        guarded, neighbour = guard(threads=2), Neighbour()
        assert await guarded.acall(lambda: 3, within_s=LONG_S) == 3
        with pytest.raises(InvalidRequest):
            await guarded.acall(_refuse, within_s=LONG_S)
        before = threading.active_count()
        calls = [guarded.acall(neighbour.ask, within_s=SOON_S) for _ in range(20)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {RedisUnavailable}
        assert (neighbour.calls, threading.active_count()) == (2, before)
        neighbour.may_answer.set()

    asyncio.run(run())
