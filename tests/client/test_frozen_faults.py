"""Copies of tables while pushes go on, while Redis stands still, and when a shard dies on the way."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from tests.client.test_frozen_tables import DIM, FILES, grown_table, manifest_over
from tests.client.test_models_features import other_version
from tests.processes import until

from rowbank import SGD, Client, TableSpec, errors

KEYS = np.arange(20_000)


def counting_table(client: Client, name: str = "t"):
    """Every push of `KEYS` adds one to every row."""
    table = client.create_table(TableSpec(name, dim=DIM, optimizer=SGD(1.0)))
    push_one(table)
    return table


def push_one(table) -> None:
    table.push(KEYS, -np.ones((len(KEYS), DIM), np.float32))


def test_pushes_go_on_and_a_copy_shows_each_wholly_or_not_at_all(start_ps):
    server = start_ps()
    with Client(server.target) as client, Client(server.target) as pusher:
        table = counting_table(client)
        before, stop, pushed = [], threading.Event(), []

        def push() -> None:
            mine = pusher.table("t")
            while not stop.is_set():
                push_one(mine)
                pushed.append(1)

        thread = threading.Thread(target=push)
        thread.start()
        try:
            for number in range(4):
                before.append(1 + len(pushed))
                client.models.publish(other_version(manifest_over("t"), f"v{number}"), FILES, activate=False)
                seen = len(pushed)
                until(lambda seen=seen: len(pushed) > seen, what="a push after the publication")
        finally:
            stop.set()
            thread.join()
        for number, least in enumerate(before):
            (bound,) = client.models.get("t", f"v{number}").manifest.tables
            values = client.table(bound.name).lookup(KEYS).values
            assert (values == values[0, 0]).all()
            assert least <= values[0, 0] <= 1 + len(pushed)
        assert (table.lookup(KEYS).values == 1 + len(pushed)).all()


def test_without_redis_nothing_is_published_and_afterwards_it_is(start_ps, own_redis):
    server = start_ps(redis=own_redis.url)
    with Client(server.target, timeout_s=3) as client:
        counting_table(client)
        client.flush()
        own_redis.stop()
        with pytest.raises(errors.RequestError):
            client.models.publish(manifest_over("t"), FILES, timeout_s=3)
        own_redis.start()
        until(lambda: client.shard_stats()[0].redis_connected, what="Redis")
        with pytest.raises(errors.ModelNotFound):
            client.models.get("t")
        client.models.publish(manifest_over("t"), FILES)
        (bound,) = client.models.get("t").manifest.tables
        assert (client.table(bound.name).lookup(KEYS).values == 1.0).all()


def test_a_shard_that_dies_on_the_way_leaves_no_version(start_ps):
    server = start_ps()
    failure: list[BaseException] = []
    with Client(server.target, timeout_s=10) as client:
        grown_table(client, "t", rows=300_000)
        client.flush()

        def publish() -> None:
            try:
                client.models.publish(manifest_over("t"), FILES, timeout_s=10)
            except errors.RequestError as error:
                failure.append(error)

        thread = threading.Thread(target=publish)
        thread.start()
        copy = f"t/{manifest_over('t').version}.t"
        with Client(server.target) as other:
            until(lambda: copy in [info.spec.name for info in other.list_tables()], what="the copy's table")
        server.kill()
        thread.join()
    assert isinstance(failure[0], errors.ShardUnavailable)
    with Client(start_ps().target) as client:
        with pytest.raises(errors.ModelNotFound):
            client.models.get("t")
        later = other_version(manifest_over("t"), "20260202T000000Z-0000")
        assert client.models.publish(later, FILES) == later.version
        assert client.models.get("t").manifest.tables[0].rows == 300_000
        assert client.drop_table(copy, missing_ok=True) in (True, False)  # Nobody holds what is left of it.


def test_a_snapshot_and_a_publication_take_turns(start_ps, tmp_path):
    """Only one picture at a time is read of a shard; the other is told so, and nothing of it is left."""
    from rowbank.calls.pictures import held_moment

    with Client(start_ps().target) as client:
        counting_table(client)
        with held_moment(client.calls.transport), pytest.raises(errors.NotReady, match="another snapshot"):
            client.models.publish(manifest_over("t"), FILES)
        assert [info.spec.name for info in client.list_tables()] == ["t"]
        client.models.publish(manifest_over("t"), FILES)
