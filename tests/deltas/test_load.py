"""Pictures and changes while everything happens at once: a mirror is equal to the shard in the end."""

from __future__ import annotations

import os
import random
import signal
import threading

import numpy as np
import pytest
from redis import Redis
from tests.deltas.support import KEYS, ROWS, Follower, Mirror, last_position, stored
from tests.processes import PsProcess, stand_still, until
from tests.server.support import Wire, f32, i64

from rowbank_protos.v1 import admin_pb2, common_pb2, rows_pb2, tables_pb2

SEED = int(os.environ.get("ROWBANK_CHAOS_SEED", "7"))
DIM = 8
RUNS = 5
BATCH = 64


class Writer(threading.Thread):
    """Changes a table in every way until it is told to stop."""

    def __init__(self, wire: Wire, table: str, keys: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.wire, self.table, self.keys = wire, table, max(keys, 10)
        self.random = random.Random(seed)
        self.stopping = threading.Event()
        self.failure: Exception | None = None
        self.mutations = 0

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                self._mutate()
                self.mutations += 1
        except Exception as error:
            self.failure = error

    def stop(self) -> None:
        self.stopping.set()
        self.join(60)
        assert self.failure is None, self.failure
        assert self.mutations

    def _mutate(self) -> None:
        keys = [self.random.randrange(2 * self.keys) for _ in range(self.random.randint(1, BATCH))]
        data, rows = i64(*keys), np.full((len(keys), DIM), self.random.random())
        what = self.random.random()
        if what < 0.5:
            self.wire.push(self.table, keys, rows)
        elif what < 0.7:
            self.wire.rows.Upsert(rows_pb2.UpsertRequest(table=self.table, keys=data, values=f32(rows)))
        elif what < 0.9:
            self.wire.rows.Remove(rows_pb2.RemoveRequest(table=self.table, keys=data))
        elif what < 0.95:
            self.wire.rows.Touch(rows_pb2.TouchRequest(table=self.table, keys=data))
        elif what < 0.99:
            keep = self.random.randrange(self.keys)
            self.wire.admin.Restrict(admin_pb2.RestrictRequest(table=self.table, num_reserved=keep))
        else:
            self.wire.rows.Clear(rows_pb2.ClearRequest(table=self.table))


def fill(wire, table, count):
    for first in range(0, count, 4096):
        keys = range(first, min(count, first + 4096))
        wire.push(table, list(keys), np.ones((len(keys), DIM)))


@pytest.fixture(scope="module")
def ps(request, redis_url, tmp_path_factory):
    options = ["--namespace", "load", "--flush-interval-s", "0.1", "--journal-wait-s", "30"]
    options += ["--follow-buffer-bytes", str(2 << 20)]
    server = PsProcess(*options, redis_url=redis_url, log=tmp_path_factory.mktemp("load") / "log")
    yield server.wait_ready()
    server.close()


def follow_until_equal(target: str, table: str, detail: int, cuts: random.Random, writers: list[Writer]) -> Mirror:
    """Follows with cuts while writers write, then to the end."""
    mirror = Mirror()
    for _ in range(cuts.randint(1, 3)):
        follower = Follower(target, detail=detail, tables=[table], mirror=mirror)
        threading.Event().wait(cuts.random())
        follower.close()
    follower = Follower(target, detail=detail, tables=[table], mirror=mirror)
    for writer in writers:
        writer.stop()
    follower.reaches(last_position(target))
    follower.close()
    return mirror


@pytest.mark.parametrize("durability", ["JOURNALED", "RELAXED"])
@pytest.mark.parametrize("rows", [0, 10, 1_000, 20_000])
def test_a_mirror_equals_the_shard_whatever_happens(ps, table_name, rows, durability):
    wire = Wire(ps.target)
    for run in range(RUNS):
        table, seed = f"{table_name}-{run}", SEED * 1000 + run
        wire.create(table, dim=DIM, durability=getattr(common_pb2, f"DURABILITY_{durability}"))
        fill(wire, table, rows)
        writers = [Writer(wire, table, rows, seed * 10 + number) for number in range(2)]
        for writer in writers:
            writer.start()
        detail = ROWS if run % 3 else KEYS
        mirror = follow_until_equal(ps.target, table, detail, random.Random(seed), writers)
        expected = stored(wire, table)
        if detail == ROWS:
            assert mirror.table(table) == expected, f"seed {seed}"
        else:
            assert mirror.table(table).keys() == expected.keys(), f"seed {seed}"
        wire.tables.DropTable(tables_pb2.DropTableRequest(name=table))
    wire.close()


def test_several_followers_of_several_tables_are_all_equal(ps, table_name):
    wire = Wire(ps.target)
    tables = [f"{table_name}-{number}" for number in range(2)]
    for table in tables:
        wire.create(table, dim=DIM)
        fill(wire, table, 3000)
    writers = [Writer(wire, table, 3000, SEED + place) for place, table in enumerate(tables)]
    for writer in writers:
        writer.start()
    followers = [Follower(ps.target, tables=tables[:count]) for count in (1, 2, 2)]
    threading.Event().wait(1)
    for writer in writers:
        writer.stop()
    end = last_position(ps.target)
    for follower, count in zip(followers, (1, 2, 2), strict=True):
        follower.reaches(end)
        for table in tables[:count]:
            assert follower.mirror.table(table) == stored(wire, table)
        follower.close()
    wire.close()


def test_tables_that_come_and_go_are_followed(ps, table_name, follow):
    wire = Wire(ps.target)
    chance = random.Random(SEED)
    names = [f"{table_name}-{number}" for number in range(3)]
    followers = [follow(ps.target, detail=detail) for detail in (ROWS, KEYS)]
    for number in range(60):
        name = chance.choice(names)
        if chance.random() < 0.3:
            wire.tables.DropTable(tables_pb2.DropTableRequest(name=name, missing_ok=True))
            continue
        durability = common_pb2.DURABILITY_RELAXED if chance.random() < 0.5 else common_pb2.DURABILITY_JOURNALED
        if name not in {table.spec.name for table in wire.tables.ListTables(tables_pb2.ListTablesRequest()).tables}:
            wire.create(name, dim=DIM, durability=durability)
            fill(wire, name, chance.choice((1, 5000)))
        wire.push(name, [number, number + 1], np.ones((2, DIM)))
        if number % 10 == 0:  # Its pictures and drops meet.
            followers.append(follow(ps.target))
    end = last_position(ps.target)
    here = {table.spec.name for table in wire.tables.ListTables(tables_pb2.ListTablesRequest()).tables}
    for follower in followers:
        follower.reaches(end)
        until(lambda follower=follower: set(follower.mirror.names.values()) == here, what="the tables")
        for name in here & set(names):
            expected = stored(wire, name)
            assert follower.mirror.table(name).keys() == expected.keys()
    wire.close()


def test_whoever_begins_to_follow_holds_nobody_up_until_a_write_back_goes_on(start_ps, own_redis, connect, follow):
    """For which a clear waits; pushes to other tables do not."""
    ps = start_ps("--flush-interval-s", "3600", redis=own_redis.url)
    wire = connect(ps.target)
    for table in ("large", "small"):
        wire.create(table, dim=256, durability=common_pb2.DURABILITY_RELAXED)
    for first in range(0, 200_000, 20_000):
        wire.push("large", list(range(first, first + 20_000)), np.ones((20_000, 256)))
    flushed = wire.admin.Flush.future(admin_pb2.FlushRequest())
    with Redis.from_url(own_redis.url) as redis:
        until(lambda: redis.info("memory")["used_memory"] > 8 << 20, what="rows in Redis")
    stand_still(own_redis.pid)  # In the middle of a transaction, for which the table's lock is held.
    try:
        cleared = wire.rows.Clear.future(rows_pb2.ClearRequest(table="large"))
        for _ in range(20):  # So that the clear is under way, however it is scheduled.
            wire.push("small", [1], np.ones((1, 256)))
        assert follow(ps.target).hello.source == "picture"
        wire.push("small", [1], np.ones((1, 256)))
        assert not cleared.done()
    finally:
        os.kill(own_redis.pid, signal.SIGCONT)
    assert cleared.result().removed == 200_000
    flushed.result()
