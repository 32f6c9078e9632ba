"""Where a stream begins for somebody who has followed before: RAM, the journal, or a picture."""

from __future__ import annotations

import time

import numpy as np
import pytest
from tests.deltas.support import KEYS, POSITION, RECORDS, ROWS, last_position, stored
from tests.journal.support import CuttingProxy, redis_is_away, redis_is_back
from tests.processes import stand_still, until
from tests.server.support import i64, refused
from tests.server.test_redis_faults import kill

from rowbank.errors import FollowerTooSlow, RedisUnavailable
from rowbank_protos.v1 import admin_pb2, common_pb2, deltas_pb2, rows_pb2, tables_pb2
from rowbank_server.redis_supervisor import EmbeddedRedis

RELAXED, SYNCED = common_pb2.DURABILITY_RELAXED, common_pb2.DURABILITY_SYNCED


def pushes(wire, count, *, first=0, table="t", size=1):
    for number in range(first, first + count):
        wire.push(table, list(range(number, number + size)), [[1, 1]] * size)


def equal(wire, mirror, *tables):
    for table in tables:
        assert mirror.table(table) == stored(wire, table)


@pytest.mark.parametrize("detail", [KEYS, RECORDS], ids=["keys", "records"])
def test_after_a_cut_it_goes_on_from_ram(start_ps, connect, follow, detail):
    ps = start_ps()
    wire = connect(ps.target)
    wire.create("t")
    first = follow(ps.target, detail=detail)
    pushes(wire, 5)
    first.reaches(last_position(ps.target))
    tables, end = list(first.mirror.names), first.position
    mirror = first.close()
    pushes(wire, 5, first=5)
    second = follow(ps.target, detail=detail, mirror=mirror, complete_tables=tables if detail == RECORDS else [])
    assert (second.hello.source, second.hello.continued) == ("ring", True)
    second.reaches(last_position(ps.target))
    assert not second.contents("picture_start")
    if detail == RECORDS:
        assert [record.position for record in second.records()] == list(range(end + 1, end + 6))
        assert not second.contents("windows")
    else:
        assert mirror.table("t").keys() == set(range(10))


def test_what_ram_has_no_more_comes_from_the_journal(never_writes_back, connect, follow):
    ps = never_writes_back("--follow-buffer-bytes", str(1 << 20))
    wire = connect(ps.target)
    wire.create("t", dim=64)
    first = follow(ps.target)
    big(wire, 3)
    first.reaches(last_position(ps.target))
    mirror = first.close()
    big(wire, 300, first=3)
    wire.create("new")
    pushes(wire, 1, table="new")
    second = follow(ps.target, mirror=mirror)
    assert (second.hello.source, second.hello.continued) == ("journal", True)
    second.reaches(last_position(ps.target))
    assert not second.contents("picture_start")
    equal(wire, mirror, "t", "new")


def big(wire, count, *, first=0):
    """Pushes of 8 KiB each."""
    for number in range(first, first + count):
        wire.push("t", list(range(number, number + 32)), np.ones((32, 64)))


def test_what_the_journal_has_no_more_comes_as_a_picture(start_ps, connect, follow):
    ps = start_ps("--follow-buffer-bytes", str(1 << 20), "--flush-interval-s", "3600")
    wire = connect(ps.target)
    wire.create("t", dim=64)
    first = follow(ps.target)
    big(wire, 3)
    first.reaches(last_position(ps.target))
    mirror = first.close()
    big(wire, 300, first=3)
    wire.admin.Flush(admin_pb2.FlushRequest())
    second = follow(ps.target, mirror=mirror)
    assert (second.hello.source, second.hello.continued) == ("picture", False)
    until(lambda: mirror.pictures == 2, what="the picture")
    second.reaches(last_position(ps.target))
    equal(wire, mirror, "t")


@pytest.mark.parametrize(
    "since",
    [{"server_id": "nobody", "number": 5}, {"number": 1 << 61}, {"server_id": "nobody", "number": 1 << 61}, {}],
    ids=["another's", "too high", "another's and too high", "none"],
)
def test_positions_that_nobody_knows_bring_a_picture(start_ps, connect, follow, since):
    ps = start_ps()
    wire = connect(ps.target)
    wire.create("t")
    first = follow(ps.target)
    own = first.hello.server_id
    pushes(wire, 3)
    follower = follow(ps.target, start=POSITION, since=deltas_pb2.StreamPosition(**{"server_id": own, **since}))
    assert (follower.hello.source, follower.hello.continued) == ("picture", False)
    follower.reaches(last_position(ps.target))
    equal(wire, follower.mirror, "t")


@pytest.mark.parametrize("flush", [False, True], ids=["replayed", "written back"])
def test_a_killed_shards_followers_go_on_at_its_successor(start_ps, connect, follow, flush):
    options = ["--flush-interval-s", "3600"]
    ps = start_ps(*options)
    wire = connect(ps.target)
    wire.create("t")
    wire.create("loose", durability=RELAXED)
    first = follow(ps.target)
    pushes(wire, 3, table="loose")
    pushes(wire, 5)
    first.reaches(last_position(ps.target))
    mirror = first.close()
    if flush:
        wire.admin.Flush(admin_pb2.FlushRequest())
    pushes(wire, 5, first=5)
    ps.kill()
    ps = start_ps(*options)
    wire = connect(ps.target)
    pushes(wire, 5, first=10)
    second = follow(ps.target, mirror=mirror)
    assert (second.hello.source, second.hello.continued) == ("ring", True)
    second.reaches(last_position(ps.target))
    names = {start.table_id for start in second.contents("picture_start")}
    assert {mirror.names[table_id] for table_id in names} == {"loose"}
    equal(wire, mirror, "t", "loose")


def test_an_orderly_stop_lets_followers_go_on(start_ps, connect, follow):
    ps = start_ps()
    wire = connect(ps.target)
    wire.create("t")
    first = follow(ps.target)
    pushes(wire, 5)
    first.reaches(last_position(ps.target))
    started = time.monotonic()
    assert ps.terminate() == 0
    assert time.monotonic() - started < 15
    assert first.error is not None
    ps = start_ps()
    second = follow(ps.target, mirror=first.mirror)
    assert second.hello.continued
    wire = connect(ps.target)
    pushes(wire, 1, first=5)
    second.reaches(last_position(ps.target))
    equal(wire, first.mirror, "t")


def test_relaxed_tables_are_followed_like_others(start_ps, connect, follow):
    ps = start_ps()
    wire = connect(ps.target)
    wire.create("t", durability=RELAXED)
    pushes(wire, 3)
    rows, records = follow(ps.target), follow(ps.target, detail=RECORDS)
    for follower in (rows, records):
        assert follower.hello.source == "picture"
    pushes(wire, 3, first=2)
    wire.rows.Remove(rows_pb2.RemoveRequest(table="t", keys=i64(0)))
    wire.rows.Clear(rows_pb2.ClearRequest(table="t"))
    pushes(wire, 3, first=3)
    for follower in (rows, records):
        follower.reaches(last_position(ps.target))
    equal(wire, rows.mirror, "t")
    assert len(records.records()) == 8
    mirror = rows.close()
    pushes(wire, 2, first=9)
    again = follow(ps.target, mirror=mirror)
    assert again.hello.source == "ring"
    again.reaches(last_position(ps.target))
    assert not again.contents("picture_start")
    equal(wire, mirror, "t")


@pytest.mark.parametrize("detail", [ROWS, RECORDS], ids=["rows", "records"])
def test_a_relaxed_table_comes_as_a_picture_where_ram_has_no_more(never_writes_back, connect, follow, detail):
    ps = never_writes_back("--follow-buffer-bytes", str(1 << 20))
    wire = connect(ps.target)
    wire.create("t", dim=64)
    loose = wire.create("loose", durability=RELAXED).table_id
    first = follow(ps.target, detail=detail)
    pushes(wire, 3, table="loose")
    big(wire, 3)
    first.reaches(last_position(ps.target))
    complete = list(first.mirror.names) if detail == RECORDS else []
    mirror = first.close()
    pushes(wire, 3, first=2, table="loose")
    big(wire, 300, first=3)
    second = follow(ps.target, detail=detail, mirror=mirror, complete_tables=complete)
    assert second.hello.source == "journal"
    second.reaches(last_position(ps.target))
    assert {start.table_id for start in second.contents("picture_start")} == {loose}
    if detail == ROWS:
        equal(wire, mirror, "t", "loose")


def test_a_table_that_was_relaxed_comes_as_a_picture_to_whoever_missed_that(start_ps, connect, follow):
    ps = start_ps()
    wire = connect(ps.target)
    spec = wire.create("t", durability=RELAXED).spec
    pushes(wire, 3)
    spec.durability = common_pb2.DURABILITY_JOURNALED
    wire.tables.UpdateTable(tables_pb2.UpdateTableRequest(spec=spec))
    pushes(wire, 3, first=2)
    since = deltas_pb2.StreamPosition(server_id=follow(ps.target).hello.server_id, number=1 << 40)
    follower = follow(ps.target, start=POSITION, since=since)
    follower.reaches(last_position(ps.target))
    assert follower.contents("picture_start")
    equal(wire, follower.mirror, "t")


def test_a_cut_in_the_middle_of_a_picture_begins_it_again(start_ps, connect, follow):
    ps = start_ps()
    wire = connect(ps.target)
    wire.create("t", dim=64)
    for first in range(0, 40_000, 8_000):
        wire.push("t", list(range(first, first + 8_000)), np.ones((8_000, 64)))
    proxy = CuttingProxy(ps.target)
    cut = follow(proxy.target)
    until(lambda: cut.contents("changes"), what="rows")
    proxy.cut()
    cut.fails()
    proxy.close()
    assert cut.mirror.position is None
    assert 0 < len(cut.mirror.table("t")) < 40_000
    again = follow(ps.target, mirror=cut.mirror)
    assert again.hello.source == "picture"
    again.reaches(last_position(ps.target))
    equal(wire, again.mirror, "t")


def test_while_redis_is_away_nothing_comes_but_signs_of_life(start_ps, own_redis, connect, follow):
    ps = start_ps("--journal-wait-s", "0.5", redis=own_redis.url)
    wire = connect(ps.target)
    wire.create("t")
    wire.create("loose", durability=RELAXED)
    follower = follow(ps.target)
    pushes(wire, 3)
    follower.reaches(last_position(ps.target))
    kill(own_redis)
    redis_is_away(wire)
    pushes(wire, 3, table="loose")
    seen = len(follower.messages)
    until(lambda: len(follower.messages) > seen + 5, what="signs of life")
    own_redis.restart()
    redis_is_back(wire)
    pushes(wire, 3, first=3)
    follower.reaches(last_position(ps.target))
    equal(wire, follower.mirror, "t", "loose")


def test_synced_tables_are_followed(start_ps, connect, follow, tmp_path):
    with EmbeddedRedis(tmp_path / "synced", appendfsync="always") as server:
        ps = start_ps("--journal-wait-s", "30", redis=server.url)
        wire = connect(ps.target)
        wire.create("t", durability=SYNCED)
        follower = follow(ps.target)
        pushes(wire, 3)
        follower.reaches(last_position(ps.target))
        equal(wire, follower.mirror, "t")
        ps.close()


def test_one_that_does_not_read_costs_nothing_and_is_told(start_ps, connect, follow):
    ps = start_ps("--follow-buffer-bytes", str(1 << 20))
    wire = connect(ps.target)
    wire.create("t", dim=64)
    follower = follow(ps.target)
    until(lambda: follower.mirror.position is not None, what="the start")
    stuck = follower.stub.Follow(deltas_pb2.FollowRequest(name="stuck", detail=RECORDS))
    next(stuck)
    part = np.ones((256, 64))
    slowest = 0.0
    for number in range(400):  # 25 MiB: more than connections and the log hold.
        started = time.monotonic()
        wire.push("t", list(range(number, number + 256)), part)
        slowest = max(slowest, time.monotonic() - started)
    answer = follower.stub.ListFollowers(deltas_pb2.ListFollowersRequest())
    assert answer.ring_bytes <= 1 << 20
    assert slowest < 30
    for behind in answer.followers:
        if behind.name == "stuck":  # Else it was told already.
            assert behind.lag_records > 0
            assert behind.lag_s > 0
    with refused(FollowerTooSlow, "follow_buffer_bytes"):
        for _ in stuck:
            pass


def test_what_a_crash_undoes_was_never_sent(never_writes_back, own_redis, connect, follow):
    options = ("--journal-wait-s", "0.5", "--redis-timeout-s", "1")
    ps = never_writes_back(*options, redis=own_redis.url)
    wire = connect(ps.target)
    wire.create("t")
    rows, keys, records = (follow(ps.target, detail=detail) for detail in (ROWS, KEYS, RECORDS))
    pushes(wire, 2)
    end = last_position(ps.target)
    for follower in (rows, keys, records):
        follower.reaches(end)
    stand_still(own_redis.pid)
    with refused(RedisUnavailable):
        wire.push("t", [1, 7], [[1, 1]] * 2)  # Applied in RAM, and nowhere else.
    late = follow(ps.target)
    for follower in (rows, keys, records, late):
        seen = len(follower.messages)
        until(lambda follower=follower, seen=seen: len(follower.messages) > seen + 5, what="signs of life")
    ps.kill()
    kill(own_redis)
    own_redis.restart()
    ps = never_writes_back(*options, redis=own_redis.url)
    wire = connect(ps.target)
    expected = stored(wire, "t")
    assert expected.keys() == {0, 1}
    assert rows.mirror.table("t") == expected
    assert keys.mirror.table("t").keys() == expected.keys()
    assert late.mirror.table("t").keys() <= expected.keys()
    assert len(records.records()) == 2


def test_a_journal_that_is_trimmed_under_a_follower_ends_the_stream(never_writes_back, connect, follow):
    ps = never_writes_back("--follow-buffer-bytes", str(1 << 20))
    wire = connect(ps.target)
    wire.create("t", dim=64)
    first = follow(ps.target)
    big(wire, 1)
    first.reaches(last_position(ps.target))
    begun = deltas_pb2.StreamPosition(server_id=first.hello.server_id, number=first.position)
    part = np.ones((256, 64))
    for number in range(400):  # 25 MiB: more than the connection and the log hold.
        wire.push("t", list(range(number, number + 256)), part)
    request = deltas_pb2.FollowRequest(name="slow", detail=RECORDS, start=POSITION, since=begun)
    request.complete_tables.extend(first.mirror.names)
    slow = first.stub.Follow(request)
    assert next(slow).hello.source == "journal"
    wire.admin.Flush(admin_pb2.FlushRequest())
    with refused(FollowerTooSlow, "trimmed"):
        for message in slow:
            assert message.position.number == begun.number
    again = follow(ps.target, detail=RECORDS, start=POSITION, since=begun)
    assert again.hello.source == "picture"
