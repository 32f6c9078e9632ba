"""Owners are killed while rows go and come back: nothing that was acknowledged is lost, nothing counts twice.

With SGD(1.0) and gradients of -1 a row's value is the number of its pushes, however often it went and came back.
"""

from __future__ import annotations

import numpy as np
import pytest
from tests.journal.chaos import KEYS, TABLES, pushing
from tests.journal.support import flush
from tests.processes import until
from tests.second_chance.support import chance, restrict, values_of
from tests.standby.support import caught_up, owner_of, takes_over, targets

from rowbank import SGD, Client, Eviction, TableSpec

WAIT = ("--second-chance-wait-ms", "20000")


@pytest.mark.parametrize("flushed", [0, 1, 2, 3])
def test_a_standby_goes_on_with_what_was_evicted(pair, connect, flushed):
    """The owner's last write-back was at each of several places of the story."""
    owner, standby = pair(*WAIT)
    wire = connect(owner.target)
    wire.create("t", 1, eviction=chance())
    keys = list(range(1, 9))
    wire.push("t", keys, [[-1]] * 8)
    restrict(wire, "t", 0)
    if flushed == 1:
        flush(wire)
    wire.push("t", [1, 2, 3], [[-1]] * 3)
    if flushed == 2:
        flush(wire)
    wire.rows.Remove(remove(3, 4))
    restrict(wire, "t", 0)
    if flushed == 3:
        flush(wire)
    wire.push("t", [2, 5], [[-1]] * 2)
    restrict(wire, "t", 1)
    caught_up(standby, owner)
    owner.kill()
    takes_over(standby)
    wire = connect(standby.target)
    wire.push("t", keys, [[-1]] * 8)
    flush(wire)
    wire.push("t", keys, [[-1]] * 8)
    assert values_of(wire, "t", keys).tolist() == [4, 5, 2, 2, 4, 3, 3, 3]


def remove(*keys):
    from tests.server.support import i64

    from rowbank_protos.v1 import rows_pb2

    return rows_pb2.RemoveRequest(table="t", keys=i64(*keys))


def create_evicting(target):
    eviction = Eviction("lru", max_rows=150, low_watermark=0.5, second_chance_bytes=16 << 20)
    with Client(target) as client:
        for name in TABLES:
            client.create_table(TableSpec(name, dim=1, optimizer=SGD(1.0), eviction=eviction), exist_ok=True)


def assert_pulled_counts(client, workers):
    for table in TABLES:
        values = client.table(table).pull(np.arange(KEYS))[:, 0].astype(np.int64)
        least = sum(worker.acknowledged[table] for worker in workers)
        most = least + sum(worker.unknown[table] for worker in workers)
        lost, doubled = np.flatnonzero(values < least), np.flatnonzero(values > most)
        assert not len(lost), f"{table}: lost pushes of {lost[:10]}: {values[lost][:10]} of {least[lost][:10]}"
        assert not len(doubled), f"{table}: doubled pushes of {doubled[:10]}: {values[doubled][:10]}"


def test_under_load_with_owners_killed_and_taken_over(start_standby):
    options = ("--flush-interval-s", "0.2", "--eviction-interval-s", "0.05", *WAIT)
    servers = [start_standby(*options), start_standby(*options)]
    owner_of(*servers)
    create_evicting(targets(*servers))
    with pushing(targets(*servers), count=3, seed=5) as workers:
        for _ in range(4):
            owner = owner_of(*servers)
            place = servers.index(owner)
            standby = servers[1 - place]
            caught_up(standby, owner)
            with Client(owner.target) as client:
                client.flush()  # What went before somebody followed is in RAM of the owner alone until then.
            pushes = sum(worker.pushes for worker in workers)
            until(lambda pushes=pushes: sum(worker.pushes for worker in workers) > pushes + 60, what="pushes")
            owner.kill()
            takes_over(standby)
            pushes = sum(worker.pushes for worker in workers)
            until(lambda pushes=pushes: sum(worker.pushes for worker in workers) > pushes + 60, what="pushes")
            servers[place] = start_standby(*options, "--bind", owner.target)
    owner_of(*servers)
    with Client(targets(*servers)) as client:
        assert_pulled_counts(client, workers)
        assert all(client.table(name).stats().second_chance_returned > 50 for name in TABLES)
    for server in servers:
        server.kill()
    cold = start_standby(*options)
    owner_of(cold)
    with Client(cold.target) as client:
        assert_pulled_counts(client, workers)


def test_under_load_with_a_shard_killed_and_restarted(start_ps):
    options = ("--flush-interval-s", "0.2", "--eviction-interval-s", "0.05", *WAIT)
    server = start_ps(*options)
    create_evicting(server.target)
    with pushing(server.target, count=3, seed=9) as workers:
        for _ in range(4):
            pushes = sum(worker.pushes for worker in workers)
            until(lambda pushes=pushes: sum(worker.pushes for worker in workers) > pushes + 100, what="pushes")
            server.kill()
            server = start_ps(*options, "--bind", server.target)
    with Client(server.target) as client:
        assert_pulled_counts(client, workers)
