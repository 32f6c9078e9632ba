"""When a worker is started again, in numbers."""

from __future__ import annotations

from rowbank_server.retrieval.processes.restarts import failures_after, is_hopeless, pause_s


def test_the_first_restart_comes_at_once_and_later_ones_after_longer_and_longer():
    assert [pause_s(failures) for failures in range(1, 9)] == [0, 0.5, 1, 2, 4, 8, 10, 10]
    assert pause_s(10_000) == 10


def test_a_worker_that_served_for_long_begins_anew():
    assert failures_after(3, served_s=59.9) == 4
    assert failures_after(3, served_s=60.0) == 1


def test_there_is_hope_while_one_serves_or_has_not_failed_often():
    assert is_hopeless([5, 6], serving=0)
    assert not is_hopeless([5, 6], serving=1)
    assert not is_hopeless([5, 4], serving=0)
