"""Pushes of journaled tables without the interpreter: their records, what becomes of them, and who hears of them."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import time
from typing import Any

import grpc
import numpy as np
import pytest
from redis import Redis
from tests.following.cluster import READY, require_equal
from tests.journal.support import push_request, streams
from tests.processes import stand_still, until
from tests.server.support import adam, exported, f32, i64, refused, sgd

from rowbank.errors import RedisUnavailable
from rowbank_protos.v1 import admin_pb2, common_pb2, deltas_pb2, deltas_pb2_grpc, rows_pb2, tables_pb2
from rowbank_server.journal.records import parse

pytest.importorskip("rowbank_server._http2")

JOURNALED, RELAXED = common_pb2.DURABILITY_JOURNALED, common_pb2.DURABILITY_RELAXED


@pytest.fixture
def shard(connect, start_ps, own_redis):
    """A shard that writes no rows by itself, its stubs by way of both addresses, and its Redis."""
    server = start_ps("--flush-interval-s", "3600", redis=own_redis.url)
    return server, connect(server.target, native=True), connect(server.target), own_redis


def records(redis, namespace):
    """What the journal holds, in order."""
    client = Redis.from_url(redis.url)
    (stream,) = streams(client, namespace).values()
    found: Any = client.xrange(stream)
    entries = [fields for _, fields in found if b"format" not in fields]
    return [parse(record) for fields in entries for record in fields.values()]


def test_records_are_those_of_the_handlers(shard, namespace):
    _, native, main, redis = shard
    native.create("t", durability=JOURNALED, optimizer=adam())
    native.create("relaxed", durability=RELAXED)
    parts = [
        rows_pb2.TableGradients(table="relaxed", keys=i64(3), gradients=f32([[1, 2]])),
        rows_pb2.TableGradients(table="t", keys=i64(1, 2), gradients=f32([[1, 2], [3, 4]]), step=7),
    ]
    for sequence, way in enumerate((native, main), start=1):
        request_id = common_pb2.RequestId(client_id="\u00fcber", sequence=sequence)
        way.rows.Push(rows_pb2.PushRequest(tables=parts, request_id=request_id))
    native.rows.Push(rows_pb2.PushRequest(tables=parts[1:]))
    first, second, third = records(redis, namespace)
    assert [table.table_id for table in first.tables] == [2, 1]  # As in the request, whatever order the locks have.
    assert first.tables[0].step + 1 == second.tables[0].step
    assert (first.kind, first.tables[1], first.client_id) == (second.kind, second.tables[1], second.client_id)
    assert first.position + 1 == second.position == third.position - 1
    assert rows_pb2.PushRequest.FromString(first.body).tables == rows_pb2.PushRequest.FromString(second.body).tables
    assert rows_pb2.PushResponse.FromString(first.answer).steps == [1, 7]
    assert (third.client_id, third.sequence) == ("", 0)
    assert abs(first.now_s - time.time()) < 600


def test_what_was_acknowledged_is_there_after_a_kill(connect, start_ps, shard):
    server, native, _, redis = shard
    native.create("t", 4, durability=JOURNALED, optimizer=sgd(1.0))
    seed, pushes = 11, 60
    wanted = np.zeros((50, 4), np.float32)

    def push(client):
        rng, sums = np.random.default_rng([seed, client]), np.zeros((50, 4), np.float32)
        for sequence in range(1, pushes + 1):
            keys = rng.permutation(50)[:20]
            gradients = rng.integers(-8, 8, (20, 4)).astype(np.float32)  # Whose sums are exact in any order.
            native.rows.Push(push_request("t", keys.tolist(), gradients, sequence=sequence, client=f"c{client}"))
            sums[keys] -= gradients
        return sums

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for sums in pool.map(push, range(4)):
            wanted += sums
    server.kill()
    again = connect(start_ps(redis=redis.url).target, native=True)
    rows = again.pull("t", list(range(50)))[0].reshape(50, 4)
    np.testing.assert_array_equal(rows, wanted, err_msg=f"seed {seed}")
    answer = again.rows.Push(push_request("t", [1], [[1, 1, 1, 1]], sequence=pushes, client="c1"))
    assert answer.repeated_request


def test_nobody_is_told_that_a_push_lasts_while_redis_stands_still(shard):
    _, native, _, redis = shard
    native.create("t", durability=JOURNALED)
    native.push("t", [1], [[1, 1]])
    request = push_request("t", [1], [[1, 1]], sequence=5, client="me")
    stand_still(redis.pid)
    try:
        with refused(RedisUnavailable, "the journal has not confirmed the mutation yet; send it again"):
            native.rows.Push(request, timeout=0.5)
        with refused(RedisUnavailable, "still under way"):  # Whoever asks again learns that.
            native.rows.Push(request, timeout=0.5)
    finally:
        os.kill(redis.pid, signal.SIGCONT)
    answer = native.rows.Push(request, timeout=60)
    assert (answer.repeated_request, list(answer.steps)) == (True, [2])
    assert native.pull("t", [1])[0].tolist() == [[-2, -2]]


def test_a_push_is_refused_while_the_journal_cannot_be_appended_to(shard):
    _, native, _, redis = shard
    native.create("t", durability=JOURNALED)
    native.push("t", [1], [[1, 1]])
    redis.stop()
    with pytest.raises(grpc.RpcError):
        native.rows.Push(push_request("t", [1], [[1, 1]]), timeout=20)
    with refused(RedisUnavailable, "nothing was applied"):
        native.rows.Push(push_request("t", [1], [[1, 1]]), timeout=20)


def test_the_journal_goes_on_after_its_connection_was_cut(shard, namespace):
    """A stream's writer is cut off by Redis between, and during, its appends."""
    _, native, _, redis = shard
    native.create("t", durability=JOURNALED, optimizer=sgd(1.0))
    client = Redis.from_url(redis.url)
    for sequence in range(1, 41):
        native.rows.Push(push_request("t", [7], [[-1, -1]], sequence=sequence), timeout=60)
        client.client_kill_filter(_type="normal", skipme=True)
    assert native.pull("t", [7])[0].tolist() == [[40, 40]]
    positions = [record.position for record in records(redis, namespace)]
    assert len(positions) == 40
    assert positions == sorted(set(positions))


def test_a_new_optimizer_is_in_the_records_of_pushes_that_use_it(connect, start_ps, shard):
    """Its learning rate is changed while pushes go on: a replay does to every row what was done then."""
    server, native, _, redis = shard
    native.create("t", durability=JOURNALED, optimizer=sgd(1.0))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pushing = pool.submit(lambda: [native.push("t", [1, 2], [[1, 1], [2, 2]]) for _ in range(400)])
        for rate in (0.5, 0.25, 0.125, 0.0625):
            spec = native.tables.GetTable(tables_pb2.GetTableRequest(name="t")).table.spec
            spec.optimizer.CopyFrom(sgd(rate))
            native.tables.UpdateTable(tables_pb2.UpdateTableRequest(spec=spec))
        pushing.result()
    before = exported(native, "t")
    server.kill()
    again = connect(start_ps(redis=redis.url).target)
    assert exported(again, "t") == before


def test_followers_get_journaled_pushes_in_the_order_of_their_positions(connect, start_ps, own_redis):
    owner = start_ps(redis=own_redis.url)
    wire = connect(owner.target, native=True)
    wire.create("t", dim=8, durability=JOURNALED, optimizer=adam())
    wire.create("u", dim=8, durability=RELAXED, optimizer=adam())
    seed = 5

    def push(place, count=60):
        rng = np.random.default_rng([seed, place])
        for number in range(count):
            table = "t" if number % 3 else "u"
            wire.push(table, rng.integers(0, 500, 40).tolist(), rng.normal(size=(40, 8)))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = [pool.submit(push, place) for place in range(4)]
        replica = connect(start_ps("--replica", redis=own_redis.url).target)
        until(lambda: replica.admin.GetServerInfo(admin_pb2.GetServerInfoRequest()).state == READY, what="the replica")
        for one in running:
            one.result()
        push(9)  # While somebody follows for certain.
    last = deltas_pb2_grpc.DeltaServiceStub(wire.channel).ListFollowers(deltas_pb2.ListFollowersRequest()).position
    until(
        lambda: replica.admin.GetServerInfo(admin_pb2.GetServerInfoRequest()).position >= last,
        what="the replica catches up",
    )
    assert require_equal(wire, replica) > 400, f"seed {seed}"
