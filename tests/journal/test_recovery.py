"""kill -9: what was acknowledged is there afterwards, bit for bit, and a repeat is recognised."""

from __future__ import annotations

import numpy as np
import pytest
import redis
from tests.journal.support import flush, push_request, request_id, step_of, streams
from tests.processes import until
from tests.server.support import adam, constant, exported, f32, i64, refused, sgd, uniform

from rowbank.errors import InvalidRequest, RedisUnavailable
from rowbank_protos.v1 import admin_pb2, common_pb2, rows_pb2, tables_pb2
from rowbank_server.storage.layout import Layout

Optimizer = tables_pb2.Optimizer
OPTIMIZERS = {
    "sgd": sgd(0.5),
    "adam": adam(),
    "adagrad": Optimizer(adagrad=Optimizer.Adagrad(learning_rate=0.1, initial_accumulator=0.1, epsilon=1e-7)),
}
DTYPES = {"float32": 1, "float16": 2, "bfloat16": 3}


def train(wire, table, *, steps, seed, dim=5):
    """Pushes with repeats, counts and, now and then, a rate of its own."""
    rng = np.random.default_rng(seed)
    for step in range(steps):
        keys = rng.integers(0, 300, 60)
        fields: dict[str, object] = {"counts": rng.integers(1, 5, 60).astype("<u4").tobytes()}
        if step % 3 == 2:
            fields |= {"learning_rate": 0.03, "max_norm": 1.0}
        wire.rows.Push(push_request(table, keys.tolist(), rng.normal(size=(60, dim)), **fields))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_replayed_training_equals_training_that_never_stopped(never_writes_back, connect, optimizer, dtype):
    """Killed with some rows written back, some not, and some written back and changed again."""
    server = never_writes_back()
    wire = connect(server.target)
    spec = {"optimizer": OPTIMIZERS[optimizer], "initializer": uniform(), "value_dtype": DTYPES[dtype]}
    wire.create("t", 5, **spec)
    train(wire, "t", steps=10, seed=1)
    flush(wire)
    train(wire, "t", steps=10, seed=2)
    before, step = exported(wire, "t"), step_of(wire, "t")
    server.kill()
    again = never_writes_back()
    wire = connect(again.target)
    assert "replayed 10 journal records" in again.log
    assert exported(wire, "t") == before
    assert step_of(wire, "t") == step == 20
    # Nothing was written back since, so a second crash finds the same journal.
    again.kill()
    wire = connect(never_writes_back().target)
    assert exported(wire, "t") == before
    # And after a write-back there is nothing left to replay.
    flush(wire)
    train(wire, "t", steps=3, seed=3)
    assert exported(wire, "t") != before


def test_every_kind_of_mutation_is_replayed(never_writes_back, connect):
    server = never_writes_back()
    wire = connect(server.target)
    wire.create("t", initializer=constant(3), optimizer=OPTIMIZERS["adagrad"])
    keys = list(range(40))
    wire.push("t", keys, np.ones((40, 2)))
    flush(wire)
    rows = wire.rows
    rows.Remove(rows_pb2.RemoveRequest(table="t", keys=i64(*range(10))))
    wire.push("t", [5], [[1, 2]])  # A row that is removed and comes to be again starts anew.
    rows.Upsert(rows_pb2.UpsertRequest(table="t", keys=i64(6, 100, 6), values=f32([[1, 1], [2, 2], [3, 3]])))
    for _ in range(2):
        rows.Accumulate(
            rows_pb2.AccumulateRequest(
                table="t", keys=i64(20, 101, 21, 102), deltas=f32(np.full((4, 2), 0.25)), exists=b"\1\0\0\1"
            )
        )
    rows.Touch(rows_pb2.TouchRequest(table="t", keys=i64(22, 103), counts=np.array([7, 7], "<u4").tobytes()))
    chunk = rows_pb2.ImportRequest(
        table="t", keys=i64(30, 104), values=f32([[9, 9], [8, 8]]), frequency=np.array([5, 6], "<u4").tobytes(),
        slots=f32([[1, 2], [3, 4]]), slot_width=2,
    )  # fmt: skip
    rows.Import(iter([chunk]))
    wire.push("t", [30], [[1, 1]])
    wire.admin.Restrict(admin_pb2.RestrictRequest(table="t", num_reserved=30))
    wire.create("cleared")
    wire.push("cleared", keys, np.ones((40, 2)))
    flush(wire)
    wire.push("cleared", [1, 2], np.ones((2, 2)))
    rows.Clear(rows_pb2.ClearRequest(table="cleared"))
    wire.push("cleared", [2, 3], np.ones((2, 2)))
    wire.create("dropped")
    wire.rows.Push(
        rows_pb2.PushRequest(
            tables=[
                rows_pb2.TableGradients(table=table, keys=i64(77), gradients=f32([[1, 1]]))
                for table in ("dropped", "t")
            ]
        )
    )
    for exists in (b"", b"\1"):
        parts = [
            rows_pb2.TableStore(table=table, keys=i64(77), values=f32([[1, 1]]), exists=exists, touch=True)
            for table in ("dropped", "t")
        ]
        rows.Store(rows_pb2.StoreRequest(tables=parts))
    wire.tables.DropTable(tables_pb2.DropTableRequest(name="dropped"))
    before = {table: exported(wire, table) for table in ("t", "cleared")}
    assert {table: len(rows) for table, rows in before.items()} == {"t": 31, "cleared": 2}
    server.kill()
    again = never_writes_back()
    assert "quarantine" not in again.log
    wire = connect(again.target)
    assert {table: exported(wire, table) for table in before} == before
    flush(wire)
    again.kill()
    wire = connect(never_writes_back().target)
    assert {table: exported(wire, table) for table in before} == before


def test_replay_uses_the_learning_rates_of_their_time(never_writes_back, connect):
    server = never_writes_back()
    wire = connect(server.target)
    wire.create("t", optimizer=sgd(1.0))
    wire.push("t", [1], [[1, 1]])
    spec = wire.tables.GetTable(tables_pb2.GetTableRequest(name="t")).table.spec
    spec.optimizer.sgd.learning_rate = 0.25
    wire.tables.UpdateTable(tables_pb2.UpdateTableRequest(spec=spec))
    wire.push("t", [1], [[1, 1]])
    server.kill()
    wire = connect(never_writes_back().target)
    assert wire.pull("t", [1])[0].tolist() == [[-1.25, -1.25]]
    wire.push("t", [1], [[1, 1]])
    assert wire.pull("t", [1])[0].tolist() == [[-1.5, -1.5]]


@pytest.mark.parametrize("written_back", [False, True])
def test_a_repeat_is_recognised_after_a_crash(never_writes_back, connect, written_back):
    """From the journal, or from the stored windows after the journal was trimmed."""
    server = never_writes_back()
    wire = connect(server.target)
    wire.create("t")
    first = wire.rows.Push(push_request("t", [1], [[1, 1]], sequence=1))
    wire.rows.Upsert(rows_pb2.UpsertRequest(table="t", keys=i64(9), values=f32([[1, 1]]), request_id=request_id(2)))
    if written_back:
        flush(wire)
    server.kill()
    wire = connect(never_writes_back().target)
    again = wire.rows.Push(push_request("t", [1], [[1, 1]], sequence=1))
    assert (list(again.steps), again.repeated_request) == (list(first.steps), True)
    with refused(InvalidRequest, "another kind"):
        wire.rows.Push(push_request("t", [1], [[1, 1]], sequence=2))
    assert not wire.rows.Push(push_request("t", [1], [[1, 1]], sequence=3)).repeated_request
    assert wire.pull("t", [1])[0].tolist() == [[-2, -2]]


def test_the_journal_is_trimmed_once_written_back(start_ps, never_writes_back, connect, redis_url, namespace):
    server = never_writes_back()
    wire = connect(server.target)
    wire.create("t")
    layout = Layout(namespace)
    with redis.Redis.from_url(redis_url) as client:
        for key in range(20):
            wire.push("t", [key], [[1, 1]])
        assert client.xlen(streams(client, namespace)["1"]) == 21  # The first entry names the format.
        flush(wire)
        assert client.xlen(streams(client, namespace)["1"]) == 0
        wire.push("t", [0], [[1, 1]])
        server.kill()
        again = never_writes_back()
        assert streams(client, namespace).keys() == {"1:sealed", "2"}
        flush(connect(again.target))
        assert streams(client, namespace).keys() == {"2"}
        assert not any(name.startswith(b"journal:1") for name in client.hkeys(layout.state(0)))
        assert again.terminate() == 0
        assert not streams(client, namespace)


def test_a_corrupt_record_is_set_aside_and_the_rest_replayed(never_writes_back, connect, redis_url, namespace):
    server = never_writes_back()
    wire = connect(server.target)
    wire.create("t")
    for key in range(5):
        wire.push("t", [key], [[1, 1]])
    server.kill()
    layout = Layout(namespace)
    with redis.Redis.from_url(redis_url) as client:
        journal = streams(client, namespace)["1"]
        name = journal.removeprefix(f"{namespace}:{{s0}}:journal:")
        entries = client.xrange(journal)
        client.delete(journal)
        for place, (entry_id, fields) in enumerate(entries):
            if place == 3:
                flipped = bytearray(fields[b"0"])
                flipped[-1] ^= 1
                fields[b"0"] = bytes(flipped)
            client.xadd(journal, fields, id=entry_id)
        again = never_writes_back()
        assert f"journal record {name}/3-0/0 is in quarantine" in again.log
        assert client.hgetall(layout.journal_quarantine(0)) == {f"{name}/3-0/0".encode(): bytes(flipped)}
    wire = connect(again.target)
    assert wire.pull("t", range(5))[0][:, 0].tolist() == [-1, -1, 0, -1, -1]


def test_relaxed_tables_are_not_journaled(never_writes_back, connect, redis_url, namespace):
    server = never_writes_back()
    wire = connect(server.target)
    wire.create("t", durability=common_pb2.DURABILITY_RELAXED)
    wire.push("t", [1], [[1, 1]])
    with redis.Redis.from_url(redis_url) as client:
        assert client.xlen(streams(client, namespace)["1"]) == 1
    server.kill()
    assert connect(never_writes_back().target).size("t") == 0


def test_admission_is_replayed_as_it_was(never_writes_back, connect):
    """Which keys had rows of their own is recorded: the counts that decided it are not kept over a restart."""
    server = never_writes_back()
    wire = connect(server.target)
    wire.create("t", optimizer=adam(), initializer=uniform(), admission=tables_pb2.Admission(min_count=3))
    rng = np.random.default_rng(5)
    for step in range(12):
        keys = np.unique(rng.zipf(1.5, 40) % 50)
        wire.push("t", keys.tolist(), rng.normal(size=(len(keys), 2)))
        if step == 6:
            flush(wire)
    everything = list(range(60))
    values, status = wire.pull("t", everything)
    assert {1, 3} == set(status)
    rows = exported(wire, "t")
    server.kill()
    again = never_writes_back()
    wire = connect(again.target)
    assert wire.pull("t", everything)[1] == status
    assert wire.pull("t", everything)[0].tobytes() == values.tobytes()
    assert exported(wire, "t") == rows  # Frequencies count from before admission.
    again.kill()
    wire = connect(never_writes_back().target)
    assert wire.pull("t", everything)[0].tobytes() == values.tobytes()


def test_evicted_rows_stay_evicted(never_writes_back, connect):
    """A row that was evicted and comes to be again starts anew, also when it is replayed."""
    server = never_writes_back("--eviction-interval-s", "0.02")
    wire = connect(server.target)
    eviction = tables_pb2.Eviction(policy=tables_pb2.Eviction.POLICY_LFU, max_rows=50, low_watermark=0.8)
    wire.create("t", eviction=eviction)
    wire.push("t", list(range(50)), np.ones((50, 2)))
    flush(wire)
    wire.push("t", list(range(1000, 1020)), np.ones((20, 2)))
    until(lambda: wire.size("t") == 40, what="eviction")
    wire.push("t", list(range(5)), np.ones((5, 2)))
    before = exported(wire, "t")
    server.kill()
    wire = connect(never_writes_back("--eviction-interval-s", "3600").target)
    assert exported(wire, "t") == before


def test_removed_rows_stay_removed_though_the_older_journal_is_replayed_again(
    never_writes_back, connect, redis_url, namespace
):
    """The process ends when a write-back is through and the journal of the one before it is not deleted yet."""
    server = never_writes_back()
    wire = connect(server.target)
    wire.create("t")
    wire.push("t", [1, 2], np.ones((2, 2)))
    server.kill()
    with redis.Redis.from_url(redis_url) as client:
        # A user of its own, so that deleting the older journal fails as if the process had ended there.
        client.acl_setuser("no-unlink", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-unlink"])
        url = redis_url.replace("unix://", "unix://no-unlink:any@")
        server = never_writes_back(redis=url)
        wire = connect(server.target)
        wire.rows.Remove(rows_pb2.RemoveRequest(table="t", keys=i64(1)))
        with refused(RedisUnavailable, "unlink"):
            flush(wire)
        server.kill()
        assert "1:sealed" in streams(client, namespace)
        client.acl_deluser("no-unlink")
    wire = connect(never_writes_back().target)
    assert wire.pull("t", [1, 2])[1] == [2, 1]


def test_clearing_and_writing_back_do_not_wait_for_each_other(start_ps, connect):
    wire = connect(start_ps("--flush-interval-s", "0.002").target)
    wire.create("t")
    for _ in range(100):
        wire.rows.Push(push_request("t", [1, 2], np.ones((2, 2))), timeout=10)
        wire.rows.Clear(rows_pb2.ClearRequest(table="t"), timeout=10)
    assert wire.size("t") == 0


def test_steps_count_on_after_pushes_without_keys(never_writes_back, connect):
    """With several shards a push names a table, without keys, to those that own none of its keys."""
    server = never_writes_back()
    wire = connect(server.target)
    wire.create("t", optimizer=adam())
    for _ in range(4):
        wire.push("t", [], np.empty((0, 2)))
    flush(wire)
    wire.push("t", [], np.empty((0, 2)))
    server.kill()
    assert step_of(connect(never_writes_back().target), "t") == 5


def test_what_a_relaxed_table_removed_does_not_rise_again(never_writes_back, connect):
    """A push that another table made durable is replayed; the removal that followed it must be, too."""
    server = never_writes_back()
    wire = connect(server.target)
    wire.create("relaxed", durability=common_pb2.DURABILITY_RELAXED)
    wire.create("journaled")
    both = [
        rows_pb2.TableGradients(table=table, keys=i64(1, 2), gradients=f32([[1, 1], [1, 1]]))
        for table in ("relaxed", "journaled")
    ]
    wire.rows.Push(rows_pb2.PushRequest(tables=both))
    wire.rows.Remove(rows_pb2.RemoveRequest(table="relaxed", keys=i64(1)))
    server.kill()
    again = never_writes_back()
    wire = connect(again.target)
    assert list(wire.rows.Lookup(rows_pb2.LookupRequest(table="relaxed", keys=i64(1, 2))).found) == [0, 1]
    wire.rows.Clear(rows_pb2.ClearRequest(table="relaxed"))
    again.kill()
    wire = connect(never_writes_back().target)
    assert (wire.size("relaxed"), wire.size("journaled")) == (0, 2)


def test_what_was_replayed_is_not_counted_again(never_writes_back, connect):
    server = never_writes_back()
    wire = connect(server.target)
    wire.create("t")
    wire.push("t", [1, 2, 3], np.ones((3, 2)))
    wire.rows.Remove(rows_pb2.RemoveRequest(table="t", keys=i64(3)))
    server.kill()
    wire = connect(never_writes_back().target)
    wire.push("t", [2, 4], np.ones((2, 2)))
    (stats,) = wire.admin.GetStats(admin_pb2.GetStatsRequest(table="t")).tables
    assert (stats.rows, stats.pushed_rows, stats.inserted_rows, stats.removed_rows) == (3, 2, 1, 0)
