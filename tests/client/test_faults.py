"""Connections that break, answers that are lost, servers that are away: pushes are applied once, errors say what."""

from __future__ import annotations

import concurrent.futures
import time

import numpy as np
import pytest
from tests.processes import until

from rowbank import SGD, Client, TableSpec, errors

ONE = np.full((1, 2), -1.0, np.float32)  # Under SGD(1.0), a row is the number of pushes applied.


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def direct(client, table_name):
    """The table as seen past the proxy."""
    return client.create_table(TableSpec(table_name, dim=2, optimizer=SGD(1.0)))


@pytest.fixture
def through(proxy, direct):
    """The table as seen through the proxy."""
    with Client(proxy.target, timeout_s=30.0) as client:
        yield client.table(direct.name)


MUTATIONS = {
    "push": lambda table: table.push([7], ONE),
    "accumulate": lambda table: table.accumulate([7], -ONE, False),
    "upsert": lambda table: table.upsert([7], -ONE),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_whose_answer_was_lost_is_applied_once(proxy, direct, through, pool, name):
    """The request arrives and is applied, then the connection breaks: the client sends it again, to no effect."""
    proxy.lose_answers = True
    answer = pool.submit(MUTATIONS[name], through)
    until(lambda: direct.size() == 1, what="the mutation is applied")
    assert not answer.done()
    proxy.lose_answers = False
    accepted = proxy.accepted
    proxy.cut()
    assert answer.result(timeout=30) == 1  # As the first time: step 1, one row.
    assert proxy.accepted > accepted
    assert direct.pull([7]).tolist() == [[1.0, 1.0]]


def test_push_that_never_arrived_is_applied_once(proxy, direct, through, pool):
    accepted = proxy.accepted
    proxy.lose_requests = True
    answer = pool.submit(MUTATIONS["push"], through)
    assert direct.size() == 0
    proxy.cut()
    until(lambda: proxy.accepted > accepted, what="the client connects again")
    proxy.lose_requests = False
    proxy.cut()
    assert answer.result(timeout=30) == 1
    assert direct.pull([7]).tolist() == [[1.0, 1.0]]


def test_pushes_under_a_breaking_connection_are_all_applied_once(proxy, direct, through, pool):
    """Four threads push 25 times each while the connection is cut again and again; all return, none counts twice."""

    def work() -> None:
        for _ in range(25):
            through.push([1], ONE)

    workers = [pool.submit(work) for _ in range(4)]
    applied = 0
    while not all(worker.done() for worker in workers):
        until(lambda seen=applied: int(direct.pull([1])[0, 0]) > seen or all(worker.done() for worker in workers))
        applied = int(direct.pull([1])[0, 0])
        proxy.cut()
    for worker in workers:
        worker.result()
    assert direct.pull([1])[0, 0] == 100.0


def test_pull_is_retried(proxy, direct, through, pool):
    direct.upsert([1], [[3.0, 4.0]])
    proxy.lose_answers = True
    answer = pool.submit(through.pull, [1])
    until(lambda: direct.stats().pulled_rows == 1, what="the pull arrives")
    proxy.lose_answers = False
    proxy.cut()
    assert answer.result(timeout=30).tolist() == [[3.0, 4.0]]


def test_server_that_does_not_answer_meets_the_deadline(proxy, direct):
    with Client(proxy.target, timeout_s=0.3) as client:
        table = client.table(direct.name)
        proxy.lose_answers = True
        started = time.monotonic()
        with pytest.raises(errors.DeadlineExceeded, match=f"shard 0 at {proxy.target}: DEADLINE_EXCEEDED"):
            table.pull([1])
        assert time.monotonic() - started < 5.0


def test_dead_server_is_unavailable_and_a_new_one_is_found(start_ps):
    first = start_ps()
    with Client(first.target, timeout_s=0.5) as impatient, Client(first.target, timeout_s=60.0) as patient:
        table = impatient.create_table(TableSpec("t", dim=2, optimizer=SGD(1.0)))
        table.push([1], ONE)
        impatient.flush()
        first.kill()
        with pytest.raises(errors.ShardUnavailable, match=rf"attempts? in .* shard 0 at {first.target}.*is the server"):
            table.pull([1])
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(patient.table, "t")
            start_ps("--bind", first.target)
            assert answer.result(timeout=60).pull([1]).tolist() == [[1.0, 1.0]]


def test_one_dead_shard_is_named(start_ps):
    alive, dead = (start_ps("--shard", f"{shard}/2") for shard in (0, 1))
    with Client([alive.target, dead.target], timeout_s=0.5) as client:
        table = client.create_table(TableSpec("t", dim=2, optimizer=SGD(1.0)))
        table.upsert(np.arange(10), np.zeros((10, 2), np.float32))
        dead.kill()
        with pytest.raises(errors.ShardUnavailable, match=f"shard 1 at {dead.target}"):
            table.pull(np.arange(10))


def test_close_wakes_a_call_that_waits_to_try_again(start_ps, pool):
    server = start_ps()
    client = Client(server.target, timeout_s=300.0)
    table = client.create_table(TableSpec("t", dim=2))
    server.kill()
    answer = pool.submit(table.pull, [1])
    client.close()
    with pytest.raises(errors.ClientClosed):
        answer.result(timeout=30)


def test_close_cuts_off_a_call_under_way(proxy, direct, pool):
    client = Client(proxy.target, timeout_s=300.0)
    table = client.table(direct.name)
    proxy.lose_answers = True
    answer = pool.submit(table.pull, [1])
    until(lambda: direct.stats().pulled_rows == 1, what="the pull arrives")
    client.close()
    with pytest.raises(errors.ClientClosed):
        answer.result(timeout=30)


def test_export_that_breaks_is_an_error(proxy, direct, through):
    direct.upsert(np.arange(1000), np.zeros((1000, 2), np.float32))
    chunks = through.export(chunk_rows=1)
    next(chunks)
    proxy.lose_answers = True
    proxy.cut()
    with pytest.raises(errors.ShardUnavailable):
        list(chunks)
