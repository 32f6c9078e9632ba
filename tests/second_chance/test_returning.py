"""An evicted row comes back with its key, trained, bit for bit; unless a caller wrote or removed it since."""

from __future__ import annotations

import numpy as np
import pytest
from tests.journal.support import flush
from tests.processes import until
from tests.second_chance.support import chance, cold_keys, counts, restrict, stats, trained, values_of
from tests.server.support import adam, constant, f32, i64, refused, sgd

from rowbank.errors import InvalidRequest, InvalidSpec
from rowbank_protos.v1 import common_pb2, rows_pb2, tables_pb2

FOUND, INITIALIZED = common_pb2.ROW_STATUS_FOUND, common_pb2.ROW_STATUS_INITIALIZED
RELAXED, JOURNALED = common_pb2.DURABILITY_RELAXED, common_pb2.DURABILITY_JOURNALED


def push_both(wire, keys, gradients):
    parts = [
        rows_pb2.TableGradients(table=table, keys=i64(*keys), gradients=f32(gradients)) for table in ("kept", "evicted")
    ]
    wire.rows.Push(rows_pb2.PushRequest(tables=parts))


@pytest.mark.parametrize("durability", [RELAXED, JOURNALED])
@pytest.mark.parametrize(
    "dtype", [common_pb2.DATA_TYPE_FLOAT32, common_pb2.DATA_TYPE_FLOAT16, common_pb2.DATA_TYPE_BFLOAT16]
)
def test_returned_rows_are_those_of_a_table_that_never_evicted(wire, dtype, durability):
    """200 keys are pushed in turns; now and then all rows but 20 go, some to Redis and some that wait in RAM still."""
    spec = {
        "dim": 5,
        "optimizer": adam(),
        "value_dtype": dtype,
        "durability": durability,
        "initializer": constant(0.25),
    }
    wire.create("kept", **spec)
    wire.create("evicted", **spec, eviction=chance())
    random = np.random.default_rng(3)
    for turn in range(24):
        keys = random.choice(200, 40, replace=False).tolist()
        push_both(wire, keys, random.normal(size=(40, 5)))
        if turn % 4 == 1:
            assert restrict(wire, "evicted", 20) > 0
        if turn % 8 == 5:
            flush(wire)
    push_both(wire, range(200), random.normal(size=(200, 5)))
    assert trained(wire, "evicted") == trained(wire, "kept")
    stored, returned, missed, expired = counts(wire, "evicted")
    assert stored == returned > 200
    assert (missed, expired) == (0, 0)
    assert stats(wire, "evicted").second_chance_rows == 0


def test_a_pull_reads_the_trained_row_and_inserts_nothing(wire):
    wire.create("t", 2, eviction=chance())
    wire.push("t", [1, 2], [[-1, -2], [-3, -4]])
    for in_redis in (False, True):
        assert restrict(wire, "t", 0) == 2
        if in_redis:
            flush(wire)
        assert wire.size("t") == 0
        values, status = wire.pull("t", [2, 7, 1, 2])
        assert status == [FOUND, INITIALIZED, FOUND, FOUND]
        factor = 2 if in_redis else 1
        assert values.tolist() == [[3 * factor, 4 * factor], [0, 0], [factor, 2 * factor], [3 * factor, 4 * factor]]
        assert wire.size("t") == 0
        wire.push("t", [1, 2], [[-1, -2], [-3, -4]])
        assert wire.size("t") == 2
    assert wire.pull("t", [1, 2])[0].tolist() == [[3, 6], [9, 12]]
    assert counts(wire, "t") == (4, 4, 0, 0)


def test_float16_on_the_wire(wire):
    wire.create("t", 2, eviction=chance())
    wire.push("t", [1], [[-1.5, -0.25]])
    restrict(wire, "t", 0)
    request = rows_pb2.PullRequest(
        tables=[rows_pb2.TableKeys(table="t", keys=i64(1))], wire_dtype=common_pb2.DATA_TYPE_FLOAT16
    )
    (rows,) = wire.rows.Pull(request).tables
    assert np.frombuffer(rows.values, "<f2").tolist() == [1.5, 0.25]


@pytest.mark.parametrize("in_redis", [False, True])
def test_what_callers_removed_or_wrote_is_not_overwritten(wire, in_redis):
    wire.create("t", 1, eviction=chance())
    keys = [1, 2, 3, 4, 5]
    wire.push("t", keys, [[-7]] * 5)
    restrict(wire, "t", 0)
    if in_redis:
        flush(wire)
    wire.rows.Remove(rows_pb2.RemoveRequest(table="t", keys=i64(1)))
    wire.rows.Upsert(rows_pb2.UpsertRequest(table="t", keys=i64(2), values=f32([50])))
    wire.rows.Accumulate(
        rows_pb2.AccumulateRequest(table="t", keys=i64(3), deltas=f32([60]), exists=np.uint8(0).tobytes())
    )
    wire.rows.Accumulate(
        rows_pb2.AccumulateRequest(table="t", keys=i64(4), deltas=f32([70]), exists=np.uint8(1).tobytes())
    )
    wire.push("t", keys, [[-1]] * 5)
    assert values_of(wire, "t", keys).tolist() == [1, 51, 61, 8, 8]
    restrict(wire, "t", 0)
    wire.rows.Clear(rows_pb2.ClearRequest(table="t"))
    wire.push("t", keys, [[-1]] * 5)
    assert values_of(wire, "t", keys).tolist() == [1] * 5


@pytest.mark.parametrize("flushed", [False, True])
def test_after_a_crash_what_was_removed_stays_removed_and_what_was_evicted_returns(start_ps, connect, flushed):
    options = ("--flush-interval-s", "3600", "--second-chance-wait-ms", "10000")
    server = start_ps(*options)
    wire = connect(server.target)
    for table in ("t", "cleared"):
        wire.create(table, 1, eviction=chance())
        wire.push(table, [1, 2, 3, 4, 5], [[-5]] * 5)
        restrict(wire, table, 0)
    flush(wire)
    wire.push("t", [2, 3], [[-1]] * 2)
    wire.rows.Remove(rows_pb2.RemoveRequest(table="t", keys=i64(1, 3)))
    wire.rows.Clear(rows_pb2.ClearRequest(table="cleared"))
    wire.push("t", [4], [[-1]])
    restrict(wire, "t", 0)
    if flushed:
        flush(wire)
    server.kill()
    wire = connect(start_ps(*options).target)
    for _ in range(2):  # Before and after it was found out what Redis has.
        wire.push("t", [1, 2, 3, 4, 5], [[-1]] * 5)
        wire.push("cleared", [1, 2], [[-1]] * 2)
        flush(wire)
    assert values_of(wire, "t", [1, 2, 3, 4, 5]).tolist() == [2, 8, 2, 8, 7]
    assert values_of(wire, "cleared", [1, 2]).tolist() == [2, 2]


def test_a_crash_after_a_return_neither_loses_nor_doubles_it(start_ps, connect):
    options = ("--flush-interval-s", "3600", "--second-chance-wait-ms", "10000")
    wire = None
    for turn in range(4):
        server = start_ps(*options)
        wire = connect(server.target)
        if not turn:
            wire.create("t", 1, eviction=chance())
        wire.push("t", [1, 2], [[-1]] * 2)
        restrict(wire, "t", 0)
        wire.push("t", [1], [[-1]])
        if turn == 1:
            flush(wire)
        wire.push("t", [1, 2], [[-1]] * 2)
        restrict(wire, "t", 1)
        if turn == 2:
            flush(wire)
        server.kill()
    wire = connect(start_ps(*options).target)
    wire.push("t", [1, 2], [[-1]] * 2)
    assert values_of(wire, "t", [1, 2]).tolist() == [13, 9]


def test_a_returned_key_needs_no_admission(wire):
    wire.create("t", 1, eviction=chance(), admission=tables_pb2.Admission(min_count=3))
    for _ in range(5):
        wire.push("t", [1], [[-1]])
    assert wire.size("t") == 1
    before = values_of(wire, "t", [1])[0]
    restrict(wire, "t", 0)
    wire.push("t", [1], [[-1]])
    assert values_of(wire, "t", [1])[0] == before + 1


def test_rows_that_expired_come_back(start_ps, connect):
    wire = connect(start_ps("--eviction-interval-s", "0.05").target)
    wire.create("t", 1, eviction=chance(ttl_s=1))
    wire.push("t", [1], [[-1]])
    until(lambda: wire.size("t") == 0, what="expiry")
    wire.push("t", [1], [[-1]])
    assert wire.pull("t", [1], dim=1)[0].tolist() == [[2]]


def test_a_large_push_of_cold_keys_returns_all(wire):
    """8 MB of rows come back with one push: more than a record of it may have in addition."""
    wire.create("t", 256, eviction=chance(second_chance_bytes=64 << 20))
    keys = list(range(8000))
    wire.push("t", keys, np.full((8000, 256), -1))
    assert restrict(wire, "t", 0) == 8000
    flush(wire)
    wire.push("t", keys, np.full((8000, 256), -1))
    assert (wire.pull("t", keys, dim=256)[0] == 2).all()
    assert counts(wire, "t") == (8000, 8000, 0, 0)


def test_a_caller_cannot_bring_rows_back(wire):
    wire.create("t", 1, eviction=chance())
    request = rows_pb2.PushRequest(
        tables=[rows_pb2.TableGradients(table="t", keys=i64(1), gradients=f32([1]))],
        returned=[rows_pb2.ReturnedRows(keys=i64(1), rows=b"x" * 28)],
    )
    with refused(InvalidRequest, "returned"):
        wire.rows.Push(request)
    assert wire.size("t") == 0


def test_turned_on_and_off(wire, redis_server, namespace):
    from rowbank_server.storage.connection import connect as connect_redis

    redis = connect_redis(redis_server.url, timeout_s=5)
    wire.create("t", 1)

    def update(eviction):
        spec = tables_pb2.TableSpec(name="t", dim=1, optimizer=sgd(1.0), eviction=eviction)
        wire.tables.UpdateTable(tables_pb2.UpdateTableRequest(spec=spec))

    def evict_and_push():
        wire.push("t", [1], [[-1]])
        restrict(wire, "t", 0)
        flush(wire)
        wire.push("t", [1], [[-1]])
        return values_of(wire, "t", [1])[0]

    assert evict_and_push() == 1
    update(chance())
    assert evict_and_push() == 3
    restrict(wire, "t", 0)
    flush(wire)
    assert sum(cold_keys(redis, namespace).values()) == 1
    update(tables_pb2.Eviction())
    flush(wire)
    assert cold_keys(redis, namespace) == {}
    assert evict_and_push() == 1
    restrict(wire, "t", 0)
    update(chance())
    wire.push("t", [1], [[-1]])
    assert values_of(wire, "t", [1])[0] == 1
    restrict(wire, "t", 0)
    flush(wire)
    wire.tables.DropTable(tables_pb2.DropTableRequest(name="t"))
    flush(wire)
    assert cold_keys(redis, namespace) == {}
    wire.create("t", 2, eviction=chance())
    wire.push("t", [1], [[-1, -1]])
    assert wire.pull("t", [1])[0].tolist() == [[1, 1]]


def test_too_small_a_share_is_refused(wire):
    with refused(InvalidSpec, "second_chance_bytes", "1048576", "4096"):
        wire.create("t", eviction=chance(second_chance_bytes=4096))
