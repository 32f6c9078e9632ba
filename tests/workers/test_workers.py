"""Workers that train one table at once: real processes, a real server, a bound that holds."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import rowbank
from rowbank.errors import DeadlineExceeded, InvalidRequest, WorkerNotFound, WorkerReplaced
from rowbank.workers import WorkerGroup
from rowbank_protos.v1 import workers_pb2
from rowbank_server.ps.services import workers
from rowbank_server.ps.services.workers import WorkerServicer

PROGRAM = Path(__file__).with_name("training.py")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def servicer(clock: Clock) -> WorkerServicer:
    return WorkerServicer(clock)


def join(servicer: WorkerServicer, worker: str, step: int = 0, **changes) -> workers_pb2.GroupState:
    request = workers_pb2.JoinGroupRequest(
        group="g", worker_id=worker, incarnation=f"{worker}-1", step=step, max_staleness_steps=2, lease_ms=1000, size=2
    )
    request.MergeFrom(workers_pb2.JoinGroupRequest(**changes))
    return servicer.Join(request, None)


def advance(servicer: WorkerServicer, worker: str, step: int, incarnation: str = "") -> workers_pb2.GroupState:
    request = workers_pb2.AdvanceRequest(
        group="g", worker_id=worker, incarnation=incarnation or f"{worker}-1", step=step
    )
    return servicer.Advance(request, None)


def test_a_worker_may_be_as_many_steps_ahead_as_the_bound_says(servicer: WorkerServicer) -> None:
    join(servicer, "a")
    join(servicer, "b")
    assert advance(servicer, "a", 2).may_go_on
    state = advance(servicer, "a", 3)
    assert (state.may_go_on, state.slowest_worker, state.slowest_step, state.fastest_step) == (False, "b", 0, 3)
    advance(servicer, "b", 1)
    assert advance(servicer, "a", 3).may_go_on


def test_nobody_goes_on_before_all_have_joined_or_a_lease_has_passed(servicer: WorkerServicer, clock: Clock) -> None:
    assert not join(servicer, "a").may_go_on
    clock.now += 0.9
    assert not advance(servicer, "a", 1).may_go_on
    clock.now += 0.2
    state = advance(servicer, "a", 1)
    assert (state.may_go_on, state.complete) == (True, False)


def test_who_is_not_heard_of_is_not_waited_for(servicer: WorkerServicer, clock: Clock) -> None:
    join(servicer, "a")
    join(servicer, "b")
    clock.now += 0.9
    assert not advance(servicer, "a", 3).may_go_on
    clock.now += 0.2
    assert advance(servicer, "a", 3).may_go_on
    with pytest.raises(WorkerNotFound, match=r"'b' is no member of group 'g'.*join again"):
        advance(servicer, "b", 1)
    assert join(servicer, "b", step=1).may_go_on  # The slowest may always go on.
    assert not advance(servicer, "a", 4).may_go_on


def test_who_left_is_not_waited_for_and_counts_as_joined(servicer: WorkerServicer) -> None:
    join(servicer, "a")
    join(servicer, "b")
    leave = workers_pb2.LeaveGroupRequest(group="g", worker_id="b", incarnation="b-1")
    assert servicer.Leave(leave, None).was_member
    assert not servicer.Leave(leave, None).was_member
    state = advance(servicer, "a", 50)
    assert (state.may_go_on, state.complete, state.workers) == (True, True, 1)


def test_workers_that_come_and_go_do_not_add_up(servicer: WorkerServicer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_MAX_WORKERS", 4)
    monkeypatch.setattr(workers, "_MAX_NAMES", 8)
    join(servicer, "a")
    for turn in range(20):
        join(servicer, f"b{turn}")
        leave = workers_pb2.LeaveGroupRequest(group="g", worker_id=f"b{turn}", incarnation=f"b{turn}-1")
        assert servicer.Leave(leave, None).was_member
    assert advance(servicer, "a", 1).complete
    for worker in "bcd":
        join(servicer, worker)
    with pytest.raises(InvalidRequest, match="'g' has 4 workers, which is the limit"):
        join(servicer, "e")
    join(servicer, "a", step=5)  # Who is there already may join again.
    other = {"group": "h", "lease_ms": 60_000}
    join(servicer, "a", **other)
    join(servicer, "b", **other)
    with pytest.raises(InvalidRequest, match="8 workers in all groups"):
        join(servicer, "c", **other)


def test_a_worker_that_is_started_again_replaces_the_old_one(servicer: WorkerServicer) -> None:
    join(servicer, "a")
    servicer.Join(
        workers_pb2.JoinGroupRequest(
            group="g", worker_id="a", incarnation="a-2", max_staleness_steps=2, lease_ms=1000, size=2
        ),
        None,
    )
    with pytest.raises(WorkerReplaced, match="'a' of group 'g' was started again"):
        advance(servicer, "a", 1)
    assert advance(servicer, "a", 1, "a-2").workers == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_staleness_steps": 3}, "has max_staleness_steps 2, worker 'b' asks for 3"),
        ({"size": 5}, "has size 2, worker 'b' asks for 5"),
        ({"lease_ms": 1}, "lease_ms: expected 50 to"),
        ({"incarnation": "x" * 300}, "incarnation: expected 1 to 256 characters, got 300"),
    ],
)
def test_wrong_settings_are_refused(servicer: WorkerServicer, change: dict, message: str) -> None:
    join(servicer, "a")
    with pytest.raises(InvalidRequest, match=message):
        join(servicer, "b", **change)


def test_a_dead_group_is_forgotten_with_its_settings(servicer: WorkerServicer, clock: Clock) -> None:
    join(servicer, "a")
    clock.now += 2.0
    join(servicer, "b", lease_ms=2000, max_staleness_steps=7)


@contextlib.contextmanager
def worker(target: str, *arguments: object) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), target, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def measured(process: subprocess.Popen) -> dict:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return json.loads(output.splitlines()[-1])


def read_until(process: subprocess.Popen, line: str) -> None:
    assert process.stdout is not None
    for found in process.stdout:
        if found.strip() == line:
            return
    raise AssertionError(f"the worker ended before {line!r}")


def test_a_slow_worker_bounds_a_fast_one(target: str, table_name: str) -> None:
    with (
        worker(target, table_name, "fast", 2, 30, 0.0, 3, 10) as fast,
        worker(target, table_name, "slow", 2, 15, 0.04, 3, 10) as slow,
    ):
        leads, ahead = measured(slow), measured(fast)
    assert leads["max_steps"] == 0
    # The slow one leaves after 15 steps; until then the fast one is at the bound, and waits.
    assert ahead["leads"][:15].count(3) >= 8
    assert ahead["max_steps"] == 3
    assert ahead["waited_s"] > 0.2
    assert ahead["advances"] == 30
    with rowbank.Client(target) as client:
        rows = client.table(table_name).pull([1, 2])  # 45 steps of SGD(1.0) with gradients of 1, none lost.
        np.testing.assert_array_equal(rows, np.full((2, 2), -45.0))


def test_without_slack_workers_are_in_lockstep(target: str, table_name: str) -> None:
    with (
        worker(target, table_name, "a", 2, 10, 0.0, 0, 10) as first,
        worker(target, table_name, "b", 2, 10, 0.01, 0, 10) as second,
    ):
        assert {measured(first)["max_steps"], measured(second)["max_steps"]} == {0}


def test_a_killed_worker_holds_the_others_for_its_lease_only(target: str, table_name: str) -> None:
    with (
        worker(target, table_name, "survivor", 2, 40, 0.0, 2, 0.6) as survivor,
        worker(target, table_name, "victim", 2, 1000, 0.05, 2, 0.6) as victim,
    ):
        read_until(victim, "step 3")
        victim.send_signal(signal.SIGKILL)
        figures = measured(survivor)
    assert figures["advances"] == 40
    assert max(figures["leads"]) <= 2
    assert 0.3 < figures["waited_s"] < 20


def test_after_a_restart_of_the_server_workers_join_again_with_their_steps(start_ps, table_name: str) -> None:
    server = start_ps()
    with rowbank.Client(server.target) as client:
        settings = {"max_staleness_steps": 5, "lease_s": 30.0, "size": 2}
        with (
            WorkerGroup(client, table_name, "a", **settings) as a,
            WorkerGroup(client, table_name, "b", **settings) as b,
        ):
            a.wait_complete(timeout_s=20)
            server.kill()
            start_ps("--bind", server.target)
            with pytest.raises(DeadlineExceeded, match=r"worker 'a' has done 6 steps and waited .* for 'a'"):
                a.advance(6, timeout_s=0.2)  # Nobody else is back yet.
            b.advance(1)
            assert a.advance(6).steps == 5
            with pytest.raises(DeadlineExceeded, match="for 'b', which has done 1"):
                a.advance(7, timeout_s=0.2)
            assert (a.staleness.rejoins, b.staleness.rejoins) == (1, 1)


def test_arguments_are_checked_before_anything_is_sent(target: str) -> None:
    with rowbank.Client(target) as client:
        with pytest.raises(InvalidRequest, match="max_staleness_steps: expected an integer of at least 0, got -1"):
            WorkerGroup(client, "g", "w", max_staleness_steps=-1)
        with WorkerGroup(client, "lonely", "w", max_staleness_steps=1, size=2) as group:
            with pytest.raises(DeadlineExceeded, match="1 of 2 workers joined within 0 s; are all of them started"):
                group.wait_complete(timeout_s=0.1)
