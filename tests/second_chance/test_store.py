"""The cold store: what it may take of Redis, what happens when Redis fails, and what takes its place."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
import redis as redis_package
from tests.journal.support import flush
from tests.processes import until
from tests.second_chance.support import MIB, chance, cold_keys, counts, restrict, stats, values_of
from tests.server.support import i64

from rowbank_protos.v1 import common_pb2, rows_pb2

OPTIONS = ("--flush-interval-s", "3600", "--second-chance-wait-ms", "10000")


@pytest.fixture
def redis(redis_url):
    path = redis_url.removeprefix("unix://").split("?")[0]
    with redis_package.Redis(unix_socket_path=path) as client:
        yield client


def memory(redis, namespace):
    return sum(redis.memory_usage(name, samples=0) for name in cold_keys(redis, namespace))


def test_it_keeps_within_its_bytes_and_the_oldest_go(wire, redis, namespace):
    """Of 40,000 evicted rows of 64 float32, 4 MiB have room for about 10,000: of those that went last."""
    wire.create("t", 64, eviction=chance(second_chance_bytes=4 * MIB))
    for start in range(0, 40_000, 2000):
        wire.push("t", list(range(start, start + 2000)), np.full((2000, 64), -1))
        assert restrict(wire, "t", 0) == 2000
        flush(wire)
    stored = sum(cold_keys(redis, namespace).values())
    taken = memory(redis, namespace)
    assert 0.6 * 4 * MIB < taken <= 4 * MIB
    one = stats(wire, "t")
    assert one.second_chance_rows == stored
    assert one.second_chance_expired == 40_000 - stored
    assert abs(one.second_chance_bytes - taken) < 0.3 * taken
    wire.push("t", list(range(39_000, 40_000)), np.full((1000, 64), -1))
    assert (wire.pull("t", list(range(39_000, 40_000)), dim=64)[0] == 2).all()
    wire.push("t", list(range(1000)), np.full((1000, 64), -1))
    assert (wire.pull("t", list(range(1000)), dim=64)[0] == 1).all()


def test_after_a_restart_the_ring_goes_on(start_ps, connect, redis, namespace):
    server = start_ps(*OPTIONS)
    for start in range(0, 9000, 1000):
        wire = connect(server.target)
        if not start:
            wire.create("t", 64, eviction=chance(second_chance_bytes=MIB))
        wire.push("t", list(range(start, start + 1000)), np.full((1000, 64), -1))
        restrict(wire, "t", 0)
        flush(wire)
        server.kill()
        server = start_ps(*OPTIONS)
    wire = connect(server.target)
    flush(wire)
    assert memory(redis, namespace) <= MIB
    wire.push("t", list(range(8500, 9000)), np.full((500, 64), -1))
    assert (wire.pull("t", list(range(8500, 9000)), dim=64)[0] == 2).all()


def test_without_redis_pushes_go_on_and_no_old_row_rises(start_ps, connect, own_redis):
    server = start_ps("--flush-interval-s", "3600", "--second-chance-wait-ms", "200", redis=own_redis.url)
    wire = connect(server.target)
    wire.create("t", 1, eviction=chance(), durability=common_pb2.DURABILITY_RELAXED)
    keys = list(range(20))
    wire.push("t", keys, [[-1]] * 20)
    restrict(wire, "t", 0)
    flush(wire)
    os.kill(own_redis.pid, signal.SIGKILL)
    started = time.monotonic()
    for key in keys[:10]:
        assert wire.pull("t", [key], dim=1)[0].tolist() == [[0]]
        wire.push("t", [key], [[-1]])
    assert time.monotonic() - started < 10
    until(lambda: own_redis.exit_status() is not None, what="the end of Redis")
    own_redis.restart()
    until(lambda: _flushed(wire), what="Redis")
    wire.push("t", keys, [[-1]] * 20)
    found = values_of(wire, "t", keys)
    assert (found[:10] == 2).all()
    assert set(found[10:].tolist()) <= {1.0, 2.0}  # If Redis lost writes, as far as anybody knows, all is forgotten.
    assert counts(wire, "t")[2] >= 10


def _flushed(wire):
    import grpc

    try:
        flush(wire)
    except grpc.RpcError:
        return False
    return True


def test_an_empty_redis_has_no_cold_rows_and_none_is_made_up(start_ps, connect, own_redis):
    server = start_ps(*OPTIONS, redis=own_redis.url)
    wire = connect(server.target)
    wire.create("t", 1, eviction=chance())
    wire.push("t", [1, 2, 3], [[-1]] * 3)
    restrict(wire, "t", 0)
    flush(wire)
    client = redis_package.Redis(unix_socket_path=own_redis.url.removeprefix("unix://").split("?")[0])
    client.flushall()
    until(lambda: _flushed(wire), what="everything written again")
    wire.push("t", [1, 2], [[-1]] * 2)
    assert values_of(wire, "t", [1, 2, 3]).tolist()[:2] == [1, 1]
    restrict(wire, "t", 0)
    flush(wire)
    wire.push("t", [1], [[-1]])
    assert values_of(wire, "t", [1]).tolist() == [2]


def test_damaged_copies_are_not_believed(wire, redis, namespace):
    wire.create("t", 1, eviction=chance())
    wire.push("t", [1, 2, 3], [[-4]] * 3)
    restrict(wire, "t", 0)
    flush(wire)
    for name in cold_keys(redis, namespace):
        for field, value in redis.hgetall(name).items():
            key = int.from_bytes(field, "little")
            if key == 1:
                redis.hset(name, field, value[:-1] + bytes([value[-1] ^ 1]))
            if key == 2:
                redis.hset(name, field, value[:10])
    wire.push("t", [1, 2, 3], [[-1]] * 3)
    assert values_of(wire, "t", [1, 2, 3]).tolist() == [1, 1, 5]
    assert counts(wire, "t") == (3, 1, 2, 0)


def test_lookups_and_exports_leave_cold_rows_out(wire):
    wire.create("t", 1, eviction=chance())
    wire.push("t", [1], [[-1]])
    restrict(wire, "t", 0)
    flush(wire)
    answer = wire.rows.Lookup(rows_pb2.LookupRequest(table="t", keys=i64(1)))
    assert answer.found == b"\0"
    assert list(wire.rows.Export(rows_pb2.ExportRequest(table="t"))) == []
