"""Clients of a shard that has a standby, or replicas, which they were told of or not."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from tests.processes import stand_still, until

from rowbank import Client, TableSpec, errors
from rowbank.optimizers import SGD

KEYS = np.arange(200, dtype=np.int64)
ONES = np.ones((200, 2), np.float32)


def made(client: Client, name: str):
    return client.create_table(TableSpec(name, dim=2, optimizer=SGD(learning_rate=1.0), durability="journaled"))


def caught_up(client: Client, *servers) -> None:
    """Waits until followers at these addresses have all rows of the owner."""

    def done() -> bool:
        found = {one.address: one for one in client.shards()}
        states = [found[server.target] for server in servers if server.target in found]
        return len(states) == len(servers) and all(one.position and one.age_s < 1.0 for one in states)

    until(done, what="the followers have what the owner has")


def followed(start_ps, table_name, part):
    """An owner with a table, and a process that was started with `part` and has everything."""
    owner = start_ps()
    follower = start_ps(part)
    with Client(owner.target) as client:
        made(client, table_name).push(KEYS, ONES)
        caught_up(client, follower)
    return owner, follower


@pytest.fixture
def pair(start_ps, table_name):
    """An owner and its standby."""
    return followed(start_ps, table_name, "--standby")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_training_pauses_and_goes_on_at_a_standby_that_nobody_named(pair, table_name, how):
    """Each push counts once, and none takes longer than a pause."""
    owner, standby = pair
    with Client(owner.target, timeout_s=30.0) as client:
        table = client.table(table_name)
        stop = threading.Event()
        pushed, longest = [0], [0.0]

        def train() -> None:
            while not stop.is_set():
                started = time.monotonic()
                table.push(KEYS, ONES)
                pushed[0] += 1
                longest[0] = max(longest[0], time.monotonic() - started)

        training = threading.Thread(target=train)
        training.start()
        until(lambda: pushed[0] > 20)
        os.kill(owner.pid, how)
        at_kill = pushed[0]
        until(lambda: pushed[0] > at_kill + 20, what="training goes on")
        stop.set()
        training.join()
        assert [info.target for info in client.server_info()] == [standby.target]
        assert (table.pull(KEYS) == -1.0 - pushed[0]).all()
        assert longest[0] < 10.0
        if how == signal.SIGSTOP:
            os.kill(owner.pid, signal.SIGCONT)
            assert owner.wait() == 1


def test_a_client_that_knows_the_standby_alone_finds_the_owner(pair, table_name):
    owner, standby = pair
    with Client(standby.target) as client:
        assert [info.target for info in client.server_info()] == [owner.target]
        client.table(table_name).push(KEYS, ONES)


def test_a_standby_that_came_later_is_known_when_it_is_needed(start_ps, table_name):
    """The client was there first; it hears of the standby while it works."""
    owner = start_ps()
    with Client(owner.target, timeout_s=60.0) as client:
        table = made(client, table_name)
        table.push(KEYS, ONES)
        standby = start_ps("--standby")
        caught_up(client, standby)
        pushes = 1

        def learnt() -> bool:
            nonlocal pushes
            table.push(KEYS, ONES)
            pushes += 1
            return len(client._transport.shards[0].servers) == 2

        until(learnt, what="the standby is known")
        owner.kill()
        table.push(KEYS, ONES)
        assert (table.pull(KEYS) == -1.0 - pushes).all()


def test_a_follower_goes_on_at_the_standby_without_a_picture(pair, table_name):
    owner, standby = pair
    with Client(f"{owner.target}|{standby.target}", timeout_s=60.0) as client:
        table = client.table(table_name)
        with client.follow(table_name, since="now") as follower:
            owner.kill()
            table.push(KEYS, ONES)
            told: dict[int, list[float]] = {}
            while len(told) < len(KEYS):
                batch = follower.poll(60.0)
                assert batch is not None
                assert not batch.restarted
                told |= dict(zip(batch.keys.tolist(), batch.values.tolist(), strict=True))
            assert list(told.values()) == [[-2.0, -2.0]] * len(KEYS)


def test_the_command_line_shows_owner_standby_and_followers(pair, table_name):
    owner, standby = pair
    command = [sys.executable, "-m", "rowbank.cli", "shards", "-t", owner.target]
    found = json.loads(subprocess.run([*command, "-o", "json"], capture_output=True, text=True, check=True).stdout)
    assert [(one["role"], one["address"], one["rows"]) for one in found] == [
        ("owner", owner.target, 200),
        ("standby", standby.target, 200),
    ]
    assert [(one["role"], one["address"], one["detail"]) for one in found[0]["followers"]] == [
        ("standby", standby.target, "records")
    ]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split()[:3] for line in shown[1:3]] == [["0", "owner", owner.target], ["0", "standby", standby.target]]
    assert shown[5].split()[1:4] == [standby.target, "standby", "records"]


@pytest.fixture
def replicated(start_ps, table_name):
    """An owner and a replica."""
    return followed(start_ps, table_name, "--replica")


def test_a_client_reads_its_own_writes_from_replicas(replicated, table_name):
    """After each push, what is read shows it, whoever answers."""
    owner, _ = replicated
    with Client(owner.target, max_staleness_s=30.0) as client:
        table = client.table(table_name)
        for count in range(2, 60):
            table.push(KEYS, ONES)
            assert (table.pull(KEYS) == -count).all()
            assert (table.lookup(KEYS).values == -count).all()
        position = client.position()
        table.upsert([9999], [[1.0, 1.0]])
        assert client.position()[0] > position[0]
        assert table.size() == 201


def test_replicas_answer_while_the_owner_stands_still(replicated, table_name):
    owner, replica = replicated
    with Client(owner.target, max_staleness_s=3600.0, timeout_s=5.0) as client:
        table = client.table(table_name)
        stand_still(owner.pid)
        try:
            assert (table.pull(KEYS) == -1.0).all()
            assert table.lookup(KEYS).found.all()
            assert table.size() == 200
            with pytest.raises(errors.RequestError):
                table.pull(KEYS, max_staleness_s=0.0)
            with Client(f"{owner.target}|{replica.target}", max_staleness_s=3600.0, timeout_s=30.0) as late:
                assert (late.table(table_name).pull(KEYS) == -1.0).all()
        finally:
            os.kill(owner.pid, signal.SIGCONT)
        table.push(KEYS, ONES)
        assert (table.pull(KEYS) == -2.0).all()


def test_another_clients_writes_are_read_at_its_position(replicated, table_name):
    owner, _ = replicated
    with Client(owner.target, max_staleness_s=3600.0) as one, Client(owner.target, max_staleness_s=3600.0) as other:
        mine, yours = one.table(table_name), other.table(table_name)
        for count in range(2, 30):
            mine.push(KEYS, ONES)
            assert (yours.pull(KEYS, at_least=one.position()) == -count).all()


def test_the_owner_answers_where_the_replica_is_gone(replicated, table_name):
    owner, replica = replicated
    with Client(f"{replica.target}|{owner.target}", max_staleness_s=3600.0, timeout_s=30.0) as client:
        table = client.table(table_name)
        assert (table.pull(KEYS) == -1.0).all()
        replica.kill()
        assert (table.pull(KEYS) == -1.0).all()
        table.push(KEYS, ONES)
        assert (table.pull(KEYS) == -2.0).all()


def test_a_replica_that_stands_still_does_not_hold_a_read_up(replicated, table_name):
    owner, replica = replicated
    with Client(owner.target, max_staleness_s=3600.0, timeout_s=30.0) as client:
        table = client.table(table_name)
        stand_still(replica.pid)
        try:
            started = time.monotonic()
            assert (table.pull(KEYS) == -1.0).all()
            assert time.monotonic() - started < 10.0
        finally:
            os.kill(replica.pid, signal.SIGCONT)


def test_a_client_that_knows_a_replica_alone_writes_to_the_owner(replicated, table_name):
    owner, replica = replicated
    for options in ({}, {"max_staleness_s": 1.0}):
        with Client(replica.target, timeout_s=30.0, **options) as client:
            table = client.table(table_name)
            table.push(KEYS, ONES)
            assert [info.target for info in client.server_info()] == [owner.target]


def test_forked_children_read_from_replicas_too(replicated, table_name):
    owner, _ = replicated
    with Client(owner.target, max_staleness_s=3600.0, timeout_s=30.0) as client:
        table = client.table(table_name)
        child = multiprocessing.get_context("fork").Process(target=_push_and_read, args=(table,))
        child.start()
        child.join()
        assert child.exitcode == 0


def _push_and_read(table) -> None:
    for count in range(2, 20):
        table.push(KEYS, ONES)
        assert (table.pull(KEYS) == -count).all()
    assert table._client.position()[0] > 0
