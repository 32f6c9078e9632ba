"""What a shard knew is there again after it stopped and started."""

from __future__ import annotations

import os
import signal
import threading

import grpc
import numpy as np
import redis
from tests.processes import stand_still, until
from tests.server.support import adam, exported, i64, sgd, uniform

from rowbank.hashing import bucket_of
from rowbank_protos.v1 import admin_pb2, rows_pb2, tables_pb2
from rowbank_server.storage.layout import Layout


def train(wire, table, *, steps, dim=6):
    rng = np.random.default_rng(3)
    for _ in range(steps):
        keys = rng.integers(-(2**62), 2**62, 40) % 500 - 250
        wire.push(table, keys.tolist(), rng.normal(size=(40, dim)))


def test_rows_frequencies_and_slots_are_back_bit_for_bit(start_ps, connect):
    server = start_ps("--flush-interval-s", "3600")
    wire = connect(server.target)
    wire.create("user", 6, optimizer=adam(), initializer=uniform())
    wire.create("item", 6, optimizer=sgd(0.5), value_dtype=2)
    for table in ("user", "item"):
        train(wire, table, steps=20)
    before = {table: exported(wire, table) for table in ("user", "item")}
    info = list(wire.tables.ListTables(tables_pb2.ListTablesRequest()).tables)
    assert server.terminate() == 0

    again = connect(start_ps().target)
    assert {table: exported(again, table) for table in ("user", "item")} == before
    assert len(before["user"]) > 200
    restored = again.tables.ListTables(tables_pb2.ListTablesRequest()).tables
    for table in (*info, *restored):
        table.bytes = 0  # RAM held depends on how the rows came in.
    assert list(restored) == info
    (stats,) = again.admin.GetStats(admin_pb2.GetStatsRequest(table="user")).tables
    assert (stats.step, stats.dirty_rows) == (20, 0)


def test_a_resumed_training_equals_one_that_never_stopped(start_ps, connect):
    """Adam's bias correction goes on at the next step, with the moments it had."""
    server = start_ps()
    wire = connect(server.target)
    for table in ("whole", "resumed"):
        wire.create(table, 2, optimizer=adam())
        for _ in range(3):
            wire.push(table, [1, 2], [[1, -1], [0.5, 2]])
    wire.push("whole", [1, 2], [[3, 1], [1, 1]])
    assert server.terminate() == 0
    again = connect(start_ps().target)
    assert list(again.push("resumed", [1, 2], [[3, 1], [1, 1]]).steps) == [4]
    assert again.pull("resumed", [1, 2])[0].tobytes() == again.pull("whole", [1, 2])[0].tobytes()


def test_removed_cleared_and_dropped_stay_gone(start_ps, connect):
    server = start_ps()
    wire = connect(server.target)
    for table in ("removed", "cleared", "dropped", "restricted"):
        wire.create(table)
        wire.push(table, list(range(100)), np.ones((100, 2)))
    wire.admin.Flush(admin_pb2.FlushRequest())
    wire.rows.Remove(rows_pb2.RemoveRequest(table="removed", keys=i64(*range(0, 100, 2))))
    wire.rows.Clear(rows_pb2.ClearRequest(table="cleared"))
    wire.push("cleared", [7], [[5, 5]])
    wire.tables.DropTable(tables_pb2.DropTableRequest(name="dropped"))
    wire.admin.Restrict(admin_pb2.RestrictRequest(table="restricted", num_reserved=30))
    before = {table: exported(wire, table) for table in ("removed", "cleared", "restricted")}
    assert [len(rows) for rows in before.values()] == [50, 1, 30]
    assert server.terminate() == 0
    again = connect(start_ps().target)
    names = [info.spec.name for info in again.tables.ListTables(tables_pb2.ListTablesRequest()).tables]
    assert names == ["cleared", "removed", "restricted"]
    assert {table: exported(again, table) for table in before} == before


def test_a_dropped_table_leaves_nothing_in_redis(start_ps, connect, redis_url, namespace):
    wire = connect(start_ps().target)
    wire.create("t")
    wire.push("t", list(range(1000)), np.ones((1000, 2)))
    wire.admin.Flush(admin_pb2.FlushRequest())
    wire.tables.DropTable(tables_pb2.DropTableRequest(name="t"))
    with redis.Redis.from_url(redis_url) as client:
        assert not list(client.scan_iter(f"{namespace}:{{t*"))
        state = client.hgetall(f"{namespace}:{{s0}}:state")
        assert state.keys() == {
            b"epoch",
            b"owner",
            b"flush",
            b"through",
            b"shard_count",
            b"journal:1:" + state[b"owner"],
        }


def test_write_back_survives_a_kill(start_ps, connect):
    """`relaxed`: what was flushed before a kill -9 is there after it."""
    server = start_ps()
    wire = connect(server.target)
    wire.create("t")
    wire.push("t", list(range(500)), np.ones((500, 2)))

    def written():
        (stats,) = wire.admin.GetStats(admin_pb2.GetStatsRequest(table="t")).tables
        return stats.last_write_back_s and not stats.dirty_rows

    until(written, what="write-back")
    server.kill()
    again = connect(start_ps().target)
    assert again.pull("t", list(range(500)))[0].tolist() == [[-1, -1]] * 500


def test_sigterm_under_load_loses_no_acknowledged_push(start_ps, connect):
    """With SGD(1) and gradients of -1 a row's value is the number of its acknowledged pushes."""
    server = start_ps("--flush-interval-s", "3600")
    connect(server.target).create("t", 1)
    acknowledged = [0] * 4
    refusals = []
    running = threading.Barrier(5)

    def push_until_refused(key):
        wire = connect(server.target)
        running.wait(20)
        while True:
            try:
                wire.push("t", [key], [[-1]])
            except grpc.RpcError as error:
                refusals.append(error.code())
                return
            acknowledged[key] += 1

    threads = [threading.Thread(target=push_until_refused, args=(key,)) for key in range(4)]
    for thread in threads:
        thread.start()
    running.wait(20)
    until(lambda: min(acknowledged) >= 20, what="pushes")
    assert server.terminate() == 0
    for thread in threads:
        thread.join(20)
    assert set(refusals) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    values = connect(start_ps().target).pull("t", list(range(4)), dim=1)[0][:, 0]
    # A push that was applied but whose answer was cut off may be there too: one a thread at most.
    assert [0 <= value - count <= 1 for value, count in zip(values, acknowledged, strict=True)] == [True] * 4


def test_corrupt_rows_are_set_aside_and_not_served(start_ps, connect, redis_url, namespace):
    server = start_ps()
    wire = connect(server.target)
    info = wire.create("t")
    wire.push("t", [1, 2, 3], np.ones((3, 2)))
    assert server.terminate() == 0
    layout = Layout(namespace)
    buckets = {key: wire_bucket(key) for key in (1, 2)}
    with redis.Redis.from_url(redis_url) as client:
        stored = layout.rows(info.table_id, buckets[1])
        flipped = bytearray(client.hget(stored, i64(1)))
        flipped[-1] ^= 1
        client.hset(stored, i64(1), bytes(flipped))
        client.hset(layout.rows(info.table_id, buckets[2]), i64(2), b"short")
        client.hset(layout.rows(info.table_id, 0), b"no key", b"no row")
        again = start_ps()
        wire = connect(again.target)
        found = wire.rows.Lookup(rows_pb2.LookupRequest(table="t", keys=i64(1, 2, 3))).found
        assert list(found) == [0, 0, 1]
        assert "3 corrupt rows" in again.log
        (stats,) = wire.admin.GetStats(admin_pb2.GetStatsRequest(table="t")).tables
        assert (stats.corrupt_rows, stats.rows) == (3, 1)
        assert client.hget(layout.quarantine(info.table_id, buckets[1]), i64(1)) == bytes(flipped)
        assert client.hget(layout.quarantine(info.table_id, buckets[2]), i64(2)) == b"short"
        assert client.hget(layout.quarantine(info.table_id, 0), b"no key") == b"no row"
        assert not client.hexists(stored, i64(1))


def wire_bucket(key):
    return int(bucket_of(np.array([key]))[0])


def test_a_large_bucket_is_read_in_pieces(start_ps, connect):
    """One bucket with more rows than are read in one command.

    The push waits for its journal append, which on a busy disk may take longer than the usual two seconds. A client
    would try again; these stubs do not.
    """
    server = start_ps("--bucket-count", "1", "--journal-wait-s", "60", "--redis-timeout-s", "60")
    wire = connect(server.target)
    assert wire.create("t", 1).bucket_count == 1
    keys = np.arange(60_000)
    wire.push("t", keys.tolist(), keys.astype(np.float32))
    assert server.terminate() == 0, server.log
    again = connect(start_ps("--redis-timeout-s", "60").target)
    assert again.size("t") == 60_000
    assert again.pull("t", keys.tolist(), dim=1)[0][:, 0].tolist() == (-keys).tolist()


def test_a_catalog_that_cannot_be_read_is_named(start_ps, redis_url, namespace):
    with redis.Redis.from_url(redis_url) as client:
        client.hset(f"{namespace}:catalog", "t", '{"id": 1}')
    server = start_ps(wait=False)
    assert server.wait() == 1
    assert "error: the catalog holds an entry that cannot be read" in server.log
    assert "Traceback" not in server.log


def test_a_second_signal_ends_the_process_at_once(start_ps, own_redis):
    """Redis stands still, so the drain cannot end by itself."""
    server = start_ps("--redis-timeout-s", "60", redis=own_redis.url)
    stand_still(own_redis.pid)
    try:
        server.process.send_signal(signal.SIGTERM)
        until(lambda: "stopping (SIGTERM)" in server.log, what="drain")
        server.process.send_signal(signal.SIGTERM)
        assert server.wait(timeout_s=10) == 128 + signal.SIGTERM
    finally:
        os.kill(own_redis.pid, signal.SIGCONT)
