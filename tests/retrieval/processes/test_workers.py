"""Services of several workers: real processes that are asked, killed and stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
from tests.processes import stand_still, until
from tests.retrieval.processes.conftest import Published, workers_of
from tests.retrieval.processes.load import Load, ask_worker
from tests.retrieval.support import ApiProcess, get, post
from tests.server.test_redis_supervisor import alive

from rowbank_protos.v1 import retrieval_pb2, retrieval_pb2_grpc

Start = Callable[..., ApiProcess]
ASKED = {"user_id": 3, "k": 5}


def folders(tmp_path: Path) -> list[Path]:
    """The private folders of services, which tests have where `start_workers` says."""
    return list(tmp_path.glob("rowbank-api-*"))


def test_all_workers_answer_alike_and_tell_their_metrics_as_one(
    start_workers: Start, published: Published, tmp_path: Path
) -> None:
    api = start_workers("--grpc-bind", "127.0.0.1:0")
    expected = published.world.expected(published.world.user_vector(3), 5)[0]
    for worker in (0, 1):
        answer = ask_worker(api.url, worker, "POST", "/v1/recommend", ASKED)
        assert answer.headers["x-rowbank-worker"] == str(worker)
        assert [item["id"] for item in answer.json()["items"]] == expected
        health = ask_worker(api.url, worker, "GET", "/readyz").json()
        assert health["workers"] == [{"worker": number, "status": "ready", "model_version": "v1"} for number in (0, 1)]
        metrics = ask_worker(api.url, worker, "GET", "/metrics").text
        for number in (0, 1):
            assert f'rowbank_api_worker_up{{worker="{number}"}} 1.0' in metrics
            assert f'rowbank_api_worker_starts{{worker="{number}"}} 1.0' in metrics
        assert 'rowbank_retrieval_answers_total{worker="0",source="personal"} 1.0' in metrics
    with grpc.insecure_channel(api.grpc_target) as channel:
        stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
        found = stub.Recommend(retrieval_pb2.RecommendRequest(user_id=3, k=5))
        assert [item.item_id for item in found.items] == expected
    [folder] = folders(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700
    pids = workers_of(api.pid)
    assert len(pids) == 2
    assert api.terminate() == 0, api.log
    assert folders(tmp_path) == []
    assert not [pid for pid in pids.values() if alive(pid)]
    assert "Traceback" not in api.log


def test_one_worker_builds_an_index_that_all_map(start_workers: Start, tmp_path: Path) -> None:
    api = start_workers()
    [folder] = folders(tmp_path)

    def mapped(pid: int) -> set[str]:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        return {line.split()[-1] for line in lines if str(folder / "index") in line and not line.endswith("(deleted)")}

    first, second = workers_of(api.pid).values()
    until(lambda: mapped(first) and mapped(first) == mapped(second), what="the same files in both workers")
    assert api.terminate() == 0, api.log
    assert folders(tmp_path) == []


def test_a_batch_is_of_one_version_whoever_answers(start_workers: Start, published: Published) -> None:
    api = start_workers()
    load = Load(api.url, {"requests": [ASKED, {"user_id": 4, "k": 3}]}, path="/v1/recommend:batch", callers=4)
    until(lambda: load.answers > 20, what="load")
    load.stop()
    assert load.statuses == {200}
    with httpx.Client(base_url=api.url) as http:
        answers = post(http, "/v1/recommend:batch", {"requests": [ASKED] * 8})["answers"]
    assert {answer["model_version"] for answer in answers} == {"v1"}
    assert not load.lost


def test_a_killed_worker_loses_its_own_requests_at_most_and_comes_back(start_workers: Start) -> None:
    api = start_workers()
    load = Load(api.url, ASKED)
    until(lambda: {outcome.worker for outcome in load.outcomes} >= {"0", "1"}, what="load on both workers")
    pids = workers_of(api.pid)
    held = sum(not outcome.lost for outcome in load.outcomes)
    os.kill(pids[0], signal.SIGKILL)
    until(lambda: "serves again" in api.log, what="restart")
    before = load.answers
    until(lambda: load.answers > before + 50, what="load afterwards")
    load.stop()
    assert load.statuses == {200}
    assert not [outcome for outcome in load.outcomes if outcome.refused]
    # All of them the killed one's, one per connection; a connection that never had an answer knows no worker.
    assert len({outcome.worker for outcome in load.lost} - {""}) <= 1
    assert len(load.lost) <= held
    with httpx.Client(base_url=api.url) as http:
        told = until_all_up(http).splitlines()
    starts = [line.split()[-1] for line in told if line.startswith("rowbank_api_worker_starts{")]
    assert sorted(starts) == ["1.0", "2.0"]
    assert api.terminate() == 0, api.log
    assert "ended with signal 9 and is started again" in api.log


def until_all_up(http: httpx.Client) -> str:
    """The metrics, once both workers tell theirs."""
    found: list[str] = []

    def both() -> bool:
        found.append(http.get("/metrics").text)
        return all(f'rowbank_api_worker_up{{worker="{worker}"}} 1.0' in found[-1] for worker in (0, 1))

    until(both, what="metrics of both workers")
    return found[-1]


def test_one_that_stands_still_costs_the_others_nothing(start_workers: Start) -> None:
    api = start_workers()
    pids = workers_of(api.pid)
    with httpx.Client(base_url=api.url, timeout=30) as http:
        own = int(http.get("/healthz").headers["x-rowbank-worker"])  # The connection leads to this one from now on.
        still = next(pid for pid in pids.values() if _number(pid, api) != own)
        stand_still(still)
        try:
            for _ in range(8):  # New connections are taken by who is free.
                with httpx.Client(base_url=api.url, timeout=30) as new:
                    assert post(new, "/v1/recommend", ASKED)["source"] == "personal"
            health = get(http, "/readyz")
            assert [worker["status"] for worker in health["workers"]].count("silent") == 1
            metrics = http.get("/metrics").text
            assert f'rowbank_api_worker_up{{worker="{1 - own}"}} 0.0' in metrics
            unanswered = f'rowbank_api_worker_unanswered_total{{worker="{own}",sibling="{1 - own}"}}'
            assert unanswered in http.get("/metrics").text
        finally:
            os.kill(still, signal.SIGCONT)
        until_all_up(http)
    assert api.terminate() == 0, api.log


def _number(pid: int, api: ApiProcess) -> int:
    """Which worker a process is, by the socket that it listens on."""
    inodes = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.exists() or link.is_symlink()}
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if len(fields) == 8 and "/worker-" in fields[7] and f"socket:[{fields[6]}]" in inodes:
            return int(fields[7].rsplit("-", 1)[1])
    raise AssertionError(f"process {pid} listens on no worker's socket; log:\n{api.log}")


def test_workers_end_with_their_parent_however_it_ends(start_workers: Start, tmp_path: Path) -> None:
    api = start_workers()
    pids = list(workers_of(api.pid).values())
    stand_still(pids[1])  # Also one that would not hear a request to end.
    api.kill()
    until(lambda: not [pid for pid in pids if alive(pid)], what="end of the workers")
    [left] = folders(tmp_path)
    again = start_workers(model=False)
    assert left not in folders(tmp_path)
    assert again.terminate() == 0


def test_workers_that_cannot_start_are_told_at_once(start_workers: Start, tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise SystemExit(7)")  # The parent does not need it.
    api = start_workers(wait=False, environment={"PYTHONPATH": str(tmp_path)})
    assert api.wait() == 1
    assert "ended with status 7 before it served; see its messages above" in api.log
    assert api.log.count("error: ") == 1
    assert "Traceback" not in api.log
    assert folders(tmp_path) == []


def test_workers_that_cannot_be_kept_running_are_given_up(start_workers: Start, tmp_path: Path) -> None:
    api = start_workers(environment={"PYTHONPATH": str(tmp_path)})
    (tmp_path / "onnxruntime.py").write_text("raise SystemExit(7)")
    for pid in workers_of(api.pid).values():
        os.kill(pid, signal.SIGKILL)
    assert api.wait() == 1
    assert "error: none of 2 workers can be kept running: each ended 5 times or more in a row" in api.log
    assert "Traceback" not in api.log


def test_what_is_wrong_is_said_once(start_workers: Start, published: Published) -> None:
    api = start_workers("--redis", "redis://127.0.0.1:1", wait=False)
    assert api.wait() == 1
    assert api.log.count("error: ") == 1
    for option in ("--bind", "--grpc-bind"):
        taken = start_workers(option, published.target, wait=False)
        assert taken.wait() == 1
        assert "is in use" in taken.log
        assert taken.log.count("error: ") == 1


def test_a_folder_whose_name_is_too_long_for_sockets_is_refused(start_workers: Start, tmp_path: Path) -> None:
    long = tmp_path / ("long-" * 20)
    long.mkdir()
    api = start_workers(wait=False, environment={"TMPDIR": str(long)})
    assert api.wait() == 1
    assert f"error: TMPDIR: {long} is too long" in api.log
    assert "name a shorter one" in api.log
    assert "Traceback" not in api.log
    assert list(long.iterdir()) == []
