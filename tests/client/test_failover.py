"""A shard with two addresses: calls go on at the one that serves, whatever became of the other."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time

import numpy as np
import pytest
from tests.client.proxy import Proxy
from tests.processes import stand_still, until
from tests.redis_nodes import free_ports

from rowbank import Client, TableSpec, errors
from rowbank.optimizers import SGD
from rowbank.remote.clients import shared_client, targets_of

KEYS = np.arange(20, dtype=np.int64)
ONES = np.ones((20, 2), np.float32)


def either(*servers) -> str:
    return "|".join(server.target for server in servers)


def counted(client: Client, name: str):
    """A table whose rows are minus the number of pushes of `ONES`."""
    spec = TableSpec(name, dim=2, optimizer=SGD(learning_rate=1.0), durability="journaled")
    return client.create_table(spec, exist_ok=True)


def both_places() -> list[str]:
    return [f"127.0.0.1:{port}" for port in free_ports(2)]


def test_the_second_address_is_taken_where_nobody_listens_at_the_first(start_ps, table_name):
    server = start_ps()
    away = both_places()[0]
    with Client(f"{away}|{server.target}") as client:
        assert client.targets == [f"{away}|{server.target}"]
        assert [info.target for info in client.server_info()] == [server.target]
        assert counted(client, table_name).push(KEYS, ONES) == 1


def test_pushes_go_on_at_the_other_address_after_a_kill(start_ps, table_name):
    first, second = both_places()
    elder = start_ps("--bind", first)
    with Client(f"{first}|{second}", timeout_s=60.0) as client:
        table = counted(client, table_name)
        table.push(KEYS, ONES)
        elder.kill()
        heir = start_ps("--bind", second)
        for _ in range(3):
            table.push(KEYS, ONES)
        assert (table.pull(KEYS) == -4.0).all()
        assert [info.target for info in client.server_info()] == [heir.target]


def test_a_push_waits_for_a_server_that_comes_later(start_ps, table_name):
    """Made while nobody serves; it is there once."""
    first, second = both_places()
    elder = start_ps("--bind", first)
    with Client(f"{first}|{second}", timeout_s=60.0) as client:
        table = counted(client, table_name)
        elder.kill()
        pushing = threading.Thread(target=table.push, args=(KEYS, ONES))
        pushing.start()
        start_ps("--bind", second)
        pushing.join()
        assert (table.pull(KEYS) == -1.0).all()


def test_reads_leave_an_owner_that_was_replaced_and_cannot_know_it(start_ps, start_redis, table_name):
    """It is cut off from Redis, so it goes on answering reads, with old rows."""
    first, second = both_places()
    [port] = free_ports(1)
    start_redis(port)
    with Proxy(f"127.0.0.1:{port}") as redis:
        elder = start_ps("--bind", first, redis=f"redis://{redis.target}/0")
        with Client(f"{first}|{second}", timeout_s=60.0) as reader:
            table = counted(reader, table_name)
            assert (table.pull(KEYS) == 0.0).all()
            redis.lose_answers = redis.lose_requests = True
            start_ps("--bind", second, redis=f"redis://127.0.0.1:{port}/0")
            with Client(second) as writer:
                writer.table(table_name).push(KEYS, ONES)
            until(lambda: (table.pull(KEYS) == -1.0).all(), what="reads at the new owner")
        elder.kill()


def test_a_call_that_hangs_is_made_where_the_shard_is_served(start_ps, table_name):
    """The owner stands still, another process takes over, and the same push is applied there, once."""
    first, second = both_places()
    elder = start_ps("--bind", first)
    with Client(f"{first}|{second}", timeout_s=60.0) as client:
        table = counted(client, table_name)
        table.push(KEYS, ONES)
        stand_still(elder.pid)
        pushing = threading.Thread(target=table.push, args=(KEYS, ONES))
        pushing.start()
        start_ps("--bind", second)
        pushing.join()
        started = time.monotonic()
        assert (table.pull(KEYS) == -2.0).all()
        assert time.monotonic() - started < 5.0
        os.kill(elder.pid, signal.SIGCONT)
        assert elder.wait() == 1
        table.push(KEYS, ONES)
        assert (table.pull(KEYS) == -3.0).all()


def test_a_push_that_was_applied_where_no_answer_came_from_counts_once(start_ps, table_name):
    """Its answer is lost on the way; the successor knows its request id from the journal."""
    first, second = both_places()
    start_ps("--bind", first)
    with Proxy(first) as proxy, Client(f"{proxy.target}|{second}", timeout_s=60.0) as client:
        table = counted(client, table_name)
        proxy.lose_answers = True
        pushing = threading.Thread(target=table.push, args=(KEYS, ONES))
        pushing.start()
        with Client(first) as other:
            until(lambda: (other.table(table_name).pull(KEYS) == -1.0).all(), what="the push is applied")
        start_ps("--bind", second)
        pushing.join()
        assert (table.pull(KEYS) == -1.0).all()
        table.push(KEYS, ONES)
        assert (table.pull(KEYS) == -2.0).all()


def test_two_shards_fail_over_each_by_itself(start_ps, table_name):
    places = [both_places(), both_places()]
    elders = [start_ps("--bind", pair[0], "--shard", f"{shard}/2") for shard, pair in enumerate(places)]
    with Client(["|".join(pair) for pair in places], timeout_s=60.0) as client:
        table = counted(client, table_name)
        table.push(KEYS, ONES)
        elders[1].kill()
        heir = start_ps("--bind", places[1][1], "--shard", "1/2")
        table.push(KEYS, ONES)
        assert (table.pull(KEYS) == -2.0).all()
        assert [info.target for info in client.server_info()] == [elders[0].target, heir.target]


def test_what_may_not_be_made_twice_is_made_where_it_never_left(start_ps, table_name):
    """Creating a table without `exist_ok` is not repeated after a loss, but nobody listened where it went to."""
    first, second = both_places()
    elder = start_ps("--bind", first)
    with Client(f"{first}|{second}", timeout_s=60.0) as client:
        elder.kill()
        start_ps("--bind", second)
        client.create_table(TableSpec(table_name, dim=2))
        with pytest.raises(errors.TableExists):
            client.create_table(TableSpec(table_name, dim=2))


def test_an_export_begins_at_the_process_that_serves(start_ps, table_name):
    first, second = both_places()
    elder = start_ps("--bind", first)
    with Client(f"{first}|{second}", timeout_s=60.0) as client:
        table = counted(client, table_name)
        table.push(KEYS, ONES)
        elder.kill()
        start_ps("--bind", second)
        assert sorted(key for chunk in table.export() for key in chunk.keys.tolist()) == KEYS.tolist()


def test_a_client_is_pickled_with_all_addresses(start_ps, table_name):
    first, second = both_places()
    elder = start_ps("--bind", first)
    with Client(f"{first}|{second}", timeout_s=60.0) as client:
        table = counted(client, table_name)
        table.push(KEYS, ONES)
        elder.kill()
        start_ps("--bind", second)
        copy = pickle.loads(pickle.dumps(client))
        assert copy.targets == [f"{first}|{second}"]
        assert (copy.table(table_name).pull(KEYS) == -1.0).all()
        copy.close()


def test_what_keeps_an_address_keeps_all_of_a_shard(start_ps):
    """Saved layers and TFRA's creators name the servers so."""
    first, second = both_places()
    start_ps("--bind", second)
    client = shared_client([f"{first}|{second}"])
    assert shared_client(f"{first} | {second}") is client
    assert targets_of(client) == [f"{first}|{second}"]
    client.close()


def _push_in_child(table) -> None:
    table.push(KEYS, ONES)


def test_a_forked_child_finds_the_other_process_too(start_ps, table_name):
    first, second = both_places()
    elder = start_ps("--bind", first)
    with Client(f"{first}|{second}", timeout_s=60.0) as client:
        table = counted(client, table_name)
        table.push(KEYS, ONES)
        elder.kill()
        heir = start_ps("--bind", second)
        child = multiprocessing.get_context("fork").Process(target=_push_in_child, args=(table,))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert (table.pull(KEYS) == -2.0).all()
        stand_still(heir.pid)
        child = multiprocessing.get_context("fork").Process(target=_push_in_child, args=(table,))
        child.start()
        start_ps("--bind", first)
        child.join()
        assert child.exitcode == 0
        assert (table.pull(KEYS) == -3.0).all()
        os.kill(heir.pid, signal.SIGCONT)


def test_without_any_server_the_error_names_every_address():
    first, second = both_places()
    with pytest.raises(errors.ShardUnavailable, match=rf"cannot connect to {first}\|{second}: .*connection refused"):
        Client(f"{first}|{second}", connect_timeout_s=0.5)


def test_a_partial_client_sees_the_process_that_serves(start_ps):
    first, second = both_places()
    start_ps("--bind", second)
    with Client(f"{first}|{second}", partial=True, connect_timeout_s=5.0) as client:
        assert client.missing == {}
        assert [info.target for info in client.server_info()] == [second]


def test_a_client_that_was_closed_long_ago_says_so(target):
    """Although it is time to ask who the servers are."""
    client = Client(target)
    client.close()
    client._transport._acquaintance.again_at = 0.0
    with pytest.raises(errors.ClientClosed):
        client.list_tables()
    with pytest.raises(errors.ClientClosed):
        client.shards()


def test_closing_wakes_a_call_that_looks_for_an_owner(start_ps, table_name):
    first, second = both_places()
    elder = start_ps("--bind", first)
    client = Client(f"{first}|{second}", timeout_s=60.0)
    table = counted(client, table_name)
    stand_still(elder.pid)
    caught: list[BaseException] = []

    def push():
        try:
            table.push(KEYS, ONES)
        except errors.RowbankError as error:
            caught.append(error)

    pushing = threading.Thread(target=push)
    pushing.start()
    client.close()
    pushing.join()
    assert isinstance(caught[0], errors.ClientClosed)
    os.kill(elder.pid, signal.SIGCONT)
