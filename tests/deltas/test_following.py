"""Streams of a real shard: what followers get, whatever becomes of the rows."""

from __future__ import annotations

import signal
import subprocess
import sys

import grpc
import numpy as np
import pytest
from tests.deltas.support import KEYS, NOW, RECORDS, ROWS, last_position, stored
from tests.processes import until
from tests.server.support import f32, i64, refused

from rowbank.errors import InvalidRequest, Overloaded, TableNotFound
from rowbank_protos.v1 import admin_pb2, deltas_pb2, rows_pb2, snapshots_pb2, snapshots_pb2_grpc, tables_pb2
from rowbank_server.journal.records import Kind

REMOVED, RESTRICT, MANUAL, TTL, CAPACITY = (
    deltas_pb2.REMOVAL_REASON_REMOVED,
    deltas_pb2.REMOVAL_REASON_RESTRICT,
    deltas_pb2.REMOVAL_REASON_MANUAL,
    deltas_pb2.REMOVAL_REASON_TTL,
    deltas_pb2.REMOVAL_REASON_CAPACITY,
)


@pytest.fixture
def ps(start_ps):
    return start_ps()


@pytest.fixture
def wire(ps, connect):
    return connect(ps.target)


def upsert(wire, table, keys, values):
    wire.rows.Upsert(rows_pb2.UpsertRequest(table=table, keys=i64(*keys), values=f32(values)))


def every_kind(wire, table):
    """One mutation of each kind."""
    wire.push(table, [1, 2, 3], [[1, 1]] * 3)
    upsert(wire, table, [4, 5], [[4, 4], [5, 5]])
    wire.rows.Accumulate(
        rows_pb2.AccumulateRequest(table=table, keys=i64(4, 6), deltas=f32([[1, 1]] * 2), exists=bytes([1, 0]))
    )
    wire.rows.Touch(rows_pb2.TouchRequest(table=table, keys=i64(1)))
    part = rows_pb2.TableStore(table=table, keys=i64(7), values=f32([[7, 7]]))
    wire.rows.Store(rows_pb2.StoreRequest(tables=[part]))
    wire.rows.Import(iter([rows_pb2.ImportRequest(table=table, keys=i64(8), values=f32([[8, 8]]))]))
    wire.rows.Remove(rows_pb2.RemoveRequest(table=table, keys=i64(2, 5)))


def test_every_kind_of_mutation_is_sent_at_each_detail(ps, wire, follow):
    wire.create("t")
    wire.push("t", [3, 9], [[1, 1]] * 2)
    rows, keys, records = (follow(ps.target, detail=detail) for detail in (ROWS, KEYS, RECORDS))
    for follower in (rows, keys, records):
        assert (follower.hello.source, follower.hello.continued) == ("picture", False)
    every_kind(wire, "t")
    end = last_position(ps.target)
    for follower in (rows, keys, records):
        follower.reaches(end)
    expected = stored(wire, "t")
    assert expected[4] == f32([5, 5])
    assert rows.mirror.table("t") == expected
    assert keys.mirror.table("t").keys() == expected.keys() == {1, 3, 4, 6, 7, 8, 9}
    for follower in (rows, keys):
        assert follower.mirror.why("t") == {2: REMOVED, 5: REMOVED}
    got = [record.kind for record in records.records()]
    kinds = [Kind.PUSH, Kind.UPSERT, Kind.ACCUMULATE, Kind.TOUCH, Kind.STORE, Kind.IMPORT, Kind.REMOVE]
    assert got[-len(kinds) :] == kinds
    positions = [record.position for record in records.records()]
    assert positions == sorted(positions)


def test_rows_come_with_their_positions(ps, wire, follow):
    wire.create("t")
    follower = follow(ps.target)
    wire.push("t", [1], [[1, 1]])
    wire.push("t", [2], [[1, 1]])
    follower.reaches(last_position(ps.target))
    seen: dict[int, int] = {}
    for changes in follower.contents("changes"):
        seen |= dict(
            zip(np.frombuffer(changes.keys, "<i8").tolist(), np.frombuffer(changes.positions, "<u8"), strict=True)
        )
    for key in (1, 2):
        assert seen[key] == wire.admin.DescribeRow(admin_pb2.DescribeRowRequest(table="t", key=key)).position


def test_a_cleared_table_comes_as_a_new_picture(ps, wire, follow):
    wire.create("t")
    wire.push("t", [1, 2], [[1, 1]] * 2)
    rows, records = follow(ps.target), follow(ps.target, detail=RECORDS)
    for follower in (rows, records):
        follower.reaches(last_position(ps.target))
    wire.rows.Clear(rows_pb2.ClearRequest(table="t"))
    wire.push("t", [3], [[1, 1]])
    for follower in (rows, records):
        follower.reaches(last_position(ps.target))
    assert rows.mirror.table("t") == stored(wire, "t")
    assert rows.mirror.pictures == 2
    assert [record.kind for record in records.records()][-2:] == [Kind.CLEAR, Kind.PUSH]


def test_evicted_rows_go_with_their_reason(ps, wire, follow):
    wire.create("t")
    wire.create("brief", eviction=tables_pb2.Eviction(ttl_s=0.5))
    wire.create("small", eviction=tables_pb2.Eviction(policy="POLICY_LRU", max_rows=10, low_watermark=0.5))
    follower = follow(ps.target, detail=KEYS)
    wire.push("t", list(range(10)), [[1, 1]] * 10)
    for keep, reason in ((8, "EVICTION_REASON_UNSPECIFIED"), (6, "EVICTION_REASON_MANUAL")):
        wire.admin.Restrict(admin_pb2.RestrictRequest(table="t", num_reserved=keep, reason=reason))
    wire.push("small", list(range(20)), [[1, 1]] * 20)
    wire.push("brief", [1], [[1, 1]])

    until(lambda: {1} == follower.mirror.why("brief").keys(), what="expiry")
    until(lambda: len(follower.mirror.why("small")) == 15, what="eviction")
    follower.reaches(last_position(ps.target))
    assert sorted(follower.mirror.why("t").values()) == [RESTRICT] * 2 + [MANUAL] * 2
    assert set(follower.mirror.why("small").values()) == {CAPACITY}
    assert follower.mirror.why("brief") == {1: TTL}
    assert follower.mirror.table("t").keys() == stored(wire, "t").keys()


def test_nobody_forges_a_reason(ps, wire, follow):
    wire.create("t")
    follower = follow(ps.target)
    wire.push("t", [1], [[1, 1]])
    wire.rows.Remove(rows_pb2.RemoveRequest(table="t", keys=i64(1), reason=TTL))
    follower.reaches(last_position(ps.target))
    assert follower.mirror.why("t") == {1: REMOVED}


def test_tables_come_and_go_and_come_anew(ps, wire, follow):
    wire.create("a")
    everything, one = follow(ps.target), follow(ps.target, tables=["a"])
    wire.create("b")
    wire.push("b", [1], [[1, 1]])
    wire.push("a", [1], [[1, 1]])
    wire.tables.DropTable(tables_pb2.DropTableRequest(name="a"))
    wire.create("a", dim=3)
    wire.push("a", [2], [[1, 1, 1]])
    for follower in (everything, one):
        follower.reaches(last_position(ps.target))
    assert everything.mirror.table("a") == one.mirror.table("a") == stored(wire, "a") == {2: f32([-1, -1, -1])}
    assert everything.mirror.table("b") == stored(wire, "b")
    assert set(one.mirror.names.values()) == {"a"}
    wire.tables.UpdateTable(tables_pb2.UpdateTableRequest(spec=_spec(wire, "a", ttl_s=77)))
    wire.push("a", [3], [[1, 1, 1]])
    one.reaches(last_position(ps.target))
    assert one.contents("tables")[-1].tables[0].spec.eviction.ttl_s == 77


def _spec(wire, name, *, ttl_s):
    spec = wire.tables.GetTable(tables_pb2.GetTableRequest(name=name)).table.spec
    spec.eviction.ttl_s = ttl_s
    return spec


def test_from_now_on_nothing_older_comes(ps, wire, follow):
    wire.create("t")
    wire.push("t", [1], [[1, 1]])
    follower = follow(ps.target, start=NOW)
    assert follower.hello.source == "now"
    wire.push("t", [2], [[1, 1]])
    follower.reaches(last_position(ps.target))
    assert follower.mirror.table("t").keys() == {2}


def test_keys_that_are_not_admitted_yet_have_not_moved(ps, wire, follow):
    wire.create("t", admission=tables_pb2.Admission(min_count=3))
    follower = follow(ps.target)
    wire.push("t", [1, 1, 2], [[1, 1]] * 3)
    wire.push("t", [1], [[1, 1]])
    follower.reaches(last_position(ps.target))
    assert follower.mirror.table("t") == stored(wire, "t")
    assert follower.mirror.table("t").keys() == {1}


def test_what_makes_no_sense_is_refused(ps, wire, follow):
    wire.create("t")
    stub = follow(ps.target).stub
    for error, words, request in (
        (TableNotFound, ["nope"], {"tables": ["nope"]}),
        (InvalidRequest, ["records are of all tables"], {"tables": ["t"], "detail": RECORDS}),
        (InvalidRequest, ["detail"], {"detail": 9}),
        (InvalidRequest, ["start"], {"start": 9}),
        (InvalidRequest, ["since"], {"start": deltas_pb2.FOLLOW_START_POSITION}),
        (InvalidRequest, ["name"], {"name": "x" * 300}),
    ):
        with refused(error, *words):
            next(stub.Follow(deltas_pb2.FollowRequest(**request)))


def test_more_followers_than_may_be_are_refused(start_ps, follow):
    ps = start_ps("--max-followers", "2")
    first, second = follow(ps.target), follow(ps.target)
    assert first.hello.source == second.hello.source == "picture"
    third = follow(ps.target)
    error = third.fails()
    assert isinstance(error, Overloaded)
    assert "max_followers" in error.message
    second.close()

    def joins():
        return follow(ps.target).hello.source == "picture"

    until(lambda: len(_followers(first)) == 1, what="the second to go")
    assert joins()


def test_servers_may_follow_whoever_else_does(start_ps, follow):
    ps = start_ps("--max-followers", "1")
    assert follow(ps.target).hello.source == "picture"
    for role in ("standby", "replica"):
        assert follow(ps.target, role=role).hello.source == "picture"


def _followers(follower):
    return follower.stub.ListFollowers(deltas_pb2.ListFollowersRequest()).followers


def test_followers_are_listed(ps, wire, follow):
    wire.create("t")
    follower = follow(ps.target, name="index", detail=KEYS, tables=["t"], role="replica", address="h:1")
    wire.push("t", [1], [[1, 1]])
    follower.reaches(last_position(ps.target))

    until(lambda: _followers(follower)[0].position == follower.position, what="the position")
    seen: list[deltas_pb2.Follower] = []

    def up_to_date():  # Marks of write-backs, which it does not get, take positions in between.
        seen[:] = _followers(follower)
        return not seen[0].lag_records

    until(up_to_date, what="a follower that has everything")
    (listed,) = seen
    assert (listed.name, listed.role, listed.address, listed.detail) == ("index", "replica", "h:1", KEYS)
    assert (list(listed.tables), listed.lag_records, listed.lag_s, listed.source) == (["t"], 0, 0.0, "picture")
    assert listed.sent_bytes > 0
    answer = follower.stub.ListFollowers(deltas_pb2.ListFollowersRequest())
    assert answer.ring_bytes > 0
    assert answer.ring_first <= answer.position


def test_a_sign_of_life_comes_every_200_ms(ps, follow):
    follower = follow(ps.target)
    follower.reaches(1)

    until(lambda: len(follower.messages) > 12, what="signs of life")
    times = [message.at_ms for message in follower.messages]
    silences = np.diff(times)
    assert np.median(silences) <= 200


def freeze(target, table, name):
    """A model version's copy of a table."""
    with grpc.insecure_channel(target) as channel:
        stub = snapshots_pb2_grpc.SnapshotServiceStub(channel)
        stub.BeginSnapshot(snapshots_pb2.BeginSnapshotRequest(snapshot_id=name, hold_ms=2000))
        stub.ResumeMutations(snapshots_pb2.ResumeMutationsRequest(snapshot_id=name))
        stub.FreezeTable(snapshots_pb2.FreezeTableRequest(snapshot_id=name, table=table, frozen_name=name))
        stub.EndSnapshot(snapshots_pb2.EndSnapshotRequest(snapshot_id=name))


def test_a_models_copy_comes_as_a_picture_when_it_is_whole(ps, wire, follow):
    wire.create("t")
    followers = [follow(ps.target), follow(ps.target, start=NOW), follow(ps.target, detail=RECORDS)]
    for follower in followers:
        assert follower.hello.server_id
    wire.push("t", list(range(100)), [[1, 1]] * 100)
    freeze(ps.target, "t", "copy")
    for follower in followers[:2]:
        until(lambda follower=follower: len(follower.mirror.table("copy")) == 100, what="the copy")
        assert follower.mirror.table("copy") == stored(wire, "copy")
    records = followers[2]
    until(lambda: len(records.contents("picture_end")) == 2, what="the copy")
    assert len(records.records()) == 1  # The push.
    rows: dict[int, bytes] = {}
    for part in records.contents("picture_rows"):
        keys, size = np.frombuffer(part.keys, "<i8").tolist(), len(part.packed) // max(1, len(part.keys) // 8)
        rows |= {key: part.packed[place * size + 24 : (place + 1) * size] for place, key in enumerate(keys)}
    assert rows == stored(wire, "copy")
    # Whoever missed that gets it later.
    since = deltas_pb2.StreamPosition(server_id=records.hello.server_id, number=records.records()[0].position - 1)
    late = follow(ps.target, start=deltas_pb2.FOLLOW_START_POSITION, since=since)
    until(lambda: late.mirror.names and len(late.mirror.table("copy")) == 100, what="the copy")


def test_replicas_are_told_of_write_backs(start_ps, connect, follow):
    ps = start_ps("--flush-interval-s", "3600")
    wire = connect(ps.target)
    wire.create("t")
    records, rows = follow(ps.target, detail=RECORDS), follow(ps.target)
    records.reaches(last_position(ps.target))
    wire.push("t", [1], [[1, 1]])
    wire.admin.Flush(admin_pb2.FlushRequest())
    wire.push("t", [2], [[1, 1]])
    for follower in (records, rows):
        follower.reaches(last_position(ps.target))
    steps = [message for message in records.messages if message.WhichOneof("content") in ("records", "write_back")]
    begun, ended = (
        (at, message.write_back) for at, message in enumerate(steps) if message.WhichOneof("content") == "write_back"
    )
    stages = deltas_pb2.WriteBackMark
    assert (begun[1].stage, ended[1].stage) == (stages.STAGE_BEGUN, stages.STAGE_ENDED)
    assert begun[1].serial == ended[1].serial
    assert ended[1].flush == 1
    assert [len(message.records.records) for message in steps[: begun[0]]] == [1]
    assert sum(len(message.records.records) for message in steps[ended[0] :]) == 1
    assert not rows.contents("write_back")
    through = int(steps[begun[0]].position.number)
    assert through == records.records()[0].position


def test_a_follower_that_is_gone_without_a_word_is_noticed(start_ps, follow):
    ps = start_ps()
    watcher = follow(ps.target)
    code = (
        "import sys, grpc; from rowbank_protos.v1 import deltas_pb2, deltas_pb2_grpc\n"
        "stub = deltas_pb2_grpc.DeltaServiceStub(grpc.insecure_channel(sys.argv[1]))\n"
        "for message in stub.Follow(deltas_pb2.FollowRequest(name='frozen')): pass\n"
    )
    frozen = subprocess.Popen([sys.executable, "-c", code, ps.target])
    try:
        until(lambda: len(_followers(watcher)) == 2, what="the follower")
        frozen.send_signal(signal.SIGSTOP)
        until(lambda: len(_followers(watcher)) == 1, what="its end")
    finally:
        frozen.kill()
        frozen.wait()
