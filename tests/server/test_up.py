"""Everything on one machine: started, watched, stopped and started again."""

from __future__ import annotations

import os
import signal
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest
from tests.processes import UpProcess, until
from tests.server.support import adam, exported, uniform
from tests.server.test_redis_faults import flushed
from tests.server.test_redis_supervisor import alive
from tests.server.test_restart import train

from rowbank_protos.v1 import admin_pb2, retrieval_pb2, retrieval_pb2_grpc


def children(pid: int) -> dict[str, int]:
    """The processes below `pid` by what they are: ps, api, redis."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
        found[words[3] if words[1:3] == ["-m", "rowbank_server"] else "redis"] = int(child)
    return found


@pytest.fixture
def start_up(tmp_path):
    started: list[UpProcess] = []

    def start(*arguments: str) -> UpProcess:
        options = ["--data-dir", str(tmp_path / "data"), *arguments]
        started.append(UpProcess(*options, log=tmp_path / f"up{len(started)}.log"))
        return started[-1]

    yield start
    for server in started:
        server.close()


def test_all_is_back_bit_for_bit_after_a_stop(start_up, connect):
    server = start_up().wait_ready()
    assert set(children(server.pid)) == {"redis", "ps", "api"}
    with urllib.request.urlopen(server.http_url + "/healthz", timeout=10) as answer:
        assert answer.status == 200
    wire = connect(server.target)
    wire.create("t", 6, optimizer=adam(), initializer=uniform())
    train(wire, "t", steps=5)
    before = exported(wire, "t")
    pids = children(server.pid).values()
    assert server.terminate() == 0
    assert not [pid for pid in pids if alive(pid)]
    assert " ERROR " not in server.log
    again = start_up().wait_ready()
    assert exported(connect(again.target), "t") == before


def test_retrieval_answers_over_grpc_unless_told_otherwise(start_up, tmp_path):
    server = start_up().wait_ready()
    with grpc.insecure_channel(server.retrieval_target) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            retrieval_pb2_grpc.RetrievalServiceStub(channel).Recommend(retrieval_pb2.RecommendRequest(user_id=1))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "no active version of model 'two_tower'" in (refused.value.details() or "")
    assert server.terminate() == 0
    assert "retrieval_grpc=" not in start_up("--retrieval-grpc-bind", "").ready_line()


def test_a_crash_of_redis_is_mended_and_one_of_a_server_ends_all(start_up, connect):
    server = start_up().wait_ready()
    wire = connect(server.target)
    wire.create("t")
    wire.push("t", [1, 2], np.ones((2, 2)))
    pids = children(server.pid)
    os.kill(pids["redis"], signal.SIGKILL)
    until(lambda: children(server.pid).get("redis", pids["redis"]) != pids["redis"], what="restart of Redis")
    until(lambda: flushed(wire), what="reconnect")
    wire.push("t", [1], [[1, 1]])
    assert wire.pull("t", [1, 2])[0].tolist() == [[-2, -2], [-1, -1]]
    os.kill(pids["ps"], signal.SIGKILL)
    assert server.wait() == 1
    assert "error: rowbank-ps ended by itself with status -9" in server.log
    assert "Traceback" not in server.log
    assert not [pid for pid in pids.values() if alive(pid)]


def test_a_kill_takes_all_with_it_and_the_directory_can_be_used_again(start_up, connect):
    server = start_up().wait_ready()
    wire = connect(server.target)
    wire.create("t")
    wire.push("t", [1], [[1, 1]])
    wire.admin.Flush(admin_pb2.FlushRequest())
    pids = children(server.pid)
    server.kill()
    until(lambda: not [pid for pid in pids.values() if alive(pid)], what="end of the children")
    again = start_up().wait_ready()
    assert connect(again.target).pull("t", [1])[0].tolist() == [[-1, -1]]
