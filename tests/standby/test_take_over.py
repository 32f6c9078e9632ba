"""The owner is killed, stands still or stops: a standby serves, with everything that was acknowledged, once each."""

from __future__ import annotations

import signal

import numpy as np
import pytest
from tests.deltas.test_following import freeze
from tests.journal.chaos import TABLES, assert_counts, pushing
from tests.journal.support import flush, push_request, request_id, step_of
from tests.processes import until
from tests.server.support import adam, exported, i64, refused, uniform
from tests.standby.support import (
    caught_up,
    go_on,
    info,
    owner_of,
    role,
    stop,
    takes_over,
    targets,
    took_over_without_load,
)

from rowbank import SGD, Client, TableSpec
from rowbank.errors import NotReady
from rowbank_protos.v1 import common_pb2, rows_pb2, tables_pb2


def train(wire, table, *, steps, seed, dim=4):
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        keys = rng.integers(0, 300, 60)
        wire.rows.Push(push_request(table, keys.tolist(), rng.normal(size=(60, dim))))


def create_counting(target):
    with Client(target) as client:
        for name in TABLES:
            client.create_table(TableSpec(name, dim=1, optimizer=SGD(1.0)), exist_ok=True)


def test_a_killed_owner_is_replaced_bit_for_bit_without_a_load(pair, connect):
    owner, standby = pair()
    wire = connect(owner.target)
    wire.create("t", 4, optimizer=adam(), initializer=uniform())
    train(wire, "t", steps=10, seed=1)
    flush(wire)
    train(wire, "t", steps=10, seed=2)
    before, step = exported(wire, "t"), step_of(wire, "t")
    owner.kill()
    takes_over(standby)
    wire = connect(standby.target)
    assert exported(wire, "t") == before
    assert step_of(wire, "t") == step == 20
    assert took_over_without_load(standby)
    # And what it writes is all that a later process needs.
    train(wire, "t", steps=3, seed=3)
    flush(wire)
    before = exported(wire, "t")
    standby.kill()
    assert_is_stored(before, wire, connect, pair)


def assert_is_stored(before, wire, connect, pair):
    owner, _ = pair()
    assert exported(connect(owner.target), "t") == before


def test_nothing_is_lost_or_doubled_when_owners_are_killed_in_turns_under_load(start_standby):
    servers = [start_standby("--flush-interval-s", "0.2"), start_standby("--flush-interval-s", "0.2")]
    owner_of(*servers)
    create_counting(targets(*servers))
    with pushing(targets(*servers), count=3, seed=7) as workers:
        for _ in range(5):
            owner = owner_of(*servers)
            place = servers.index(owner)
            standby = servers[1 - place]
            caught_up(standby, owner)
            pushes = sum(worker.pushes for worker in workers)
            owner.kill()
            takes_over(standby)
            until(lambda pushes=pushes: sum(worker.pushes for worker in workers) > pushes + 10, what="pushes")
            assert took_over_without_load(standby)
            servers[place] = start_standby("--flush-interval-s", "0.2", "--bind", owner.target)
    owner = owner_of(*servers)
    with Client(targets(*servers)) as client:
        assert_counts(client, workers)
    for server in servers:
        server.kill()
    cold = start_standby()
    owner_of(cold)
    with Client(cold.target) as client:
        assert_counts(client, workers)


def test_an_owner_that_stood_still_changes_nothing_and_stands_by(pair, connect):
    owner, standby = pair()
    old = connect(owner.target)
    old.create("t", 1)
    old.push("t", [1, 2], [[-1], [-1]])
    caught_up(standby, owner)
    former = info(owner).server_id
    stop(owner)
    takes_over(standby)
    new = connect(standby.target)
    new.push("t", [1], [[-1]])
    unsent = old.rows.Push.future(push_request("t", [2], [[-1]], sequence=1))
    go_on(owner)
    until(lambda: info(owner).server_id not in ("", former), what="a start anew")
    caught_up(owner, standby)
    assert unsent.exception() is not None
    assert new.pull("t", [1, 2], dim=1)[0].tolist() == [[2], [1]]
    with refused(NotReady):
        connect(owner.target).push("t", [1], [[-1]])
    # It has what the other one has, and takes over from it.
    flush(new)
    standby.kill()
    takes_over(owner)
    assert connect(owner.target).pull("t", [1, 2], dim=1)[0].tolist() == [[2], [1]]


def test_an_orderly_stop_hands_over(start_standby, connect):
    owner = start_standby()
    owner_of(owner)
    standby = start_standby()
    create_counting(owner.target)
    with pushing(targets(owner, standby), count=3, seed=11) as workers:
        until(lambda: sum(worker.pushes for worker in workers) > 20, what="pushes")
        caught_up(standby, owner)
        owner.process.send_signal(signal.SIGTERM)
        assert owner.wait() == 0
        assert "a standby has taken over" in owner.log
        assert "handed over; taking over" in standby.log
        pushes = sum(worker.pushes for worker in workers)
        until(lambda: sum(worker.pushes for worker in workers) > pushes + 10, what="pushes")
    assert [worker.unknown_pushes for worker in workers] == [0, 0, 0]
    with Client(standby.target) as client:
        assert_counts(client, workers)


def test_of_two_standbys_one_wins_and_the_other_follows_it(pair, start_standby, connect):
    owner, first = pair()
    second = start_standby()
    wire = connect(owner.target)
    wire.create("t", 1)
    wire.push("t", [1], [[-1]])
    caught_up(first, owner)
    caught_up(second, owner)
    owner.kill()
    winner = owner_of(first, second)
    loser = second if winner is first else first
    connect(winner.target).push("t", [1], [[-1]])
    caught_up(loser, winner)
    assert info(loser).epoch == info(winner).epoch == 2
    assert [member.role for member in info(winner).members] == ["owner", "standby"]
    winner.kill()
    takes_over(loser)
    assert connect(loser.target).pull("t", [1], dim=1)[0].tolist() == [[2]]


def test_an_owner_hands_over_to_one_of_two(pair, start_standby, connect):
    owner, first = pair()
    second = start_standby()
    wire = connect(owner.target)
    wire.create("t", 1, durability=common_pb2.DURABILITY_RELAXED)
    wire.push("t", [1], [[-1]])
    caught_up(first, owner)
    caught_up(second, owner)
    assert owner.terminate() == 0
    winner = owner_of(first, second)
    loser = second if winner is first else first
    caught_up(loser, winner)
    assert info(winner).epoch == 2  # The other one did not take it from there.
    assert connect(winner.target).pull("t", [1], dim=1)[0].tolist() == [[1]]


def test_a_standby_waits_for_a_plain_owner_and_replaces_it(start_ps, start_standby, connect):
    plain = start_ps()
    standby = start_standby()
    connect(plain.target).create("t", 1)
    connect(plain.target).push("t", [1], [[-1]])
    caught_up(standby, plain)
    with refused(NotReady, "standby"):
        connect(standby.target).pull("t", [1])
    assert not connect(standby.target).serving()
    stop(plain)
    takes_over(standby)
    assert connect(standby.target).serving()
    go_on(plain)
    assert plain.wait() == 1  # It was not started as a standby.
    assert connect(standby.target).pull("t", [1], dim=1)[0].tolist() == [[1]]


def test_a_standby_of_another_layout_never_takes_over(start_ps, start_standby, connect):
    plain = start_ps("--flush-interval-s", "3600")
    connect(plain.target).create("t", 1)
    other = start_standby("--shard", "0/2")
    until(lambda: info(other).state.startswith("refused: "), what="refusal")
    assert "0/1" in info(other).state
    plain.kill()
    until(lambda: info(other).state == "refused: Redis has the shard as one of 1, not 2", what="refusal")
    assert role(other) == "standby"
    again = start_ps()
    assert connect(again.target).size("t") == 0


def test_a_standby_that_has_fallen_behind_loads_from_redis(pair, connect):
    """What it lacks is in Redis's rows and not in a journal any more."""
    owner, standby = pair()
    wire = connect(owner.target)
    wire.create("t", 1)
    wire.push("t", [1, 2], [[-1], [-1]])
    caught_up(standby, owner)
    stop(standby)
    wire.push("t", [2, 3], [[-1], [-1]])
    flush(wire)
    wire.push("t", [3], [[-1]])
    owner.kill()
    go_on(standby)
    takes_over(standby)
    assert connect(standby.target).pull("t", [1, 2, 3], dim=1)[0].tolist() == [[1], [2], [2]]


def test_a_standby_that_has_fallen_behind_replays_what_it_lacks(pair, connect):
    owner, standby = pair()
    wire = connect(owner.target)
    wire.create("t", 1)
    wire.push("t", [1, 2], [[-1], [-1]])
    caught_up(standby, owner)
    stop(standby)
    wire.create("made-since", 1)
    wire.push("t", [2, 3], [[-1], [-1]])
    wire.push("made-since", [7], [[-1]])
    wire.rows.Remove(rows_pb2.RemoveRequest(table="t", keys=i64(1)))
    owner.kill()
    go_on(standby)
    takes_over(standby)
    wire = connect(standby.target)
    assert wire.pull("t", [1, 2, 3], dim=1)[0].tolist() == [[0], [2], [1]]
    assert wire.pull("made-since", [7], dim=1)[0].tolist() == [[1]]


def test_a_table_that_was_dropped_meanwhile_is_gone(pair, connect):
    owner, standby = pair()
    wire = connect(owner.target)
    wire.create("t", 1)
    wire.create("kept", 1)
    wire.push("t", [1], [[-1]])
    caught_up(standby, owner)
    stop(standby)
    wire.tables.DropTable(tables_pb2.DropTableRequest(name="t"))
    owner.kill()
    go_on(standby)
    takes_over(standby)
    names = connect(standby.target).tables.ListTables(tables_pb2.ListTablesRequest()).tables
    assert [table.spec.name for table in names] == ["kept"]


@pytest.mark.parametrize("durability", [common_pb2.DURABILITY_RELAXED, common_pb2.DURABILITY_JOURNALED])
def test_removed_rows_do_not_rise_again(pair, start_standby, connect, durability):
    """Neither those that the standby never had, nor those that went before it knew what Redis has."""
    owner = start_standby()
    owner_of(owner)
    wire = connect(owner.target)
    wire.create("t", 1, durability=durability)
    wire.push("t", [1, 2, 3, 4], [[-1]] * 4)
    flush(wire)
    wire.rows.Remove(rows_pb2.RemoveRequest(table="t", keys=i64(1)))  # Redis has it still.
    standby = start_standby()
    caught_up(standby, owner)
    wire.rows.Remove(rows_pb2.RemoveRequest(table="t", keys=i64(2)))
    caught_up(standby, owner)
    owner.kill()
    takes_over(standby)
    wire = connect(standby.target)
    assert set(exported(wire, "t")) == {3, 4}
    flush(wire)
    standby.kill()
    cold = start_standby()
    owner_of(cold)
    assert set(exported(connect(cold.target), "t")) == {3, 4}


def test_removed_rows_of_a_settled_table_do_not_rise_again(pair, start_standby, connect):
    """Nothing is written whole then, but what changed since the last write-back that the standby saw."""
    owner, standby = pair()
    wire = connect(owner.target)
    wire.create("t", 1)
    wire.push("t", [1, 2, 3, 4], [[-1]] * 4)
    flush(wire)
    wire.rows.Remove(rows_pb2.RemoveRequest(table="t", keys=i64(1)))
    flush(wire)
    wire.rows.Remove(rows_pb2.RemoveRequest(table="t", keys=i64(2)))
    wire.push("t", [3], [[-1]])
    caught_up(standby, owner)
    owner.kill()
    takes_over(standby)
    wire = connect(standby.target)
    assert flush(wire) == 2  # Rows 2 and 3.
    standby.kill()
    cold = start_standby()
    owner_of(cold)
    wire = connect(cold.target)
    assert set(exported(wire, "t")) == {3, 4}
    assert wire.pull("t", [3, 4], dim=1)[0].tolist() == [[2], [1]]


def test_repeats_are_recognised_over_take_overs(pair, start_standby, connect):
    owner, standby = pair()
    wire = connect(owner.target)
    wire.create("t", 1)
    wire.create("relaxed", 1, durability=common_pb2.DURABILITY_RELAXED)
    requests = [push_request("t", [1], [[-1]], sequence=1), push_request("relaxed", [1], [[-1]], sequence=2)]
    for request in requests:
        assert not wire.rows.Push(request).repeated_request
    caught_up(standby, owner)
    for former, heir in ((owner, standby), (standby, None)):
        former.kill()
        if heir is None:  # A cold start, from what the last one wrote.
            heir = start_standby()
        owner_of(heir)
        wire = connect(heir.target)
        for request in requests:
            assert wire.rows.Push(request).repeated_request
        assert wire.pull("t", [1], dim=1)[0].tolist() == [[1]]
        assert wire.pull("relaxed", [1], dim=1)[0].tolist() == [[1]]
        flush(wire)


def test_evicted_rows_stay_evicted_and_common_rows_are_kept(pair, connect):
    owner, standby = pair("--eviction-interval-s", "0.02")
    wire = connect(owner.target)
    eviction = tables_pb2.Eviction(policy=tables_pb2.Eviction.POLICY_LFU, max_rows=50, low_watermark=0.8)
    wire.create("t", 1, eviction=eviction)
    wire.create("admitting", 2, optimizer=adam(), initializer=uniform(), admission=tables_pb2.Admission(min_count=3))
    wire.push("t", list(range(50)), np.ones((50, 1)))
    flush(wire)
    wire.push("t", list(range(1000, 1020)), np.ones((20, 1)))
    rng = np.random.default_rng(5)
    for _ in range(12):
        keys = np.unique(rng.zipf(1.5, 40) % 50)
        wire.push("admitting", keys.tolist(), rng.normal(size=(len(keys), 2)))
    until(lambda: wire.size("t") == 40, what="eviction")
    before, values = exported(wire, "t"), wire.pull("admitting", list(range(60)))
    caught_up(standby, owner)
    owner.kill()
    takes_over(standby)
    wire = connect(standby.target)
    assert exported(wire, "t") == before
    again = wire.pull("admitting", list(range(60)))
    assert again[0].tobytes() == values[0].tobytes()
    assert again[1] == values[1]


def test_a_request_id_of_one_client_stays_one(pair, connect):
    """A push of unknown fate is there once, whoever is asked."""
    owner, standby = pair()
    wire = connect(owner.target)
    wire.create("t", 1)
    request = push_request("t", [1], [[-1]])
    request.request_id.CopyFrom(request_id(1, "fate"))
    stop(owner)
    sent = wire.rows.Push.future(request)
    takes_over(standby)
    go_on(owner)
    assert sent.exception() is not None
    new = connect(standby.target)
    new.rows.Push(request)
    assert new.rows.Push(request).repeated_request
    assert new.pull("t", [1], dim=1)[0].tolist() == [[1]]


def test_a_relaxed_push_is_recognised_although_a_table_has_to_be_loaded(pair, connect):
    """Its answer came with the stream, and is not among those that are read with the table."""
    owner, standby = pair()
    wire = connect(owner.target)
    wire.create("relaxed", 1, durability=common_pb2.DURABILITY_RELAXED)
    wire.rows.Push(push_request("relaxed", [1], [[-1]], sequence=1))
    flush(wire)
    request = push_request("relaxed", [1], [[-1]], sequence=2)
    wire.rows.Push(request)
    caught_up(standby, owner)
    stop(standby)
    wire.create("new", 1)
    owner.kill()
    go_on(standby)
    takes_over(standby)
    assert ", 1 loaded," in standby.log
    wire = connect(standby.target)
    assert wire.rows.Push(request).repeated_request
    assert wire.pull("relaxed", [1], dim=1)[0].tolist() == [[2]]


def test_an_owner_that_was_started_again_counts_its_write_backs_anew(start_ps, start_standby, connect):
    """Its lower number does not mean that Redis lost any."""
    owner = start_ps("--flush-interval-s", "3600", "--lease-s", "60")
    wire = connect(owner.target)
    wire.create("t", 1)
    standby = start_standby()
    caught_up(standby, owner)
    wire.push("t", [1], [[-1]])
    flush(wire)
    wire.push("t", [1], [[-1]])
    caught_up(standby, owner)
    owner.kill()
    owner = start_ps("--flush-interval-s", "3600")
    until(lambda: info(standby).epoch == info(owner).epoch, what="a standby that follows the new one")
    caught_up(standby, owner)
    owner.kill()
    takes_over(standby)
    assert "Redis lost writes" not in standby.log
    assert took_over_without_load(standby)
    assert connect(standby.target).pull("t", [1], dim=1)[0].tolist() == [[2]]


def test_a_models_copy_is_there_after_its_owner_was_killed_right_after_it_was_made(pair, connect):
    owner, standby = pair()
    wire = connect(owner.target)
    wire.create("t", 1)
    wire.push("t", list(range(2000)), np.full((2000, 1), -1))
    caught_up(standby, owner)
    freeze(owner.target, "t", "copy")
    before = exported(wire, "copy")
    owner.kill()
    takes_over(standby)
    assert len(before) == 2000
    assert exported(connect(standby.target), "copy") == before
