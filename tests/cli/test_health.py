"""`status`, `stat` and `bigtables`: numbers by hand, exit codes, what is said of what is down."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import uuid

import numpy as np
import pytest
from tests.processes import until

from rowbank import SGD, Client, Eviction, TableSpec
from rowbank.cli.health.rates import Look, rates
from rowbank.diagnosis import MethodTimes, RedisHealth, ShardHealth, quantile_s

COMMAND = [sys.executable, "-m", "rowbank.cli"]
NOBODY = "127.0.0.1:9"  # The discard port: nothing listens there.


@pytest.fixture
def table(target):
    """100 rows of 4 float32 with SGD, pushed once, at half of its cap."""
    name = f"health-{uuid.uuid4().hex[:8]}"
    with Client(target) as client:
        spec = TableSpec(name, dim=4, optimizer=SGD(1.0), eviction=Eviction("lfu", max_rows=200))
        created = client.create_table(spec)
        created.push(np.arange(100), np.ones((100, 4), np.float32))
        yield created
        client.drop_table(name, missing_ok=True)


def ask(target: str, *arguments: str, redis: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ROWBANK_TARGETS": target, "ROWBANK_RETRIEVAL": NOBODY, "NO_COLOR": "1"}
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, env=environment, check=False)


def test_status_shows_shards_redis_and_tables(target, table):
    done = ask(target, "status", "-o", "json")
    told = json.loads(done.stdout)
    shard, redis = told["shards"][0], told["redis"][0]
    assert (shard["role"], shard["state"], shard["answers"], told["missing_shards"]) == ("owner", "serving", True, [])
    assert shard["push_p99_ms"] > 0
    assert (redis["reachable"], redis["policy"]) == (True, "noeviction")
    (mine,) = (one for one in told["tables"] if one["table"] == table.name)
    assert (mine["rows"], mine["pushed_rows"], mine["max_rows"], mine["fill_share"]) == (100, 100, 200, 0.5)
    assert told["retrieval"]["answers"] is False
    assert NOBODY in told["retrieval"]["detail"]
    assert done.returncode == (3 if told["status"] == "degraded" else 0)
    text = ask(target, "status").stdout
    assert [line for line in text.splitlines() if line in ("shards", "work", "redis", "tables", "models")] == [
        "shards", "work", "redis", "tables", "models",
    ]  # fmt: skip
    assert "not known: " in text
    (line,) = csv.DictReader(io.StringIO(ask(target, "status", "-o", "csv").stdout))
    assert (line["processes"], line["redis_reachable"]) == ("1", "True")


def test_status_says_that_redis_is_away_and_what_to_do(start_ps, own_redis):
    server = start_ps(redis=own_redis.url)
    own_redis.stop()

    def told() -> dict:
        done = ask(server.target, "status", "-o", "json")
        assert done.returncode == 3
        return json.loads(done.stdout)

    worst = told()["problems"][0]
    assert worst["severity"] == "fail"
    assert worst["what"].startswith("shard 0 cannot reach Redis: ")
    assert worst["do"] == "start Redis; reads go on from RAM"
    text = ask(server.target, "status").stdout
    assert text.startswith("degraded: ")


def test_status_says_which_shard_is_away(start_ps):
    first = start_ps("--shard", "0/2")
    second = start_ps("--shard", "1/2")
    second.kill()
    done = ask(f"{first.target},{second.target}", "status", "-o", "json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["status"], told["missing_shards"]) == (3, "degraded", [1])
    assert any(f"({second.target}) does not answer" in one["what"] for one in told["problems"])


def test_status_without_a_server_is_an_error():
    done = ask(NOBODY, "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "`rowbank up` starts one" in done.stderr


def test_bigtables_shows_bytes_a_row_and_overhead(answer, table):
    (mine,) = (one for one in answer("bigtables", "-n", "1000") if one["table"] == table.name)
    assert (mine["rows"], mine["payload_bytes"]) == (100, 100 * 4 * 4)
    assert mine["row_bytes"] == pytest.approx(mine["bytes"] / 100)
    assert mine["overhead_share"] == pytest.approx(mine["bytes"] / 1600 - 1)
    everything = answer("bigtables", "-n", "1000")
    assert sum(one["share"] for one in everything) == pytest.approx(1)
    sizes = [one["bytes"] for one in everything]
    assert sizes == sorted(sizes, reverse=True)


def test_stat_prints_what_happens(target, table):
    stop = threading.Event()

    def push() -> None:
        while not stop.wait(0.01):
            table.push(np.arange(100), np.zeros((100, 4), np.float32))

    pushing = threading.Thread(target=push)
    pushing.start()
    try:
        done = ask(target, "stat", table.name, "-i", "0.3", "--count", "2", "-o", "json")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        people = ask(target, "stat", "-i", "0.1", "--count", "3").stdout.splitlines()
    finally:
        stop.set()
        pushing.join()
    assert len(lines) == 2
    for line in lines:
        assert line["pushed_rows_per_s"] > 0
        assert line["pushes_per_s"] == pytest.approx(line["pushed_rows_per_s"] / 100, rel=0.5)
        assert 0 < line["push_p50_ms"] <= line["push_p99_ms"]
        assert (line["rows"], line["evicted_rows_per_s"], line["missing_shards"]) == (100, 0, [])
    assert people[0].split()[:2] == ["PULL/S", "ROWS/S"]
    assert len(people) == 4


def test_stat_goes_on_when_a_server_was_away(start_ps):
    """It is stopped, so that it does not answer, and goes on."""
    server = start_ps()
    environment = {**os.environ, "ROWBANK_TARGETS": server.target}
    command = [*COMMAND, "stat", "-i", "0.1", "-o", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as shown:
        first = json.loads(shown.stdout.readline())
        server.kill()
        again = start_ps("--bind", server.target)
        until(lambda: json.loads(shown.stdout.readline())["at_s"] > first["at_s"])
        shown.send_signal(signal.SIGINT)
        shown.communicate(timeout=60)
    assert again.target == server.target
    assert shown.returncode in (0, 3)


def test_quantiles_are_interpolated_in_their_bucket():
    """100 requests: 50 to 1 ms, 40 to 2 ms, 10 above the last bound."""
    bounds, counts = (0.001, 0.002), (50, 40, 10)
    assert quantile_s(bounds, counts, 0.25) == pytest.approx(0.0005)
    assert quantile_s(bounds, counts, 0.7) == pytest.approx(0.0015)
    assert quantile_s(bounds, counts, 0.99) == 0.002
    assert quantile_s(bounds, (0, 0, 0), 0.5) is None
    earlier = MethodTimes("Pull", 1, bounds, (10, 10, 0))
    assert MethodTimes("Pull", 3, bounds, counts).since(earlier) == MethodTimes("Pull", 2, bounds, (40, 30, 10))
    assert MethodTimes("Pull", 0, bounds, (1, 0, 0)).since(earlier).counts == (1, 0, 0)  # It started again.


def test_rates_survive_a_restart_and_leave_out_who_was_away():
    def health(shard: int, server_id: str, pulls: int) -> ShardHealth:
        times = (MethodTimes("Pull", 0, (0.001,), (pulls, 0)),)
        redis = RedisHealth(True, "", "7", "noeviction", 0, 0)
        return ShardHealth(shard, "", server_id, 0, 1.0, times, 5, 10, 0, 0.002, "", 0, 0.5, 0, 1, 0, redis)

    earlier = Look(10.0, {}, {0: health(0, "a", 100), 1: health(1, "b", 100)})
    now = Look(12.0, {}, {0: health(0, "a", 150), 1: health(1, "c", 8), 2: health(2, "d", 900)})
    told = rates(earlier, now)
    assert told["pulls_per_s"] == (50 + 8) / 2
    assert (told["journal_bytes"], told["journal_lag_ms"], told["write_back_lag_s"]) == (15, 2.0, 0.5)
