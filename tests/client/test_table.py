"""Every verb of a table against a real server; values judged by NumPy, worked out independently of the client."""

from __future__ import annotations

import threading

import ml_dtypes
import numpy as np
import pytest

import rowbank
from rowbank import SGD, Adagrad, Adam, Client, Constant, TableSpec, Uniform
from rowbank.rows import ExportChunk


@pytest.fixture
def table(client, table_name):
    """Four wide, zero at first; SGD(1.0), so that a push of g makes a row -g."""
    return client.create_table(TableSpec(table_name, dim=4, optimizer=SGD(1.0)))


def rows(*firsts: float) -> np.ndarray:
    """Rows of dim 4 that are all of one number."""
    return np.repeat(np.array(firsts, np.float32)[:, None], 4, axis=1)


def test_pull_reads_initial_values_and_inserts_nothing(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=3, initializer=Uniform(-0.5, 0.25, seed=7)))
    values = table.pull([5, -9, 5, 2**63 - 1])
    assert values.shape == (4, 3)
    assert values.dtype == np.float32
    assert (values >= -0.5).all()
    assert (values < 0.25).all()
    assert (values[0] == values[2]).all()
    assert not (values[0] == values[1]).any()
    assert (table.pull([-9])[0] == values[1]).all()
    assert table.size() == 0


def test_answers_keep_the_order_and_shape_of_the_keys(table):
    table.upsert([1, 2, 3], rows(10, 20, 30))
    pulled = table.pull(np.array([[3, 1, 9], [1, 2, 3]], np.int32))
    assert pulled.shape == (2, 3, 4)
    assert pulled[..., 0].tolist() == [[30, 10, 0], [10, 20, 30]]
    assert table.pull(2).tolist() == [20.0] * 4
    assert not pulled.flags.writeable


def test_push_subtracts_the_sum_per_key(table):
    table.push([7, 8, 7, 7], rows(1, 2, 4, 8))
    assert table.pull([8, 7])[:, 0].tolist() == [-2.0, -13.0]
    assert table.lookup([7, 8], with_metadata=True).frequency.tolist() == [3, 1]


def test_push_counts_occurrences_it_is_told(table):
    table.push([7, 8, 7], rows(1, 1, 1), counts=[10, 20, 5])
    assert table.lookup([7, 8], with_metadata=True).frequency.tolist() == [15, 20]


@pytest.mark.parametrize("wire_dtype", ["float32", "float16", "bfloat16"])
def test_wire_dtypes_round_values_and_gradients(target, table_name, wire_dtype):
    dtype = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}[wire_dtype]
    exact = np.random.default_rng(1).standard_normal((50, 4)).astype(np.float32)
    with Client(target, wire_dtype=wire_dtype) as client:
        table = client.create_table(TableSpec(table_name, dim=4, optimizer=SGD(1.0)))
        table.upsert(np.arange(50), exact)
        assert (table.lookup(np.arange(50)).values == exact).all()  # Store verbs are always exact.
        assert (table.pull(np.arange(50)) == exact.astype(dtype).astype(np.float32)).all()
        table.push(np.arange(50, 100), exact)
        assert (table.lookup(np.arange(50, 100)).values == -exact.astype(dtype).astype(np.float32)).all()


def test_adagrad_equals_numpy_over_ten_steps(client, table_name):
    rng = np.random.default_rng(2)
    spec = TableSpec(table_name, dim=5, initializer=Constant(0.5), optimizer=Adagrad(0.3))
    table = client.create_table(spec)
    values = np.full((20, 5), 0.5)
    accumulator = np.full((20, 5), 0.1)
    for _ in range(10):
        keys = rng.integers(0, 20, 30)
        gradients = rng.standard_normal((30, 5)).astype(np.float32)
        table.push(keys, gradients)
        sums = np.zeros((20, 5))
        np.add.at(sums, keys, gradients)
        pushed = np.unique(keys)
        accumulator[pushed] += sums[pushed] ** 2
        values[pushed] -= 0.3 * sums[pushed] / np.sqrt(accumulator[pushed] + 1e-7)
    np.testing.assert_allclose(table.pull(np.arange(20)), values, rtol=2e-6, atol=2e-6)


def test_push_answers_the_step_and_takes_one(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=1, optimizer=Adam(0.1)))
    assert table.push([1], [[1.0]]) == 1
    assert table.push([1], [[1.0]]) == 2
    assert table.push([1], [[1.0]], step=10) == 10
    assert table.push([1], [[1.0]]) == 11
    # Adam's first step moves by learning_rate, whatever the gradient; of step 1000 the same gradient moves by
    # 0.1 * sqrt(1 - 0.999^1000) / (1 - 0.9^1000) * 0.1 / sqrt(0.001) = 0.1 * 0.7953 * 3.1623 = 0.2515.
    table.push([2, 3], [[0.7], [0.7]], step=1000)
    np.testing.assert_allclose(table.pull([2]), [[-0.2515]], atol=1e-4)


def test_push_overrides_hold_once(table):
    table.push([1], rows(4), learning_rate=0.5)
    assert table.pull([1])[0, 0] == -2.0
    table.push([1], rows(4), clip_value=1.0)
    assert table.pull([1])[0, 0] == -3.0
    table.push([1], rows(4), max_norm=4.0)  # The norm of (4, 4, 4, 4) is 8: halved.
    assert table.pull([1])[0, 0] == -5.0
    table.push([1], rows(4))
    assert table.pull([1])[0, 0] == -9.0


def test_lookup_has_no_side_effects(table):
    table.upsert([1], rows(3))
    found = table.lookup([[1, 2], [2, 1]])
    assert found.found.tolist() == [[True, False], [False, True]]
    assert found.values[..., 0].tolist() == [[3.0, 0.0], [0.0, 3.0]]
    assert found.frequency is None
    assert table.size() == 1


def test_upsert_of_a_repeated_key_keeps_the_last(table):
    assert table.upsert([1, 2, 1], rows(1, 2, 3)) == 2
    assert table.pull([1, 2])[:, 0].tolist() == [3.0, 2.0]
    assert table.upsert([1], rows(5)) == 0


def test_accumulate_follows_its_truth_table(table):
    table.upsert([1, 2], rows(10, 20))
    assert table.accumulate([1, 2, 3, 4], rows(1, 1, 1, 1), [True, False, True, False]) == 2
    found = table.lookup([1, 2, 3, 4])
    assert found.found.tolist() == [True, True, False, True]
    assert found.values[:, 0].tolist() == [11.0, 20.0, 0.0, 1.0]
    assert table.accumulate([1, 2], rows(1, 1), True) == 2


def test_remove_and_clear_say_how_many(table):
    table.upsert([1, 2, 3], rows(1, 2, 3))
    assert table.remove([1, 1, 9]) == 1
    assert table.size() == 2
    assert table.clear() == 2
    assert table.size() == 0
    assert table.pull([2])[0, 0] == 0.0


def test_touch_counts_stored_rows_only(table):
    table.upsert([1, 2], rows(1, 2))
    assert table.touch([1, 1, 2, 9]) == 2
    assert table.touch([1, 9], counts=[10, 1]) == 1
    found = table.lookup([1, 2, 9], with_metadata=True)
    assert found.frequency.tolist() == [12, 1, 0]
    assert not found.found[2]


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3)])
def test_empty_batches_are_answered_at_once(table, shape):
    keys = np.zeros(shape, np.int64)
    nothing = np.zeros((*shape, 4), np.float32)
    assert table.pull(keys).shape == (*shape, 4)
    assert table.push(keys, nothing) == 0
    assert table.lookup(keys, with_metadata=True).values.shape == (*shape, 4)
    assert table.upsert(keys, nothing) == 0
    assert table.accumulate(keys, nothing, np.zeros(shape, bool)) == 0
    assert table.remove(keys) == 0
    assert table.touch(keys) == 0
    assert table.pull([]).shape == (0, 4)
    assert table.push([], []) == 0
    assert table.stats().pulled_rows == 0
    assert list(table.export()) == []


def exported(table: rowbank.Table, **options) -> ExportChunk:
    """The whole table in one chunk, keys ascending."""
    chunks = list(table.export(**options))
    keys = np.concatenate([chunk.keys for chunk in chunks])
    order = np.argsort(keys)

    def column(name: str):
        parts = [getattr(chunk, name) for chunk in chunks]
        return None if parts[0] is None else np.concatenate(parts)[order]

    return ExportChunk(keys[order], *(column(name) for name in ("values", "frequency", "last_used", "slots")))


def test_export_has_every_row_once(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=2, optimizer=Adagrad(1.0, initial_accumulator=1.0)))
    keys = np.random.default_rng(3).permutation(5000) - 2500
    table.upsert(keys, np.stack([keys, -keys], axis=1).astype(np.float32))
    table.push([4, 4], [[0.0, 0.0], [1.0, 2.0]])
    chunk = exported(table, with_slots=True, chunk_rows=7)
    assert (chunk.keys == np.arange(-2500, 2500)).all()
    untouched = chunk.keys != 4
    assert (chunk.values[untouched, 0] == chunk.keys[untouched]).all()
    assert chunk.frequency.tolist() == np.where(untouched, 0, 2).tolist()
    assert chunk.slots is not None
    assert chunk.slots[~untouched].tolist() == [[2.0, 5.0]]  # 1 + 1 and 1 + 4.
    assert (chunk.slots[untouched] == 1.0).all()


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(0.1)])
def test_import_restores_what_export_gave(client, table_name, optimizer):
    source = client.create_table(TableSpec(f"{table_name}/source", dim=3, optimizer=optimizer))
    copy = client.create_table(TableSpec(f"{table_name}/copy", dim=3, optimizer=optimizer))
    keys = np.random.default_rng(4).integers(0, 300, 1000)
    source.push(keys, np.random.default_rng(5).standard_normal((1000, 3)).astype(np.float32))
    for _ in range(2):
        assert copy.import_rows(source.export(with_slots=True)) == source.size()
    one, other = exported(source, with_slots=True), exported(copy, with_slots=True)
    for name in ("keys", "values", "frequency", "last_used", "slots"):
        assert (getattr(one, name) == getattr(other, name)).all(), name


def test_restrict_keeps_the_most_frequent(table):
    keys = np.arange(10)
    table.push(np.repeat(keys, keys + 1), np.ones((55, 4), np.float32))
    assert table.preview_eviction(4, sample=3).evicted == 6
    assert table.size() == 10
    assert table.restrict(4, trigger=10).evicted == 0
    report = table.restrict(4, trigger=9, sample=3)
    assert (report.rows_before, report.rows_after, report.evicted) == (10, 4, 6)
    assert report.sample_keys.tolist() == [0, 1, 2]
    assert table.lookup(keys).found.tolist() == [False] * 6 + [True] * 4
    assert table.top(2).keys.tolist() == [9, 8]
    assert table.top(2).frequency.tolist() == [10, 9]
    (event,) = table._client.evictions(table.name)
    assert (event.rows, event.rows_left, event.reason) == (6, 4, "restrict")


def test_row_and_stats_describe_the_table(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=2, initializer=Constant(0.5), optimizer=Adagrad(1.0)))
    table.push([3, 3], [[0.0, 1.0], [0.0, 1.0]])
    table.pull([3, 4])
    row = table.describe_row(3)
    assert (row.found, row.frequency, row.key) == (True, 2, 3)
    np.testing.assert_allclose(row.values, [0.5, 0.5 - 2 / np.sqrt(4.1)], rtol=1e-6)
    (slot,) = row.slots.values()
    np.testing.assert_allclose(slot, [0.1, 4.1], rtol=1e-6)
    unseen = table.describe_row(4)
    assert (unseen.found, unseen.values.tolist()) == (False, [0.5, 0.5])
    stats = table.stats()
    assert (stats.rows, stats.dim, stats.step) == (1, 2, 1)
    assert (stats.pulled_rows, stats.pulled_found, stats.pulled_initialized) == (2, 1, 1)
    assert (stats.pushed_rows, stats.inserted_rows) == (1, 1)
    assert stats.payload_bytes == 16  # Two values and two accumulators.


def test_several_tables_in_one_call(client, table_name):
    wide = client.create_table(TableSpec(f"{table_name}/wide", dim=3, optimizer=SGD(1.0)))
    narrow = client.create_table(TableSpec(f"{table_name}/narrow", dim=1, optimizer=SGD(0.5)))
    steps = client.push(
        {wide.name: ([1, 1], np.ones((2, 3), np.float32)), narrow.name: ([[5]], [[[2.0]]], [[7]])}, step=4
    )
    assert steps == {wide.name: 4, narrow.name: 4}
    pulled = client.pull({narrow.name: [5, 6], wide.name: [[1]]})
    assert pulled[narrow.name].tolist() == [[-1.0], [0.0]]
    assert pulled[wide.name].tolist() == [[[-2.0] * 3]]
    assert narrow.lookup([5], with_metadata=True).frequency.tolist() == [7]
    assert client.pull({}) == {}
    assert client.push({}) == {}


def test_threads_share_a_client(table):
    """Eight threads push -1 to one row 50 times each; SGD(1.0) counts the pushes."""

    def work() -> None:
        for _ in range(50):
            table.push([1, 2], rows(-1, -1))
            table.pull([1, 2])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert table.pull([1, 2])[:, 0].tolist() == [400.0, 400.0]
    assert table.stats().step == 400
