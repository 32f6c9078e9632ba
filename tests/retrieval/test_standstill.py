"""Redis or a shard that stands still (SIGSTOP): every answer within its budget, and nearly none of that once known."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import redis
from tests.processes import PsProcess, stand_still
from tests.retrieval.support import ApiProcess, World, get, post, serving, until

import rowbank
from rowbank_protos.v1 import retrieval_pb2 as pb
from rowbank_protos.v1 import retrieval_pb2_grpc
from rowbank_server.redis_supervisor import EmbeddedRedis

BUDGET_S = 1.0
# What the machine may add where other work runs beside: the budget says how long to wait, not how long to compute.
SLACK_S = 1.0
REDIS_WAIT_S = 1.0


@contextlib.contextmanager
def standing_still(pid: int) -> Iterator[None]:
    stand_still(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def world(namespace: str) -> World:
    return World(namespace)


@pytest.fixture
def ps(start_ps: Callable[..., PsProcess], own_redis: EmbeddedRedis) -> PsProcess:
    return start_ps(redis=own_redis.url)


@pytest.fixture
def api(own_redis: EmbeddedRedis, ps: PsProcess, namespace: str, world: World, tmp_path: Path) -> Iterator[ApiProcess]:
    with rowbank.Client(ps.target) as client:
        world.create_tables(client)
        world.write_features(client)
        world.publish(client, "v1")
    options = ("--query-budget-ms", str(BUDGET_S * 1e3), "--redis-wait-s", str(REDIS_WAIT_S))
    api = ApiProcess(
        *options,
        *("--grpc-bind", "127.0.0.1:0", "--popularity-interval-s", "3600"),
        redis_url=own_redis.url,
        target=ps.target,
        namespace=namespace,
        log=tmp_path / "api.log",
    )
    try:
        yield api.wait_ready()
        assert api.terminate() == 0, api.log
    finally:
        api.close()


@pytest.fixture
def http(api: ApiProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api.url, timeout=60) as http:
        serving(http, "v1")
        until(lambda: post(http, "/v1/recommend", {"user_id": 3})["degraded"] == [])
        yield http


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.monotonic()
    answer = call()
    return time.monotonic() - started, answer


def threads_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def test_redis_that_stands_still_costs_no_answer_more_than_its_budget(
    http: httpx.Client, api: ApiProcess, own_redis: EmbeddedRedis, world: World
) -> None:
    personal = world.expected(world.user_vector(3), 5)[0]
    with standing_still(own_redis.pid):
        for _ in range(10):
            took_s, answer = timed(lambda: post(http, "/v1/recommend", {"user_id": 3, "k": 5}))
            assert (answer["source"], answer["degraded"]) == ("personal", ["features:unavailable"])
            assert [item["id"] for item in answer["items"]] == personal
            assert took_s < BUDGET_S + SLACK_S
        # The breaker is open: what the next answers wait for together is far from what one read may take.
        took_s, _ = timed(lambda: [post(http, "/v1/recommend", {"user_id": 3}) for _ in range(20)])
        assert took_s < 20 * BUDGET_S / 4
        assert 'rowbank_breaker_open{part="features"} 1.0' in http.get("/metrics").text
        for path in ("/healthz", "/readyz"):
            took_s, _ = timed(functools.partial(get, http, path))
            assert took_s < SLACK_S
        with httpx.Client(base_url=api.url, timeout=60) as other:  # Whoever asks nothing of Redis is not concerned.
            assert post(other, "/v1/similar", {"item_ids": [107], "k": 3})["degraded"] == []
    until(lambda: post(http, "/v1/recommend", {"user_id": 3})["degraded"] == [])
    assert 'rowbank_breaker_open{part="features"} 0.0' in http.get("/metrics").text


def test_twenty_at_once_while_redis_stands_still(http: httpx.Client, api: ApiProcess, own_redis: EmbeddedRedis) -> None:
    before = threads_of(api.pid)
    together = threading.Barrier(20)

    def ask(user: int) -> tuple[float, Any]:
        with httpx.Client(base_url=api.url, timeout=60) as own:
            get(own, "/healthz")  # It is connected.
            together.wait()
            return timed(lambda: post(own, "/v1/recommend", {"user_id": user % 12 + 1, "k": 5}))

    with concurrent.futures.ThreadPoolExecutor(20) as pool, standing_still(own_redis.pid):
        answers = list(pool.map(ask, range(20)))
        assert [answer["degraded"] for _, answer in answers] == [["features:unavailable"]] * 20
        assert max(took_s for took_s, _ in answers) < BUDGET_S + SLACK_S
        assert threads_of(api.pid) <= before + 2  # No thread per request is left behind.


def test_both_stand_still(http: httpx.Client, own_redis: EmbeddedRedis, ps: PsProcess, world: World) -> None:
    with standing_still(own_redis.pid), standing_still(ps.pid):
        for _ in range(3):
            took_s, answer = timed(lambda: post(http, "/v1/recommend", {"user_id": 3, "k": 5}))
            assert (answer["source"], answer["degraded"]) == ("popular", ["features:unavailable", "rows:unavailable"])
            assert [item["id"] for item in answer["items"]] == world.items[:5].tolist()
            assert took_s < BUDGET_S + SLACK_S
    until(lambda: post(http, "/v1/recommend", {"user_id": 3})["degraded"] == [])


def test_a_shard_that_stands_still_costs_no_answer_more_than_its_budget(
    http: httpx.Client, ps: PsProcess, world: World
) -> None:
    near = world.expected(world.vectors(world.histories[3]).mean(axis=0), 4)[0]
    with standing_still(ps.pid):
        for _ in range(5):
            took_s, answer = timed(lambda: post(http, "/v1/recommend", {"user_id": 3, "k": 4}))
            assert (answer["source"], answer["degraded"]) == ("session", ["rows:unavailable"])
            assert [item["id"] for item in answer["items"]] == near
            assert took_s < BUDGET_S + SLACK_S
        took_s, _ = timed(lambda: [post(http, "/v1/recommend", {"user_id": 3}) for _ in range(20)])
        assert took_s < 20 * BUDGET_S / 4
    until(lambda: post(http, "/v1/recommend", {"user_id": 3})["degraded"] == [])


def test_endpoints_that_need_redis_say_so_in_time(
    http: httpx.Client, api: ApiProcess, own_redis: EmbeddedRedis
) -> None:
    before = threads_of(api.pid)
    calls = [
        lambda own: own.get("/v1/items/100"),
        lambda own: own.put("/v1/items/100", json={"features": {"title": "x"}}),
        lambda own: own.delete("/v1/items/100"),
        lambda own: own.get("/v1/users/3"),
        lambda own: own.put("/v1/users/3", json={"features": {"history": [100]}}),
        lambda own: own.post("/v1/events", json={"events": [{"user_id": 3, "item_id": 100}]}),
        lambda own: own.get("/v1/models"),
        lambda own: own.post("/v1/models/v1/activate"),
    ]

    def ask(number: int) -> tuple[float, httpx.Response]:
        with httpx.Client(base_url=api.url, timeout=60) as own:
            return timed(lambda: calls[number % len(calls)](own))

    with concurrent.futures.ThreadPoolExecutor(24) as pool, standing_still(own_redis.pid):
        for took_s, answer in pool.map(ask, range(24)):
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:rowbank:problem:redis-unavailable")
            assert answer.headers["retry-after"] == "1"
            assert took_s < REDIS_WAIT_S + SLACK_S
        assert threads_of(api.pid) <= before + 2
    until(lambda: http.get("/v1/users/3").status_code == 200)


def test_an_activation_takes_its_time_while_redis_answers_and_no_longer(
    http: httpx.Client, own_redis: EmbeddedRedis
) -> None:
    """Paused writes are what keeps it from its end here; reads go on."""
    with redis.Redis.from_url(own_redis.url) as connection, concurrent.futures.ThreadPoolExecutor(1) as pool:

        def begun() -> concurrent.futures.Future[tuple[float, httpx.Response]]:
            activation = pool.submit(timed, lambda: http.post("/v1/models/v1/activate"))
            until(lambda: any("b" in one["flags"] for one in connection.client_list()))
            return activation

        connection.client_pause(int(2e3 * REDIS_WAIT_S), all=False)
        took_s, answer = begun().result()
        assert (answer.status_code, took_s > REDIS_WAIT_S) == (200, True)
        connection.client_pause(60_000, all=False)
        activation = begun()
        with standing_still(own_redis.pid):
            took_s, answer = timed(lambda: activation.result()[1])
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:rowbank:problem:redis-unavailable")
            assert took_s < REDIS_WAIT_S + SLACK_S
        connection.client_unpause()


def test_grpc_answers_within_the_budget_too(http: httpx.Client, api: ApiProcess, own_redis: EmbeddedRedis) -> None:
    port = re.search(r"gRPC at 127\.0\.0\.1:(\d+)", api.log)
    assert port
    with grpc.insecure_channel(f"127.0.0.1:{port[1]}") as channel:
        stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
        assert not stub.Recommend(pb.RecommendRequest(user_id=3)).degraded
        with standing_still(own_redis.pid):
            took_s, answer = timed(lambda: stub.Recommend(pb.RecommendRequest(user_id=3), timeout=30))
            assert list(answer.degraded) == ["features:unavailable"]
            assert took_s < BUDGET_S + SLACK_S


def test_callers_who_wait_for_less_are_told_so(http: httpx.Client, own_redis: EmbeddedRedis) -> None:
    """It says nothing of Redis, which others may have more time for."""
    little = {"x-request-timeout-ms": "200"}
    with standing_still(own_redis.pid):
        for call in (
            lambda: http.get("/v1/users/3", headers=little),
            lambda: http.put("/v1/items/100", json={"features": {"title": "x"}}, headers=little),
            lambda: http.post("/v1/items:import", content=b'{"id": 100, "features": {"title": "x"}}', headers=little),
            lambda: http.get("/v1/filters", headers=little),
        ):
            answer = call()
            assert (answer.status_code, answer.json()["type"]) == (504, "urn:rowbank:problem:deadline-exceeded")
            assert "what was begun may still be done" in answer.json()["detail"]
        assert 'rowbank_breaker_open{part="endpoints"} 0.0' in http.get("/metrics").text
    until(lambda: http.get("/v1/users/3").status_code == 200)
