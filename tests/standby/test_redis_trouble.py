"""Redis is killed, or comes back empty or older, around a take-over: what the standby has in RAM is there later."""

from __future__ import annotations

import os
import shutil
import signal

import numpy as np
from redis import Redis
from tests.journal.support import flush
from tests.processes import stand_still, until
from tests.server.support import exported, i64
from tests.standby.support import caught_up, go_on, info, owner_of, role, stop, takes_over, took_over_without_load

from rowbank_protos.v1 import admin_pb2, common_pb2, rows_pb2
from rowbank_server.redis_supervisor import EmbeddedRedis


def kill_redis(redis):
    os.kill(redis.pid, signal.SIGKILL)
    until(lambda: redis.exit_status() is not None, what="end of Redis")


def fill(wire):
    wire.create("t", 1)
    wire.create("relaxed", 1, durability=common_pb2.DURABILITY_RELAXED)
    for table in ("t", "relaxed"):
        wire.push(table, list(range(100)), np.full((100, 1), -1))
    flush(wire)
    for table in ("t", "relaxed"):
        wire.rows.Remove(rows_pb2.RemoveRequest(table=table, keys=i64(1)))
        wire.push(table, [2, 1000], [[-1], [-1]])


def everything(wire):
    return exported(wire, "t"), exported(wire, "relaxed")


def writes_everything_again(standby, before, connect, start_cold):
    """The standby takes over with what it has, and tells Redis, from which one that starts cold has it."""
    takes_over(standby)
    assert "Redis lost writes" in standby.log
    wire = connect(standby.target)
    assert everything(wire) == before
    flush(wire)
    standby.kill()
    cold = start_cold()
    owner_of(cold)
    assert everything(connect(cold.target)) == before


def test_redis_and_owner_are_killed_at_once(pair, connect, own_redis):
    owner, standby = pair(redis=own_redis.url)
    wire = connect(owner.target)
    fill(wire)
    before = everything(wire)
    caught_up(standby, owner)
    kill_redis(own_redis)
    owner.kill()
    own_redis.restart()
    takes_over(standby)
    assert everything(connect(standby.target)) == before
    assert took_over_without_load(standby)


def test_redis_is_killed_during_a_take_over(pair, connect, own_redis):
    """It stands still while the owner is killed, so that the take-over waits for it, and is killed then."""
    owner, standby = pair("--redis-timeout-s", "1", redis=own_redis.url)
    wire = connect(owner.target)
    fill(wire)
    before = everything(wire)
    caught_up(standby, owner)
    stand_still(own_redis.pid)
    owner.kill()
    until(lambda: "cut off from the owner" in standby.log, what="a cut")
    kill_redis(own_redis)
    own_redis.restart()
    takes_over(standby)
    assert everything(connect(standby.target)) == before


def test_redis_comes_back_empty_with_the_take_over(pair, start_standby, connect, own_redis):
    owner, standby = pair(redis=own_redis.url)
    wire = connect(owner.target)
    fill(wire)
    before = everything(wire)
    caught_up(standby, owner)
    owner.kill()
    kill_redis(own_redis)
    shutil.rmtree(own_redis.data_dir / "redis")
    (own_redis.data_dir / "redis").mkdir()
    own_redis.restart()
    writes_everything_again(standby, before, connect, lambda: start_standby(redis=own_redis.url))


def test_redis_comes_back_older_with_the_take_over(pair, start_standby, connect, own_redis):
    """Rows and tables that went since do not rise again."""
    owner, standby = pair(redis=own_redis.url)
    wire = connect(owner.target)
    fill(wire)
    flush(wire)
    copy = own_redis.data_dir / "copy"
    stop(own_redis)
    shutil.copytree(own_redis.data_dir / "redis", copy)
    go_on(own_redis)
    wire.push("t", [5, 2000], [[-1], [-1]])
    wire.rows.Remove(rows_pb2.RemoveRequest(table="t", keys=i64(7, 1000)))
    flush(wire)
    before = everything(wire)
    caught_up(standby, owner)
    owner.kill()
    kill_redis(own_redis)
    shutil.rmtree(own_redis.data_dir / "redis")
    copy.rename(own_redis.data_dir / "redis")
    own_redis.restart()
    writes_everything_again(standby, before, connect, lambda: start_standby(redis=own_redis.url))


def test_positions_rise_although_redis_lost_the_epoch_twice(pair, start_standby, connect, own_redis):
    """An owner took an epoch anew while it was followed, and Redis lost that one, too."""
    owner, standby = pair(redis=own_redis.url)
    wire = connect(owner.target)
    wire.create("t", 1)
    lose_everything(own_redis)
    until(lambda: info(owner).epoch > info(standby).epoch, what="an epoch that was taken anew")
    for _ in range(5):
        wire.push("t", [1], [[-1]])
    caught_up(standby, owner)
    position = info(owner).position
    lose_everything(own_redis)
    owner.kill()
    takes_over(standby)
    wire = connect(standby.target)
    flush(wire)
    wire.push("t", [1], [[-1]])
    assert info(standby).position > position
    standby.kill()
    cold = start_standby(redis=own_redis.url)
    owner_of(cold)
    assert connect(cold.target).pull("t", [1], dim=1)[0].tolist() == [[6]]


def lose_everything(redis):
    with Redis.from_url(redis.url) as client:
        client.flushall()


def rows_of(wire):
    return sum(table.rows for table in wire.admin.GetStats(admin_pb2.GetStatsRequest()).tables)


def test_an_owner_killed_in_the_middle_of_a_picture_loses_nothing(start_standby, connect):
    owner = start_standby()
    owner_of(owner)
    wire = connect(owner.target)
    wire.create("t", 16)
    for start in range(0, 400_000, 50_000):
        wire.push("t", list(range(start, start + 50_000)), np.full((50_000, 16), -1))
    wire.create("small", 1)
    wire.push("small", [1], [[-1]])
    standby = start_standby()
    until(lambda: rows_of(connect(standby.target)) > 1000, what="a picture")
    owner.kill()
    takes_over(standby)
    wire = connect(standby.target)
    assert wire.size("t") == 400_000
    assert wire.pull("t", [0, 399_999], dim=16)[0].tolist() == [[1] * 16] * 2
    assert wire.pull("small", [1], dim=1)[0].tolist() == [[1]]


def test_what_a_synced_table_acknowledged_is_there(pair, connect, tmp_path):
    with EmbeddedRedis(tmp_path / "synced", appendfsync="always") as redis:
        owner, standby = pair(redis=redis.url)
        acknowledge_and_take_over(owner, standby, connect)


def acknowledge_and_take_over(owner, standby, connect):
    wire = connect(owner.target)
    wire.create("t", 1, durability=common_pb2.DURABILITY_SYNCED)
    wire.push("t", [1], [[-1]])
    caught_up(standby, owner)
    stop(standby)
    wire.push("t", [1], [[-1]])
    owner.kill()
    go_on(standby)
    takes_over(standby)
    assert role(standby) == "owner"
    assert connect(standby.target).pull("t", [1], dim=1)[0].tolist() == [[2]]
