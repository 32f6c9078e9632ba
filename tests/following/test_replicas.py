"""Replicas as processes: what they answer, what they refuse, and how they keep up."""

from __future__ import annotations

import os
import signal

import grpc
import numpy as np
import pytest
import redis
from tests.following.cluster import pair
from tests.processes import stand_still, until
from tests.server.support import i64, refused
from tests.server.test_metrics import scraped

from rowbank.errors import (
    InvalidRequest,
    NotOwner,
    NotReady,
    RedisUnavailable,
    ReplicaTooStale,
    TableNotFound,
    from_rpc_error,
)
from rowbank_protos.v1 import admin_pb2, common_pb2, deltas_pb2, deltas_pb2_grpc, rows_pb2

ROWS = 20_000


@pytest.fixture
def both(tmp_path, redis_url, namespace):
    with pair(tmp_path, redis_url, namespace, "--flush-interval-s", "0.2", "--http-bind", "127.0.0.1:0") as made:
        yield made


@pytest.fixture
def owner(both):
    return both.wire(both.owner)


@pytest.fixture
def replica(both):
    return both.wire(both.replica)


def pull(wire, table, keys, **metadata):
    """Values, and the metadata of the answer."""
    request = rows_pb2.PullRequest(tables=[rows_pb2.TableKeys(table=table, keys=i64(*keys))])
    sent = [(f"rowbank-{name.replace('_', '-')}", str(value)) for name, value in metadata.items()]
    answer, call = wire.rows.Pull.with_call(request, metadata=sent)
    return np.frombuffer(answer.tables[0].values, "<f4"), dict(call.trailing_metadata())


def push_position(wire, table, keys):
    part = rows_pb2.TableGradients(table=table, keys=i64(*keys), gradients=np.full((len(keys), 2), -1, "<f4").tobytes())
    _, call = wire.rows.Push.with_call(rows_pb2.PushRequest(tables=[part]), metadata=[("rowbank-want-position", "1")])
    return int(dict(call.trailing_metadata())["rowbank-position"])


def fill(wire, table, rows=ROWS, **spec):
    wire.create(table, **spec)
    for start in range(0, rows, 5000):
        keys = list(range(start, min(start + 5000, rows)))
        wire.push(table, keys, np.full((len(keys), 2), -1))


def pictures(both):
    return scraped(both.replica)[("rowbank_replica_pictures_total",)]


def test_a_replica_answers_every_read_as_the_owner_does(both, owner, replica):
    fill(owner, "t", 100)
    owner.create("relaxed", durability=common_pb2.DURABILITY_RELAXED)
    owner.push("relaxed", [1, 2], [[1, 1], [2, 2]])
    assert both.require_equal() == 102
    position = both.info(both.owner).position
    values, told = pull(replica, "t", [1, 2, 1000])
    assert values.tolist() == [1, 1, 1, 1, 0, 0]
    assert int(told["rowbank-position"]) >= position
    assert 0 <= int(told["rowbank-age-ms"]) < 60_000
    assert replica.size("t") == 100
    stats = replica.admin.GetStats(admin_pb2.GetStatsRequest(table="t")).tables[0]
    assert (stats.rows, stats.dim) == (100, 2)
    assert len(replica.admin.TopRows(admin_pb2.TopRowsRequest(table="t", limit=3)).keys) == 24
    members = both.info(both.replica).members
    assert [member.role for member in members] == ["owner", "replica"]


def test_what_changes_something_is_refused_with_the_owners_address(both, owner, replica):
    owner.create("t")
    both.require_equal()
    target = both.proxy.target
    with refused(NotOwner, target):
        replica.push("t", [1], [[1, 1]])
    with refused(NotOwner, target):
        replica.create("other")
    with refused(NotOwner, target):
        replica.rows.Clear(rows_pb2.ClearRequest(table="t"))
    with refused(NotOwner, target):
        replica.rows.Import(iter([rows_pb2.ImportRequest(table="t")]))
    with refused(NotOwner, target):
        replica.admin.Restrict(admin_pb2.RestrictRequest(table="t", num_reserved=1))
    with refused(NotOwner, target):
        next(deltas_pb2_grpc.DeltaServiceStub(replica.channel).Follow(deltas_pb2.FollowRequest()))


def test_own_writes_are_read_by_their_position(both, owner, replica):
    owner.create("t")
    both.require_equal()
    for count in range(1, 30):
        position = push_position(owner, "t", [1])
        assert position > 0

        def read(position=position):
            try:
                return pull(replica, "t", [1], min_position=position)[0].tolist()
            except grpc.RpcError:
                return None

        until(read, what="the replica has the push")
        assert read() == [count, count]
    with refused(ReplicaTooStale, "was asked for", both.proxy.target):
        pull(replica, "t", [1], min_position=position + 1)
    with refused(NotReady, "another process serves the shard"):
        pull(owner, "t", [1], min_position=position + 1)
    assert pull(owner, "t", [1], min_position=position)[0].tolist() == [29, 29]


def test_callers_say_how_old_rows_may_be(both, owner, replica):
    owner.create("t")
    both.require_equal()
    with refused(ReplicaTooStale, "0 were allowed"):
        pull(replica, "t", [1], max_staleness_ms=0)
    pull(owner, "t", [1], max_staleness_ms=0)
    until(lambda: pull(replica, "t", [1], max_staleness_ms=30_000), what="an answer")
    for bad in ("-1", "1.5", "soon", ""):
        for wire in (owner, replica):
            with refused(InvalidRequest, "rowbank-max-staleness-ms", repr(bad)):
                pull(wire, "t", [1], max_staleness_ms=bad)
            with refused(InvalidRequest, "rowbank-min-position"):
                pull(wire, "t", [1], min_position=bad)


def test_a_replica_of_an_owner_that_stands_still_says_how_old_it_is(both, owner, replica):
    owner.create("t")
    both.require_equal()
    stand_still(both.owner.pid)
    try:
        until(lambda: int(pull(replica, "t", [1])[1]["rowbank-age-ms"]) > 1500, what="age grows")
        with refused(ReplicaTooStale, "at most 1000 were allowed"):
            pull(replica, "t", [1], max_staleness_ms=1000)
        pull(replica, "t", [1])
        until(lambda: both.info(both.replica).state != "following", what="the silence is noticed")
    finally:
        os.kill(both.owner.pid, signal.SIGCONT)
    owner.push("t", [1], [[-1, -1]])
    assert both.require_equal() == 1
    until(lambda: int(pull(replica, "t", [1])[1]["rowbank-age-ms"]) < 1000, what="it is fresh again")


def test_what_was_acknowledged_and_not_sent_counts_as_age(tmp_path, own_redis, namespace):
    """A relaxed push waits for nobody, and goes to followers behind a journaled one that waits for Redis."""
    with pair(tmp_path, own_redis.url, namespace, "--journal-wait-s", "0.5") as both:
        owner, replica = both.wire(both.owner), both.wire(both.replica)
        owner.create("journaled")
        owner.create("relaxed", durability=common_pb2.DURABILITY_RELAXED)
        both.require_equal()
        stand_still(own_redis.pid)
        try:
            with refused(RedisUnavailable):
                owner.push("journaled", [1], [[-1, -1]])
            owner.push("relaxed", [1], [[-1, -1]])
            until(lambda: int(pull(replica, "relaxed", [1])[1]["rowbank-age-ms"]) > 1000, what="age grows")
            with refused(ReplicaTooStale, "1000 were allowed"):
                pull(replica, "relaxed", [1], max_staleness_ms=1000)
            assert pull(replica, "relaxed", [1])[0].tolist() == [0, 0]
        finally:
            os.kill(own_redis.pid, signal.SIGCONT)
        assert both.require_equal() == 2


def test_a_table_that_is_not_here_is_asked_of_the_owner(both, owner, replica):
    with refused(ReplicaTooStale, "'t' is not here"):
        replica.size("t")
    with refused(TableNotFound):
        owner.size("t")


def test_a_stream_that_is_cut_in_the_middle_of_a_picture_begins_it_again(both, owner, replica):
    fill(owner, "t")
    both.require_equal()
    both.replica.kill()
    for _ in range(3):
        both.start_replica()
        wire = both.wire(both.replica)
        until(both.proxy.cut, what="a stream to cut")
        both.proxy.cut()
        owner.push("t", [1, 2], [[1, 1], [2, 2]])
        assert both.require_equal() == ROWS
        assert wire.size("t") == ROWS
        both.replica.kill()


def test_a_replica_goes_on_without_a_picture_after_a_cut(both, owner):
    fill(owner, "t", 1000)
    both.require_equal()
    before = pictures(both)
    for _ in range(3):
        assert both.proxy.cut()
        owner.push("t", [1, 2000], [[1, 1], [1, 1]])
        assert both.require_equal() == 1001
    assert pictures(both) == before


def test_it_does_so_after_a_restart_of_the_owner(both, owner):
    fill(owner, "t", 1000)
    both.require_equal()
    before = pictures(both)
    for key in (2000, 3000):
        both.owner.kill()
        both.start_owner()
        owner.push("t", [1, key], [[1, 1], [1, 1]])
        both.require_equal()
    assert pictures(both) == before


def test_a_replica_writes_nothing_to_redis_but_its_own_entry(both, owner, redis_url, namespace):
    fill(owner, "t", 100)
    both.require_equal()
    both.replica.kill()
    owner.admin.Flush(admin_pb2.FlushRequest())
    with redis.Redis.from_url(redis_url) as client:

        def content():
            keys = [key for key in client.keys(f"{namespace}:*") if not key.endswith((b":lease", b":members"))]
            return {key: client.dump(key) for key in keys}

        before = content()
        both.start_replica()
        assert both.require_equal() == 100
        assert content() == before
        assert client.hlen(f"{namespace}:{{s0}}:members") >= 2


def test_a_standby_answers_who_it_is_and_nothing_else(both, owner, start_ps, connect, namespace, redis_url):
    fill(owner, "t", 10)
    standby = connect(start_ps("--standby").target)
    until(lambda: standby.admin.GetServerInfo(admin_pb2.GetServerInfoRequest()).state == "following", what="following")
    assert not standby.serving()
    assert standby.admin.GetStats(admin_pb2.GetStatsRequest()).tables[0].rows == 10
    stub = deltas_pb2_grpc.DeltaServiceStub(standby.channel)
    assert not stub.ListFollowers(deltas_pb2.ListFollowersRequest()).followers
    calls = [
        lambda: standby.size("t"),
        lambda: standby.pull("t", [1]),
        lambda: standby.push("t", [1], [[1, 1]]),
        lambda: next(standby.rows.Export(rows_pb2.ExportRequest(table="t"))),
        lambda: next(stub.Follow(deltas_pb2.FollowRequest())),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        error = from_rpc_error(caught.value)
        assert type(error) is NotReady
        assert dict(error.metadata) == {"role": "standby", "owner": both.proxy.target}


def test_metrics_say_how_old_it_is_and_what_it_did(both, owner):
    fill(owner, "t", 100)
    both.require_equal()  # With what the picture has; what is pushed now comes as records.
    owner.push("t", [1, 2], np.ones((2, 2)))
    both.require_equal()
    values = scraped(both.replica)
    assert values[("rowbank_replica_connected",)] == 1
    assert values[("rowbank_replica_age_seconds",)] < 60
    assert values[("rowbank_replica_position",)] == both.info(both.owner).position
    assert values[("rowbank_replica_tables",)] == values[("rowbank_replica_whole_tables",)] == 1
    assert values[("rowbank_replica_records_total",)] >= 1
    assert values[("rowbank_replica_unusable_total",)] == 0
    assert ("rowbank_replica_connected",) not in scraped(both.owner)
