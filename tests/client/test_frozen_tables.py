"""Read-only copies of tables: what they hold, and that nothing changes them."""

from __future__ import annotations

import numpy as np
import pytest
from tests.client.test_models_features import identity, other_version

from rowbank import SGD, Adam, Client, Eviction, TableSpec, Uniform, errors
from rowbank.models import ModelManifest, Tower, TowerInput, frozen_names

DIM = 4
FILES = {"query.onnx": identity(DIM), "candidate.onnx": identity(DIM)}


@pytest.fixture
def name(table_name) -> str:
    """Short enough for the names of its copies."""
    return table_name[-40:].lstrip("-")


def manifest_over(table: str, version: str = "20260131T120000Z-1a2b") -> ModelManifest:
    query = Tower((TowerInput("rows", table, "user_id", dim=DIM),), "vector", "query.onnx")
    candidate = Tower((TowerInput("rows", table, "item_id", dim=DIM),), "vector", "candidate.onnx")
    return ModelManifest(
        name=table, version=version, query=query, candidate=candidate, vector_dim=DIM, created_at_s=1.0,
        item_view="items", user_view="",
    )  # fmt: skip


def grown_table(client: Client, name: str, rows: int = 500, **spec):
    """A table with Adam's slots whose values are known: row k is [k, k + 0.1, k + 0.2, k + 0.3]."""
    table = client.create_table(
        TableSpec(name, dim=DIM, initializer=Uniform(-1, 1, seed=1), optimizer=Adam(0.1), **spec)
    )
    keys = np.arange(rows)
    values = (keys[:, None] + np.arange(DIM) / 10).astype(np.float32)
    table.push(keys, np.ones((rows, DIM), np.float32))
    table.upsert(keys, values)
    return table, keys, values


def test_a_copy_has_the_rows_of_the_moment_and_keeps_them(client, name):
    table, keys, values = grown_table(client, name)
    version = client.models.publish(manifest_over(name), FILES)
    table.push(keys, np.ones((len(keys), DIM), np.float32))
    table.upsert([10_000], np.zeros((1, DIM), np.float32))
    (bound,) = client.models.get(name).manifest.tables
    assert bound.name == f"{name}/{version}.{name}"
    assert (bound.source, bound.rows, bound.step) == (name, len(keys), 1)
    copy = client.table(bound.name)
    found = copy.lookup(np.append(keys, 10_000))
    np.testing.assert_array_equal(found.values[:-1], values)
    assert found.found.tolist() == [True] * len(keys) + [False]
    info = client.table_info(bound.name)
    assert info.frozen
    assert info.slots == ()
    assert bound.bytes == info.bytes


def test_halves_take_half_and_are_the_nearest_halves(client, name):
    _, keys, values = grown_table(client, name)
    client.models.publish(manifest_over(name), FILES, value_dtype="float16")
    (bound,) = client.models.get(name).manifest.tables
    stored = client.table(bound.name).lookup(keys).values
    np.testing.assert_array_equal(stored, values.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.push([1], np.ones((1, DIM), np.float32)),
        lambda table: table.upsert([1], np.ones((1, DIM), np.float32)),
        lambda table: table.accumulate([1], np.ones((1, DIM), np.float32), True),
        lambda table: table.remove([1]),
        lambda table: table.touch([1]),
        lambda table: table.clear(force=True),
        lambda table: table.restrict(1),
        lambda table: table.import_rows(table.export()),
    ],
    ids=["push", "upsert", "accumulate", "remove", "touch", "clear", "restrict", "import"],
)
def test_nothing_changes_a_copy(client, name, change):
    _, keys, values = grown_table(client, name, rows=20)
    client.models.publish(manifest_over(name), FILES)
    (bound,) = client.models.get(name).manifest.tables
    copy = client.table(bound.name)
    with pytest.raises(errors.TableFrozen, match="read-only copy"):
        change(copy)
    np.testing.assert_array_equal(copy.lookup(keys).values, values)


def test_a_spec_cannot_ask_for_or_change_a_copy(client, name):
    grown_table(client, name, rows=5)
    client.models.publish(manifest_over(name), FILES)
    (bound,) = client.models.get(name).manifest.tables
    with pytest.raises(errors.TableFrozen):
        client.update_table(TableSpec(bound.name, dim=DIM, optimizer=SGD(1.0)))
    with pytest.raises(errors.TableExists, match="frozen"):
        client.create_table(TableSpec(bound.name, dim=DIM), exist_ok=True)


def test_copies_survive_a_kill(start_ps, redis_url):
    server = start_ps()
    with Client(server.target) as client:
        _, keys, values = grown_table(client, "t", rows=3000)
        client.models.publish(manifest_over("t"), FILES)
        (bound,) = client.models.get("t").manifest.tables
    server.kill()  # At once: publishing waited until Redis had every row.
    with Client(start_ps().target) as client:
        assert client.table_info(bound.name).table_id == bound.table_id
        np.testing.assert_array_equal(client.table(bound.name).lookup(keys).values, values)
        with pytest.raises(errors.TableFrozen):
            client.table(bound.name).remove([1])


def test_two_shards_copy_the_same_moment(start_ps):
    """Pushes of [1] to a pair of keys on two shards at once: in the copy, the pair never differs by more than one."""
    targets = [start_ps("--shard", f"{shard}/2").target for shard in range(2)]
    with Client(targets) as client:
        table = client.create_table(TableSpec("t", dim=DIM, optimizer=SGD(1.0)))
        keys = np.arange(2000)
        table.push(keys, -np.ones((2000, DIM), np.float32))
        client.models.publish(manifest_over("t"), FILES)
        (bound,) = client.models.get("t").manifest.tables
        table.push(keys, -np.ones((2000, DIM), np.float32))
        assert bound.rows == 2000
        assert (client.table(bound.name).lookup(keys).values == 1.0).all()
        assert (table.lookup(keys).values == 2.0).all()


def test_a_failed_publication_leaves_no_copies(client, name):
    grown_table(client, name, rows=5)
    with pytest.raises(errors.InvalidModel, match="no ONNX graph"):
        client.models.publish(manifest_over(name), {**FILES, "candidate.onnx": b"no graph"})
    assert [t.spec.name for t in client.list_tables() if t.spec.name.startswith(f"{name}/")] == []
    missing = manifest_over(name).renamed({name: "no-such-table"})
    with pytest.raises(errors.InvalidModel, match="no-such-table"):
        client.models.publish(missing, FILES)


def test_capped_tables_are_copied_without_their_caps(client, name):
    grown_table(client, name, rows=50, eviction=Eviction("lfu", max_rows=1000))
    client.models.publish(manifest_over(name), FILES)
    (bound,) = client.models.get(name).manifest.tables
    assert client.table_info(bound.name).spec.eviction == TableSpec("x", dim=1).eviction


@pytest.mark.parametrize(("rows", "value_dtype"), [(200, ""), (5000, ""), (50_000, "float16")])
def test_what_a_copy_takes_is_told_beforehand(client, name, rows, value_dtype):
    grown_table(client, name, rows)
    told = client.models.frozen_cost([name], value_dtype)
    client.models.publish(manifest_over(name), FILES, value_dtype=value_dtype)
    (bound,) = client.models.get(name).manifest.tables
    assert told.rows == bound.rows == rows
    assert told.bytes == pytest.approx(bound.bytes, rel=0.25)


def test_names_of_copies_are_unique():
    names = frozen_names("m", "v", ["m/1.user", "m/1.title", "n/2.user"])
    assert list(names.values()) == ["m/v.user", "m/v.title", "m/v.2"]
    assert frozen_names("m" * 100, "v", ["t" * 100]) == {"t" * 100: "m" * 100 + "/v.0"}
    with pytest.raises(errors.InvalidModel, match="short enough"):
        frozen_names("m" * 127, "v", ["t"])


def test_live_versions_say_which_table_they_read(client, name):
    table, _, _ = grown_table(client, name, rows=5)
    client.models.publish(manifest_over(name), FILES, rows="live")
    (bound,) = client.models.get(name).manifest.tables
    assert (bound.name, bound.source, bound.lineage) == (name, name, 0)
    assert bound.table_id == client.table_info(name).table_id
    table.clear(force=True)
    later = other_version(manifest_over(name), "20260201T000000Z-0000")
    client.models.publish(later, FILES, rows="live", activate=False)
    assert client.models.get(name, later.version).manifest.tables[0].lineage == 1
