"""Several shards behave as one table; each key has one owner."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank import SGD, Adam, Client, TableSpec, Uniform, errors, hashing
from rowbank.calls import methods
from rowbank_protos import columns
from rowbank_protos.v1 import rows_pb2


@pytest.fixture(scope="module")
def client(two_shards):
    with Client(two_shards) as client:
        yield client


def test_two_shards_answer_as_one(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=3, optimizer=SGD(1.0)))
    keys = np.random.default_rng(1).integers(-500, 500, (40, 50))
    gradients = np.random.default_rng(2).standard_normal((40, 50, 3)).astype(np.float32)
    table.push(keys, gradients)
    expected = np.zeros((1000, 3))
    np.add.at(expected, keys.ravel() + 500, -gradients.reshape(-1, 3))
    np.testing.assert_allclose(table.pull(keys), expected[keys + 500], rtol=1e-5, atol=1e-5)
    distinct = np.unique(keys)
    assert table.size() == len(distinct) == client.table_info(table_name).rows == table.stats().rows
    found = table.lookup(np.arange(-500, 500), with_metadata=True)
    counts = np.bincount(keys.ravel() + 500, minlength=1000)
    assert found.found.tolist() == (counts > 0).tolist()
    assert found.frequency.tolist() == counts.tolist()
    assert sorted(np.concatenate([chunk.keys for chunk in table.export()]).tolist()) == distinct.tolist()
    shards = client.shard_stats(table_name)
    assert [shard.shard for shard in shards] == [0, 1]
    owners = hashing.shard_of(distinct, shard_count=2)
    assert [shard.tables[0].rows for shard in shards] == np.bincount(owners).tolist()


def test_initial_values_do_not_depend_on_the_shards(client, target, table_name):
    spec = TableSpec(table_name, dim=4, initializer=Uniform(-1.0, 1.0, seed=3))
    with Client(target) as single:
        alone = single.create_table(spec).pull(np.arange(100))
    assert (client.create_table(spec).pull(np.arange(100)) == alone).all()


def test_shards_count_steps_alike(client, table_name):
    """A shard that owns none of a push's keys counts its step too, so Adam corrects its bias alike everywhere."""
    table = client.create_table(TableSpec(table_name, dim=1, optimizer=Adam(0.1)))
    first, second = (
        int(np.flatnonzero(hashing.shard_of(np.arange(100), shard_count=2) == shard)[0]) for shard in (0, 1)
    )
    for step in range(1, 6):
        assert table.push([first], [[1.0]]) == step
    assert table.push([second], [[1.0]]) == 6
    assert [shard.tables[0].step for shard in client.shard_stats(table_name)] == [6, 6]


@pytest.mark.parametrize("kept", [0, 1, 37, 99, 100, 200])
def test_restrict_keeps_exactly_the_number_asked(client, table_name, kept):
    table = client.create_table(TableSpec(table_name, dim=2))
    keys = np.arange(100)
    table.push(keys, np.zeros((100, 2), np.float32), counts=keys + 1)
    preview = table.preview_eviction(kept)
    report = table.restrict(kept, sample=4)
    assert table.size() == min(kept, 100)
    assert (report.rows_before, report.rows_after, report.evicted) == (100, min(kept, 100), 100 - min(kept, 100))
    assert (preview.rows_after, preview.evicted) == (report.rows_after, report.evicted)
    assert len(report.sample_keys) == min(4, report.evicted)
    assert table.lookup(keys).found.tolist() == (keys >= 100 - kept).tolist()


def test_restrict_below_its_trigger_does_nothing(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=2))
    table.upsert(np.arange(100), np.zeros((100, 2), np.float32))
    assert table.restrict(10, trigger=100).evicted == 0
    assert table.restrict(10, trigger=99).evicted == 90


def test_top_and_verbs_cover_all_shards(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=2))
    keys = np.arange(50)
    table.push(keys, np.zeros((50, 2), np.float32), counts=keys + 1)
    assert table.top(5).keys.tolist() == [49, 48, 47, 46, 45]
    assert table.touch(keys, counts=np.where(keys == 7, 100, 1)) == 50
    assert table.top(1).keys.tolist() == [7]
    assert [table.describe_row(key).shard for key in range(8)] == hashing.shard_of(keys[:8], shard_count=2).tolist()
    assert table.accumulate(keys, np.ones((50, 2), np.float32), True) == 50
    assert (table.pull(keys) == 1.0).all()
    assert table.remove(keys[:20]) == 20
    assert table.clear() == 30
    assert client.drop_table(table_name)
    with pytest.raises(errors.TableNotFound):
        table.pull(keys)
    assert table_name not in [info.spec.name for info in client.list_tables()]


def test_targets_may_come_in_any_order(client, two_shards, table_name):
    client.create_table(TableSpec(table_name, dim=1)).upsert(np.arange(20), np.arange(20, dtype=np.float32)[:, None])
    with Client(",".join(reversed(two_shards))) as other:
        assert [server.target for server in other.server_info()] == two_shards
        assert other.table(table_name).pull(np.arange(20)).ravel().tolist() == list(range(20))


def test_targets_that_are_not_one_cluster_are_refused(two_shards, target):
    with pytest.raises(errors.WrongShard, match=r"every shard of one cluster once, got: .* is shard 0 of 2"):
        Client(two_shards[0])
    with pytest.raises(errors.WrongShard, match="every shard of one cluster once"):
        Client([two_shards[0], target])


def test_key_sent_to_another_shard_is_refused(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=1))
    key = int(np.flatnonzero(hashing.shard_of(np.arange(100), shard_count=2) == 1)[0])
    request = rows_pb2.LookupRequest(table=table.name, keys=columns.pack_keys(np.array([key])))
    with pytest.raises(errors.WrongShard, match=f"key {key} belongs to shard 1/2"):
        client.calls.transport.one(methods.LOOKUP, 0, request)
