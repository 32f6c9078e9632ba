"""Two shards: each owns half of the buckets, and both know the same tables."""

from __future__ import annotations

import numpy as np
import pytest
import redis
from tests.processes import PsProcess, until
from tests.server.support import i64, refused, sgd

from rowbank.errors import TableNotFound, WrongShard
from rowbank.hashing import shard_of
from rowbank_protos.v1 import admin_pb2, rows_pb2, tables_pb2
from rowbank_server.ps.main import ParameterServer
from rowbank_server.ps.tables.table import Ownership
from rowbank_server.settings import PsSettings
from rowbank_server.storage.eviction_policy import EvictionPolicy
from rowbank_server.storage.evictions import EvictionHistory
from rowbank_server.storage.layout import Layout

KEYS = np.arange(1000)
OWNERS = shard_of(KEYS, shard_count=2)


@pytest.fixture(scope="module")
def targets(redis_url, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    options = ["--namespace", "shards", "--flush-interval-s", "0.05"]
    started = [
        PsProcess(*options, "--shard", f"{shard}/2", redis_url=redis_url, log=folder / str(shard)) for shard in range(2)
    ]
    yield [server.wait_ready().target for server in started]
    for server in started:
        server.close()


@pytest.fixture
def shards(targets, connect):
    return [connect(target) for target in targets]


def own(shard: int) -> list[int]:
    return KEYS[shard == OWNERS].tolist()


@pytest.mark.parametrize("shard_count", [1, 2, 3, 7, 256])
@pytest.mark.parametrize("bucket_count", [256, 300])
def test_every_bucket_has_one_owner(shard_count, bucket_count):
    owned = [bucket for shard in range(shard_count) for bucket in Ownership(shard, shard_count).buckets(bucket_count)]
    assert owned == list(range(bucket_count))
    for shard in range(shard_count):
        for bucket in Ownership(shard, shard_count).buckets(bucket_count):
            assert bucket * shard_count // bucket_count == shard


def test_a_table_created_on_one_shard_is_there_on_all(shards, table_name):
    first, second = shards
    first.create(table_name)
    second.push(table_name, own(1), np.ones((len(own(1)), 2)))
    first.push(table_name, own(0), np.ones((len(own(0)), 2)))
    assert first.size(table_name) + second.size(table_name) == 1000
    names = [info.spec.name for info in second.tables.ListTables(tables_pb2.ListTablesRequest()).tables]
    assert table_name in names


def test_keys_of_another_shard_are_refused(shards, table_name):
    first, second = shards
    first.create(table_name)
    with refused(WrongShard, f"key {own(1)[0]} belongs to shard 1/2", "this is shard 0/2"):
        first.push(table_name, [own(0)[0], own(1)[0]], [[1, 1], [1, 1]])
    with refused(WrongShard):
        second.pull(table_name, own(0))
    with refused(WrongShard):
        first.rows.Import(iter([rows_pb2.ImportRequest(table=table_name, keys=i64(own(1)[0]), values=b"\0" * 8)]))
    with refused(WrongShard):
        first.admin.DescribeRow(admin_pb2.DescribeRowRequest(table=table_name, key=own(1)[0]))
    assert first.size(table_name) == 0


def test_a_drop_is_noticed_by_the_other_shard(shards, table_name):
    first, second = shards
    first.create(table_name)
    second.push(table_name, own(1), np.ones((len(own(1)), 2)))
    second.admin.Flush(admin_pb2.FlushRequest())
    first.tables.DropTable(tables_pb2.DropTableRequest(name=table_name))

    def gone() -> bool:
        tables = second.tables.ListTables(tables_pb2.ListTablesRequest()).tables
        return table_name not in [info.spec.name for info in tables]

    until(gone, what="drop")
    with refused(TableNotFound):
        second.size(table_name)
    first.create(table_name)
    assert second.size(table_name) == 0


def test_an_update_reaches_the_other_shard(shards, table_name):
    first, second = shards
    spec = first.create(table_name).spec
    second.push(table_name, own(1)[:1], [[1, 1]])
    spec.optimizer.sgd.learning_rate = 0.5
    first.tables.UpdateTable(tables_pb2.UpdateTableRequest(spec=spec))
    second.tables.ListTables(tables_pb2.ListTablesRequest())  # Reads the catalog.
    second.push(table_name, own(1)[:1], [[1, 1]])
    assert second.pull(table_name, own(1)[:1])[0].tolist() == [[-1.5, -1.5]]


def test_rows_find_their_shard_when_the_number_of_shards_changes(start_ps, connect):
    one = start_ps()
    wire = connect(one.target)
    wire.create("t")
    wire.push("t", KEYS.tolist(), np.ones((1000, 2)), step=7)
    assert one.terminate() == 0
    first, second = (connect(start_ps("--shard", f"{shard}/2").target) for shard in range(2))
    assert (first.size("t"), second.size("t")) == (len(own(0)), len(own(1)))
    assert second.pull("t", own(1))[0].tolist() == [[-1, -1]] * len(own(1))
    assert list(second.push("t", own(1)[:1], [[1, 1]]).steps) == [8]


def test_a_table_dropped_during_a_write_back_does_not_come_back(redis_url, namespace, monkeypatch):
    """The other shard drops it after this one has looked at the catalog: its buckets have no owner any more."""
    with redis.Redis.from_url(redis_url) as client:
        given = {"redis": redis_url, "namespace": namespace}
        first, second = (
            ParameterServer(
                PsSettings.model_validate({**given, "shard": f"{shard}/2"}), client, EvictionPolicy("noeviction", 0)
            )
            for shard in range(2)
        )
        try:
            for server in (first, second):
                server.claiming.load()
            first.shard.create(tables_pb2.TableSpec(name="t", dim=2, optimizer=sgd(1.0)), exist_ok=False)
            keys = np.array(own(1), np.int64)
            second.shard.get("t").rows.upsert(keys, np.ones((len(keys), 2), np.float32), now=1)
            monkeypatch.setattr(EvictionHistory, "append_waiting", lambda _: first.shard.drop("t", missing_ok=False))
            assert second.keeper.flush() == 0
            monkeypatch.undo()
            assert second.keeper.flush() == 0
            assert second.shard.tables() == []
            assert not client.hexists(Layout(namespace).catalog, "t")
            assert client.keys(f"{namespace}:*:rows") == []
        finally:
            first.journal.stop()
            second.journal.stop()


@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("made_anew", [False, True])
def test_a_table_dropped_just_before_redis_lost_writes_stays_dropped(start_ps, connect, own_redis, order, made_anew):
    """The shard that has not heard of the drop restores the catalog; so does the one that dropped it, before or after.

    With `made_anew`, another table has the name by then, and stays.
    """
    never = ("--flush-interval-s", "3600")
    wires = [connect(start_ps("--shard", f"{shard}/2", *never, redis=own_redis.url).target) for shard in range(2)]
    first, second = wires
    first.create("t")
    first.create("kept")
    second.size("t")
    with redis.Redis.from_url(own_redis.url) as client:
        (catalog,) = client.keys("*:catalog")
        before = client.hgetall(catalog)
        first.tables.DropTable(tables_pb2.DropTableRequest(name="t"))
        if made_anew:
            first.create("t", 3)
        client.delete(catalog, *client.keys("*:state"))
        client.hset(catalog, mapping=before)
        for wire in wires if order == "first" else wires[::-1]:
            wire.admin.Flush(admin_pb2.FlushRequest())
        for wire in wires:
            wire.admin.Flush(admin_pb2.FlushRequest())
    for wire in wires:
        infos = wire.tables.ListTables(tables_pb2.ListTablesRequest()).tables
        found = {info.spec.name: info.spec.dim for info in infos}
        assert found == {"kept": 2, **({"t": 3} if made_anew else {})}
