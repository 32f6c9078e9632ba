"""SIGTERM under load: every request that was sent is answered."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from tests.processes import stand_still, until
from tests.retrieval.processes.conftest import workers_of
from tests.retrieval.processes.load import Load
from tests.retrieval.support import ApiProcess
from tests.server.test_redis_supervisor import alive

from rowbank_protos.v1 import retrieval_pb2, retrieval_pb2_grpc

Start = Callable[..., ApiProcess]
ASKED = {"user_id": 3, "k": 5}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_request_is_lost(start_workers: Start, workers: str) -> None:
    api = start_workers("--workers", workers)
    load = Load(api.url, ASKED, callers=16)
    until(lambda: load.answers > 200, what="load")
    assert api.terminate() == 0, api.log
    load.stop()
    assert load.statuses == {200}
    assert load.lost == []
    assert sum(outcome.refused for outcome in load.outcomes) == 16  # Each ended only when nobody listened any more.
    assert "Traceback" not in api.log


def test_calls_over_grpc_end_before_the_process_does(start_workers: Start) -> None:
    api = start_workers("--grpc-bind", "127.0.0.1:0")
    with grpc.insecure_channel(api.grpc_target) as channel:
        stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
        stub.Recommend(retrieval_pb2.RecommendRequest(user_id=3))
        calls = [stub.Recommend.future(retrieval_pb2.RecommendRequest(user_id=3)) for _ in range(50)]
        calls[0].result()
        assert api.terminate() == 0, api.log
        assert {call.code() for call in calls} == {grpc.StatusCode.OK}


def test_a_second_signal_ends_all_at_once(start_workers: Start, tmp_path: Path) -> None:
    api = start_workers()
    pids = list(workers_of(api.pid).values())
    stand_still(pids[0])  # Its drain would take for ever.
    api.process.send_signal(signal.SIGTERM)
    until(lambda: not alive(pids[1]), what="drain of the other worker")
    api.process.send_signal(signal.SIGTERM)
    assert api.wait() == 128 + signal.SIGTERM
    until(lambda: not alive(pids[0]), what="end of the worker")
    assert "rowbank-api: second signal, ending at once" in api.log
    assert list(tmp_path.glob("rowbank-api-*")) == []


def test_one_that_does_not_end_in_time_is_killed_and_told(start_workers: Start) -> None:
    api = start_workers("--drain-timeout-s", "0.1")
    pids = list(workers_of(api.pid).values())
    stand_still(pids[0])
    assert api.terminate() == 1
    assert "did not end in time and is killed" in api.log
    assert not alive(pids[0])
