"""Redis away, killed, emptied or set back: nothing that is in RAM is lost."""

from __future__ import annotations

import os
import shutil
import signal

import numpy as np
import pytest
import redis
from tests.processes import until
from tests.server.support import exported, i64, refused

from rowbank.errors import RedisUnavailable
from rowbank_protos.v1 import admin_pb2, common_pb2, rows_pb2, tables_pb2
from rowbank_server.redis_supervisor import EmbeddedRedis


def kill(server: EmbeddedRedis) -> None:
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: server.exit_status() is not None, what="end of Redis")


def flushed(wire) -> bool:
    try:
        wire.admin.Flush(admin_pb2.FlushRequest())
    except Exception:
        return False
    return True


def tables(wire) -> list[str]:
    return [info.spec.name for info in wire.tables.ListTables(tables_pb2.ListTablesRequest()).tables]


@pytest.fixture
def server(start_ps, own_redis):
    return start_ps(redis=own_redis.url)


@pytest.fixture
def wire(server, connect):
    """A server with table t: keys 0..99 pushed once, 90..99 removed, all written back; table `gone` was dropped."""
    wire = connect(server.target)
    for name in ("t", "gone"):
        wire.create(name)
        wire.push(name, list(range(100)), np.ones((100, 2)))
    wire.admin.Flush(admin_pb2.FlushRequest())
    return wire


def finish(wire) -> None:
    wire.rows.Remove(rows_pb2.RemoveRequest(table="t", keys=i64(*range(90, 100))))
    wire.tables.DropTable(tables_pb2.DropTableRequest(name="gone"))
    wire.push("t", list(range(50)), np.ones((50, 2)))
    wire.admin.Flush(admin_pb2.FlushRequest())


def assert_all_is_there(wire) -> None:
    assert tables(wire) == ["t"]
    values = wire.pull("t", list(range(100)))[0][:, 0]
    assert values.tolist() == [-2] * 50 + [-1] * 40 + [0] * 10
    assert wire.size("t") == 90


def test_reads_and_pushes_go_on_while_redis_is_away(wire, own_redis, server, start_ps, connect):
    """Of a relaxed table; a journaled one refuses pushes meanwhile, see tests/journal."""
    finish(wire)
    spec = wire.tables.GetTable(tables_pb2.GetTableRequest(name="t")).table.spec
    spec.durability = common_pb2.DURABILITY_RELAXED
    wire.tables.UpdateTable(tables_pb2.UpdateTableRequest(spec=spec))
    kill(own_redis)
    assert_all_is_there(wire)
    wire.push("t", [0], [[5, 5]])
    with refused(RedisUnavailable, "Redis failed"):
        wire.create("new")
    with refused(RedisUnavailable):
        wire.size("new")
    with refused(RedisUnavailable):
        wire.admin.ListEvictions(admin_pb2.ListEvictionsRequest())
    until(lambda: not wire.admin.GetStats(admin_pb2.GetStatsRequest()).redis_connected, what="notice")
    wire.admin.Restrict(admin_pb2.RestrictRequest(table="t", num_reserved=50))
    own_redis.restart()
    until(lambda: flushed(wire), what="flush")
    (event,) = wire.admin.ListEvictions(admin_pb2.ListEvictionsRequest()).events
    assert (event.table, event.rows) == ("t", 40)
    assert server.log.count("write-back failed") == 1
    before = exported(wire, "t")
    server.kill()
    again = connect(start_ps(redis=own_redis.url).target)
    assert exported(again, "t") == before
    assert again.pull("t", [0])[0].tolist() == [[-7, -7]]


def test_dirty_rows_are_bounded_while_redis_is_away(start_ps, own_redis, connect):
    wire = connect(start_ps("--max-dirty-rows", "10", redis=own_redis.url).target)
    wire.create("t", durability=common_pb2.DURABILITY_RELAXED)
    kill(own_redis)
    wire.push("t", list(range(10)), np.ones((10, 2)))
    until(lambda: not wire.admin.GetStats(admin_pb2.GetStatsRequest()).redis_connected, what="notice")
    with refused(RedisUnavailable, "max_dirty_rows", "at most 10"):
        wire.push("t", [0], [[1, 1]])
    assert wire.pull("t", [0, 9])[0].tolist() == [[-1, -1]] * 2
    own_redis.restart()
    until(lambda: wire.admin.GetStats(admin_pb2.GetStatsRequest()).redis_connected, what="reconnect")
    wire.push("t", [0], [[1, 1]])


@pytest.mark.parametrize("how", ["flushall", "restarted empty"])
def test_redis_that_comes_back_empty_is_filled_again(wire, how, own_redis, server, start_ps, connect):
    finish(wire)
    if how == "flushall":
        with redis.Redis.from_url(own_redis.url) as client:
            client.flushall()
    else:
        kill(own_redis)
        shutil.rmtree(own_redis.data_dir / "redis")
        (own_redis.data_dir / "redis").mkdir()
        own_redis.restart()
    until(lambda: "wrote 90 rows of 1 tables again" in server.log, what="rewrite")
    assert_all_is_there(wire)
    # A table created in what was an empty catalog gets an id that no table in RAM has.
    ids = {wire.create("new").table_id, wire.tables.GetTable(tables_pb2.GetTableRequest(name="t")).table.table_id}
    assert len(ids) == 2
    wire.tables.DropTable(tables_pb2.DropTableRequest(name="new"))
    wire.admin.Flush(admin_pb2.FlushRequest())
    server.kill()
    assert_all_is_there(connect(start_ps(redis=own_redis.url).target))


def test_redis_that_comes_back_older_is_brought_up_to_date(wire, own_redis, server, start_ps, connect):
    """Rows removed and tables dropped since that copy do not rise again."""
    with redis.Redis.from_url(own_redis.url) as client:
        copy = {key: client.dump(key) for key in client.scan_iter("*")}
        finish(wire)
        pipeline = client.pipeline(transaction=True)
        pipeline.flushall()
        for key, value in copy.items():
            pipeline.restore(key, 0, value)
        pipeline.execute()
    until(lambda: "wrote 90 rows of 1 tables again" in server.log, what="rewrite")
    assert_all_is_there(wire)
    server.kill()
    assert_all_is_there(connect(start_ps(redis=own_redis.url).target))


def test_tables_can_be_created_the_moment_redis_is_empty(start_ps, own_redis, connect):
    """Even before the next write-back notices: the id must not be one that a table in RAM has."""
    wire = connect(start_ps("--flush-interval-s", "3600", redis=own_redis.url).target)
    first = wire.create("first")
    with redis.Redis.from_url(own_redis.url) as client:
        client.flushall()
    second = wire.create("second")
    assert second.table_id != first.table_id
    assert tables(wire) == ["first", "second"]


def test_a_shard_that_was_replaced_writes_nothing_and_ends(start_ps, connect, redis_url, namespace):
    old = start_ps()
    wire = connect(old.target)
    wire.create("t")
    wire.push("t", [1], [[1, 1]])
    wire.admin.Flush(admin_pb2.FlushRequest())
    new = connect(start_ps().target)
    new.push("t", [1], [[1, 1]])
    new.admin.Flush(admin_pb2.FlushRequest())
    assert old.wait() == 1
    assert "another process" in old.log
    assert new.pull("t", [1])[0].tolist() == [[-2, -2]]
