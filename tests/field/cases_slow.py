"""Something else is slow, dead or wrong: Redis, a shard, a stored byte, a port where nobody listens."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
from tests.field.case import Case, World
from tests.processes import PsProcess, UpProcess, stand_still, until
from tests.redis_nodes import RedisNode, free_ports
from tests.retrieval import support

from rowbank import SGD, Client, TableSpec


def _seconds(call: Any) -> float:
    started = time.monotonic()
    with contextlib.suppress(Exception):
        call()
    return time.monotonic() - started


def _verdict(took_s: float, limit_s: float) -> str:
    """Only whether it was in time: how much, depends on the machine."""
    return "in time" if took_s < limit_s else f"{took_s:.1f} s"


@contextlib.contextmanager
def _served(world: World) -> Iterator[tuple[httpx.Client, RedisNode, support.World]]:
    """A published model behind `rowbank up` with a Redis of its own."""
    redis = RedisNode(free_ports(1)[0], world.folder / "redis")
    # A budget that other work on the machine does not use up.
    budget = {"ROWBANK_API_QUERY_BUDGET_MS": "2000"}
    options = ("--redis", redis.url, "--data-dir", str(world.folder / "up"))
    up = UpProcess(*options, log=world.folder / "log", environment=budget)
    try:
        up.wait_ready()
        model = support.World(world.name.replace("_", "-"))
        with Client(up.target) as client:
            model.create_tables(client)
            model.write_features(client)
            _publish(client, model)
        with httpx.Client(base_url=up.http_url, timeout=60) as http:
            support.serving(http, "v1")
            support.post(http, "/v1/recommend", {"user_id": 3})
            yield http, redis, model
    finally:
        up.close()
        redis.close()


def _publish(client: Client, model: support.World) -> None:
    try:
        model.publish(client, "v1")
    except TypeError:  # Of a product whose versions own no rows.
        client.models.publish(model.manifest("v1"), model.files(), activate=True)


@contextlib.contextmanager
def _still(redis: RedisNode) -> Iterator[None]:
    pid = redis.client.info("server")["process_id"]
    stand_still(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _recommend_without_redis(world: World) -> str:
    with _served(world) as (http, redis, _), _still(redis):
        took_s = _seconds(lambda: http.post("/v1/recommend", json={"user_id": 3}))
        answer = http.post("/v1/recommend", json={"user_id": 3}).json()
        return f"{_verdict(took_s, 4.0)}, {answer['source']}, {answer['degraded']}"


def _write_without_redis(world: World) -> str:
    with _served(world) as (http, redis, _), _still(redis):
        started = time.monotonic()
        answer = http.put("/v1/items/100", json={"features": {"title": "x"}})
        return f"{_verdict(time.monotonic() - started, 4.0)}, {answer.status_code}"


def _bad_title(world: World) -> str:
    from rowbank_server.features import layout

    with _served(world) as (http, redis, model):
        key = layout.entity_key("item_id", 103, "rowbank")
        redis.client.hset(key, layout.feature_field("items", "title"), b"\xff\xff")
        redis.client.delete(layout.changes_key("rowbank", "items"))  # So that the service looks at everything.
        body = {"features": {"title": "New", "title_tokens": model.item_tokens[100]}}
        seen = http.get("/readyz").json()["index_version"]
        with contextlib.suppress(AssertionError):
            until(lambda: http.get("/readyz").json()["index_version"] != seen, timeout_s=25)
        assert http.put("/v1/items/5000", json=body).status_code == 200
        with contextlib.suppress(AssertionError):
            until(lambda: http.get("/v1/items/5000").json().get("indexed"), timeout_s=15)
        ready = http.get("/readyz").json()
        return f"{ready['items']} items, problem: {ready['problem'] or 'none'}"


def _nobody_listens(world: World) -> str:
    return _verdict(_seconds(lambda: Client("127.0.0.1:1", timeout_s=2)), 4.0)


def _mute_port(world: World) -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        return _verdict(_seconds(lambda: Client(address, timeout_s=2)), 4.0)


def _evicting_redis(world: World) -> str:
    redis = RedisNode(
        free_ports(1)[0], world.folder / "redis", "--maxmemory", "30mb", "--maxmemory-policy", "allkeys-lru"
    )
    server = PsProcess("--namespace", "x", redis_url=redis.url, log=world.folder / "log")
    try:
        server.wait_ready()
        return "started without a word" if "maxmemory" not in server.log else "started and warned"
    except AssertionError:
        return server.log.splitlines()[-1]
    finally:
        server.close()
        redis.close()


@contextlib.contextmanager
def _two_shards(world: World) -> Iterator[list[PsProcess]]:
    redis = RedisNode(free_ports(1)[0], world.folder / "redis")
    shards = [
        PsProcess("--namespace", "x", "--shard", f"{n}/2", redis_url=redis.url, log=world.folder / f"log{n}")
        for n in (0, 1)
    ]
    try:
        for shard in shards:
            shard.wait_ready()
        with Client([shard.target for shard in shards]) as client:
            table = client.create_table(TableSpec("t", dim=2, optimizer=SGD(1.0)))
            table.push(np.arange(100), np.ones((100, 2), np.float32))
        yield shards
    finally:
        for shard in shards:
            shard.close()
        redis.close()


def _command(targets: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ROWBANK_TARGETS": ",".join(targets), "NO_COLOR": "1"}
    run = [sys.executable, "-m", "rowbank.cli", *arguments]
    return subprocess.run(run, capture_output=True, text=True, env=environment, check=False)


def _one_of_two(*arguments: str) -> Any:
    def run(world: World) -> str:
        with _two_shards(world) as shards:
            shards[1].kill()
            done = _command([shard.target for shard in shards], *arguments)
            return f"{done.returncode}, {len(done.stdout.splitlines())} lines, {done.stderr.partition(' (')[0]}"

    return run


def _tables_without_redis(world: World) -> str:
    redis = RedisNode(free_ports(1)[0], world.folder / "redis")
    server = PsProcess("--namespace", "x", redis_url=redis.url, log=world.folder / "log")
    try:
        server.wait_ready()
        with Client(server.target) as client:
            client.create_table(TableSpec("t", dim=2))
        _command([server.target], "tables")  # Its modules are read from disk.
        with _still(redis):
            started = time.monotonic()
            done = _command([server.target], "tables")
            return f"{_verdict(time.monotonic() - started, 6.0)}, {done.returncode}, {'t' in done.stdout}"
    finally:
        server.close()
        redis.close()


def _feast_key(value_type: int, value: bytes) -> Any:
    def run(world: World) -> str:
        """One feature of user 7 as Feast's Redis store writes it (entity key serialization version 3)."""
        import struct

        from rowbank.features import FeatureField, FeatureView
        from rowbank_server.features import layout
        from rowbank_server.features.values import FeatureType, encode, encode_time

        redis = RedisNode(free_ports(1)[0], world.folder / "redis")
        server = PsProcess("--namespace", "shop", redis_url=redis.url, log=world.folder / "log")
        try:
            server.wait_ready()
            with Client(server.target) as client:
                client.features.put_view(FeatureView("users", "user_id", (FeatureField("age", "int64"),)))
                key = struct.pack("<III", 1, 2, 7) + b"user_id" + struct.pack("<II", value_type, len(value)) + value
                age = {layout.feature_field("users", "age"): encode(30, FeatureType.INT64)}
                fields: dict[Any, Any] = {**age, layout.timestamp_field("users"): encode_time(1e9)}
                redis.client.hset(key + b"shop", mapping=fields)
                (row,) = client.features.read("users", [7])
                return f"{row.status} {dict(row.values)}"
        finally:
            server.close()
            redis.close()

    return run


CASES = [
    Case(
        "recommend while Redis stands still", r"in time, personal, \['features:unavailable'\]", _recommend_without_redis
    ),
    Case("PUT an item while Redis stands still", r"in time, 503", _write_without_redis),
    Case("one stored title is no text", r"40 items, problem: none", _bad_title),
    Case("Client of a port where nobody listens, timeout_s=2", r"in time", _nobody_listens),
    Case("Client of a port that is mute, timeout_s=2", r"in time", _mute_port),
    Case(
        "maxmemory-policy allkeys-lru with 30 MB",
        r".*error: Redis evicts keys by itself .*allkeys-lru.*",
        _evicting_redis,
    ),
    Case("rowbank tables, one of two shards dead", r"3, 2 lines, degraded: shard 1", _one_of_two("tables")),
    Case("rowbank stats, one of two shards dead", r"3, 2 lines, degraded: shard 1", _one_of_two("stats")),
    Case("rowbank tables while Redis stands still", r"in time, 0, True", _tables_without_redis),
    Case("Feast's hash with an Int32 join key", r"present \{'age': 30\}", _feast_key(3, b"\x07\0\0\0")),
    Case("Feast's hash with a string join key", r"present \{'age': 30\}", _feast_key(2, b"7")),
]
