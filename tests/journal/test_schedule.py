"""When rows of journaled tables go to Redis: by what the journal holds, not by the second; relaxed tables' at once.

Rows are counted in Redis, and a table that is pushed all the time is one that never lies idle.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import math
import threading

import grpc
import numpy as np
import pytest
import redis
from tests.journal.support import flush, streams
from tests.processes import until
from tests.server.support import f32, i64

from rowbank_protos.v1 import admin_pb2, common_pb2, rows_pb2, tables_pb2
from rowbank_server.ps.durability.schedule import journal_room
from rowbank_server.settings import PsSettings, load
from rowbank_server.settings.errors import SettingsError
from rowbank_server.storage.layout import Layout
from rowbank_server.storage.memory import machine_bytes, memory_share
from rowbank_server.storage.stored_rows import StoredRows

RELAXED = common_pb2.DURABILITY_RELAXED
LARGE = 200_000  # Rows of 64 numbers, a few hundred transactions, with a pause after each.
CYCLE = ("--flush-interval-s", "0.1")
LONG = ("--journaled-flush-interval-s", "3600", "--recovery-target-s", "3600")


@contextlib.contextmanager
def pushing(connect, server, table="busy"):
    """Pushes row 0 of a journaled table without a pause."""
    wire = connect(server.target)
    stop = threading.Event()

    def push():
        while not stop.is_set():
            with contextlib.suppress(grpc.RpcError):  # The journal is full for a moment.
                wire.push(table, [0], [[-1]])

    thread = threading.Thread(target=push)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def stats_of(wire, table):
    (stats,) = wire.admin.GetStats(admin_pb2.GetStatsRequest(table=table)).tables
    return stats


def cycles(client, namespace, wire):
    """Waits for three more cycles that wrote the relaxed table `tick`."""
    state = f"{namespace}:{{s0}}:state"

    def flushes():
        return int(client.hget(state, "flush"))

    for _ in range(3):
        before = flushes()
        wire.push("tick", [0], [[-1]])
        until(lambda before=before: flushes() > before, what="a cycle")


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def make(start_ps, connect, client, namespace):
    """Starts a shard with the tables `busy`, journaled, and `tick`, relaxed, of which all so far is written."""

    def start(*options, relaxed=True):
        server = start_ps(*CYCLE, *options)
        wire = connect(server.target)
        wire.create("busy", 1)
        if relaxed:
            wire.create("tick", 1, durability=RELAXED)
            cycles(client, namespace, wire)
        flush(wire)
        return server, wire

    return start


def test_rows_in_the_journal_wait_and_relaxed_ones_do_not(make, connect, client, namespace):
    server, wire = make(*LONG)
    with pushing(connect, server):
        wire.push("busy", list(range(1, 101)), [[-1]] * 100)
        before = client.info("commandstats").get("cmdstat_hset", {}).get("calls", 0)
        cycles(client, namespace, wire)
        assert stats_of(wire, "busy").dirty_rows == 101
        assert not stats_of(wire, "tick").dirty_rows
        assert client.info("commandstats")["cmdstat_hset"]["calls"] > before
        assert client.xlen(streams(client, namespace)["1"]) > 1
        assert flush(wire) >= 101  # Asked for, everything is written.


def test_when_nobody_pushes_any_more_everything_is_written(make, connect, client, namespace):
    _, wire = make(*LONG, relaxed=False)
    wire.push("busy", list(range(50)), [[-1]] * 50)
    until(lambda: not stats_of(wire, "busy").dirty_rows, what="write-back of an idle table")
    until(lambda: client.xlen(streams(client, namespace)["1"]) == 0, what="an empty journal")


@pytest.mark.parametrize("native", [False, True], ids=["grpc", "native"])
def test_pushes_to_a_full_journal_wait_for_room(make, connect, native):
    """Four callers that try nothing twice push ten times what the journal may hold, and none is refused."""
    server, wire = make(*LONG, "--journal-max-bytes", str(1 << 20), "--journal-wait-s", "60", relaxed=False)
    keys, gradients = list(range(20_000)), np.full((20_000, 1), -1.0)  # 240 KB a push.

    def push(_):
        mine = connect(server.target, native=native)
        for _ in range(11):
            mine.push("busy", keys, gradients)

    with concurrent.futures.ThreadPoolExecutor(4) as callers:
        list(callers.map(push, range(4)))
    assert stats_of(wire, "busy").step == 44
    assert (wire.pull("busy", keys, dim=1)[0] == 44).all()  # SGD at a rate of one.


@pytest.mark.parametrize(
    "options",
    [
        ("--journaled-flush-interval-s", "0", "--recovery-target-s", "3600"),
        ("--journaled-flush-interval-s", "0.3", "--recovery-target-s", "3600"),
        ("--journaled-flush-interval-s", "3600", "--recovery-target-s", "0.01"),
        (*LONG, "--max-dirty-rows", "20"),
        (*LONG, "--journal-max-bytes", str(1 << 20)),
    ],
    ids=["as relaxed", "longest wait", "time of a replay", "dirty rows", "bytes of the journal"],
)
def test_what_ends_the_wait(make, connect, client, namespace, options):
    server, wire = make(*options)
    size = 20_000 if "--journal-max-bytes" in options else 30  # 8 bytes of key and 4 of gradient each: 240 KB a push.
    keys = list(range(1, size + 1))
    with pushing(connect, server):
        for _ in range(5):
            with contextlib.suppress(grpc.RpcError):
                wire.push("busy", keys, np.full((size, 1), -1.0))
        until(lambda: stats_of(wire, "busy").last_write_back_s > 0, what="write-back")
        until(lambda: stats_of(wire, "busy").dirty_rows < 20, what="all rows but the newest in Redis")


def test_who_reads_rows_from_redis_may_ask_for_the_newest(make, connect, client, namespace):
    server, wire = make(*LONG)
    rows = StoredRows(client, Layout(namespace))
    keys = np.arange(1, 101)
    with pushing(connect, server):
        wire.push("busy", keys.tolist(), [[-1]] * 100)
        cycles(client, namespace, wire)
        assert not rows.lookup({"busy": keys})["busy"][1].any()
        rows.want_newest()
        until(lambda: rows.lookup({"busy": keys})["busy"][1].all(), what="rows in Redis")
    assert rows.lookup({"busy": keys})["busy"][0].tolist() == [[1]] * 100


def test_what_was_pushed_to_a_relaxed_table_does_not_wait_when_it_becomes_a_journaled_one(
    make, connect, client, namespace
):
    server, wire = make(*LONG)
    wire.push("tick", list(range(100)), [[-1]] * 100)
    table = wire.tables.GetTable(tables_pb2.GetTableRequest(name="tick")).table
    table.spec.durability = common_pb2.DURABILITY_JOURNALED
    with pushing(connect, server):
        wire.tables.UpdateTable(tables_pb2.UpdateTableRequest(spec=table.spec))
        until(lambda: not stats_of(wire, "tick").dirty_rows, what="write-back")


@pytest.mark.parametrize("removal", ["remove", "clear"])
def test_a_replay_does_not_remove_what_a_relaxed_table_got_later(make, connect, start_ps, client, namespace, removal):
    """The removal is in the journal, the push after it is not: it is written, and the journal must not outlast that."""
    server, wire = make(*LONG)
    parts = [rows_pb2.TableGradients(table=name, keys=i64(5), gradients=f32([[-1]])) for name in ("busy", "tick")]
    with pushing(connect, server):
        wire.rows.Push(rows_pb2.PushRequest(tables=parts))  # So the journal has it, of the relaxed table too.
        if removal == "remove":
            wire.rows.Remove(rows_pb2.RemoveRequest(table="tick", keys=i64(5)))
        else:
            wire.rows.Clear(rows_pb2.ClearRequest(table="tick"))
        wire.push("tick", [5], [[-7]])
        cycles(client, namespace, wire)
        until(lambda: not stats_of(wire, "tick").dirty_rows, what="write-back")
    server.kill()
    assert connect(start_ps(*CYCLE, *LONG).target).pull("tick", [5], dim=1)[0].tolist() == [[7]]


def test_after_a_restart_of_redis_nothing_waits(start_ps, own_redis, connect):
    """It may have lost a part of the journal, of which RAM has the only copy then."""
    server = start_ps(*CYCLE, *LONG, redis=own_redis.url)
    wire = connect(server.target)
    wire.create("busy", 1)
    wire.create("still", 1)
    flush(wire)
    stop = threading.Event()

    def push():
        while not stop.is_set():
            with contextlib.suppress(Exception):
                wire.push("busy", [0], [[-1]])

    thread = threading.Thread(target=push)
    thread.start()
    try:
        wire.push("still", list(range(100)), [[-1]] * 100)
        assert stats_of(wire, "still").dirty_rows == 100
        own_redis.restart()
        until(lambda: not stats_of(wire, "still").dirty_rows, what="write-back")
    finally:
        stop.set()
        thread.join()


def test_a_redis_whose_memory_runs_out_is_known(own_redis):
    with redis.Redis.from_url(own_redis.url) as client:
        assert memory_share(client) == 0
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", 2 * used)
        assert 0.4 < memory_share(client) < 0.8
        client.config_set("maxmemory", 0)


def test_kill_9_replays_what_waited(make, connect, start_ps, client, namespace):
    server, wire = make(*LONG)
    with pushing(connect, server):
        for _ in range(20):
            wire.push("busy", list(range(200)), [[-1]] * 200)
        cycles(client, namespace, wire)
        assert stats_of(wire, "busy").dirty_rows == 200
    before = wire.pull("busy", list(range(1, 200)), dim=1)[0].tolist()
    server.kill()
    again = start_ps(*CYCLE, *LONG)
    wire = connect(again.target)
    assert wire.pull("busy", list(range(1, 200)), dim=1)[0].tolist() == before == [[20]] * 199
    # What was replayed is written at once, so that the next start replays it no more.
    until(lambda: set(streams(client, namespace)) == {"2"}, what="the end of the former journal")


@pytest.mark.parametrize(("name", "value"), [("recovery_target_s", "0"), ("journaled_flush_interval_s", "-1")])
def test_settings_that_make_no_sense_are_refused(name, value):
    with pytest.raises(SettingsError, match=name):
        load(PsSettings, {name: value})


def test_the_journal_has_an_eighth_of_the_machine_where_redis_has_no_limit(own_redis):
    with redis.Redis.from_url(own_redis.url) as client:
        assert machine_bytes(client) == client.info("memory")["total_system_memory"]
        client.config_set("maxmemory", 1 << 30)
        assert machine_bytes(client) == 0
        client.config_set("maxmemory", 0)
    assert journal_room(machine=64 << 30, own_limit=0) == 8 << 30
    assert journal_room(machine=64 << 30, own_limit=4 << 30) == 512 << 20  # Redis may be in the same control group.
    assert journal_room(machine=4 << 30, own_limit=64 << 30) == 512 << 20
    assert journal_room(machine=0, own_limit=4 << 30) == math.inf  # It has a limit, which is looked at instead.


@pytest.fixture
def large(make, connect, client, namespace):
    """A shard of which a write-back of the table `large` takes hundreds of transactions, and has begun."""
    server, wire = make(*LONG, "--journal-wait-s", "60")
    wire.create("large", 64)
    flush(wire)
    ones = np.full((LARGE, 64), -1.0, np.float32)
    with pushing(connect, server):
        for start in range(0, LARGE, 50_000):
            wire.push("large", range(start, min(LARGE, start + 50_000)), ones[start : start + 50_000])
        StoredRows(client, Layout(namespace)).want_newest()
        until(lambda: 0 < stats_of(wire, "large").dirty_rows < LARGE, what="write-back")
        yield server, wire


def test_relaxed_rows_do_not_wait_while_much_of_the_journal_is_written(large):
    _, wire = large
    wire.push("tick", list(range(50)), [[-1]] * 50)
    until(lambda: not stats_of(wire, "tick").dirty_rows, what="relaxed rows in Redis")
    assert stats_of(wire, "large").dirty_rows > 0


def test_a_table_is_cleared_while_much_of_it_is_written(large, connect, start_ps):
    """Without a wait for all of it; and what was written of it does not rise again."""
    server, wire = large
    wire.rows.Clear(rows_pb2.ClearRequest(table="large"))
    wire.push("large", [7], np.full((1, 64), -5.0, np.float32))
    until(lambda: not stats_of(wire, "large").dirty_rows, what="write-back")
    flush(wire)
    server.kill()
    wire = connect(start_ps(*CYCLE, *LONG).target)
    assert stats_of(wire, "large").rows == 1
    assert wire.pull("large", [7], dim=64)[0].tolist() == [[5.0] * 64]
