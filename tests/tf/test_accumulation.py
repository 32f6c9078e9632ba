"""Gradients of several small batches pushed as those of one: by hand and by NumPy."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import tensorflow as tf

import rowbank
from rowbank.errors import InvalidRequest
from rowbank.keras import Embedding, FeatureConfig, RemoteEmbedding, TableConfig, accumulated_gradients
from rowbank.remote import RemoteTables

BATCHES = [[[1, 2]], [[1, 3]], [[2, 2]]]
OCCURRENCES = {1: 2, 2: 3, 3: 1}


def spec(name: str) -> rowbank.TableSpec:
    return rowbank.TableSpec(name, dim=2, initializer=rowbank.Constant(0.5), optimizer=rowbank.Adagrad(0.1))


def adagrad(sums: list[float]) -> float:
    """A value of 0.5 after pushes of these gradients: Keras's formula, from an accumulator of 0.1."""
    value, accumulator = 0.5, 0.1
    for gradient in sums:
        accumulator += gradient**2
        value -= 0.1 * gradient / (np.sqrt(accumulator) + 1e-7)
    return value


def step_of(layer, *, traced: bool):
    """A step whose loss is the sum of all looked-up numbers: a gradient of 1 for each occurrence of an id."""

    def step(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(ids, training=True))
        tape.gradient(loss, layer.trainable_weights)

    return tf.function(step) if traced else step


def check(table, expected: dict[int, float]) -> None:
    rows = table.lookup(sorted(expected), with_metadata=True)
    np.testing.assert_allclose(rows.values[:, 0], [expected[key] for key in sorted(expected)], rtol=1e-6)
    np.testing.assert_array_equal(rows.values[:, 1], rows.values[:, 0])


@pytest.mark.parametrize("traced", [True, False])
def test_small_batches_are_one_push(target, table_name, traced):
    layer = Embedding(spec(table_name), target=target)
    step = step_of(layer, traced=traced)
    with accumulated_gradients() as held:
        for ids in BATCHES:
            step(tf.constant(ids, tf.int64))
        assert held.steps == 3
        assert layer.table.size() == 0, "nothing is pushed before the end"
    check(layer.table, {key: adagrad([count]) for key, count in OCCURRENCES.items()})
    np.testing.assert_array_equal(layer.table.lookup([1, 2, 3], with_metadata=True).frequency, [2, 3, 1])
    step(tf.constant([[3]], tf.int64))
    check(layer.table, {3: adagrad([1, 1])})


def test_the_mean_of_small_batches(target, table_name):
    layer = Embedding(spec(table_name), target=target)
    with accumulated_gradients(scale=1 / 3):
        for ids in BATCHES:
            step_of(layer, traced=True)(tf.constant(ids, tf.int64))
    check(layer.table, {key: adagrad([count / 3]) for key, count in OCCURRENCES.items()})


def test_every_so_many_steps_in_fit(target, table_name):
    """Four batches of one example, whose loss is the sum of its numbers; pushed by two and two, as their means."""
    layer = Embedding(spec(table_name), target=target)
    ids = tf.keras.Input([2], dtype=tf.int64)
    model = tf.keras.Model(ids, tf.reduce_sum(layer(ids), axis=[1, 2]))
    model.compile(tf.keras.optimizers.legacy.SGD(0.1), loss=lambda y, prediction: tf.reduce_mean(prediction))
    x = np.array([[1, 2], [1, 3], [2, 2], [3, 4], [5, 5]])
    with accumulated_gradients(every=2, scale=0.5) as held:
        model.fit(x, np.zeros(5), batch_size=1, epochs=1, shuffle=False, verbose=0)
        assert held.steps == 1, "the fifth batch waits for a sixth"
    expected = {1: [1.0], 2: [0.5, 1.0], 3: [0.5, 0.5], 4: [0.5], 5: [1.0]}
    check(layer.table, {key: adagrad(sums) for key, sums in expected.items()})


def test_an_exception_pushes_nothing(target, table_name):
    layer = Embedding(spec(table_name), target=target)
    step = step_of(layer, traced=False)
    with contextlib.suppress(KeyError), accumulated_gradients():
        step(tf.constant([[1]], tf.int64))
        raise KeyError("stop")
    assert layer.table.size() == 0
    step(tf.constant([[2]], tf.int64))
    assert layer.table.size() == 1, "what comes afterwards is pushed at once"


def test_a_step_may_be_discarded(target, table_name):
    layer = Embedding(spec(table_name), target=target)
    step = step_of(layer, traced=False)
    with accumulated_gradients() as held:
        step(tf.constant([[1]], tf.int64))
        held.discard()
        step(tf.constant([[2, 2]], tf.int64))
        assert held.push() == 1
        step(tf.constant([[2]], tf.int64))
    assert layer.table.size() == 1
    check(layer.table, {2: adagrad([2, 1])})


def test_what_is_refused():
    with accumulated_gradients(), pytest.raises(InvalidRequest, match="held back already"):
        accumulated_gradients().__enter__()
    for wrong in ({"every": 0}, {"every": 2.5}, {"every": True}, {"scale": 0.0}, {"scale": float("nan")}):
        with pytest.raises(InvalidRequest, match=next(iter(wrong))):
            accumulated_gradients(**wrong).__enter__()


@pytest.mark.parametrize("background", [True, False])
def test_batches_of_remote_tables_are_one_push(target, table_name, background):
    config = TableConfig(table_name, dim=2, initializer=rowbank.Constant(0.5))
    tables = RemoteTables(
        FeatureConfig(config), optimizer=rowbank.Adagrad(0.1), target=target, pipeline_execution=background
    )
    with tables.accumulated_gradients() as held:
        for ids in BATCHES:
            batch = tables.enqueue(np.array(ids))
            gradients = np.zeros_like(batch.rows[table_name])
            np.add.at(gradients, batch.indices[next(iter(batch.indices))]["row"].reshape(-1), 1.0)
            tables.apply_gradients(batch, {table_name: gradients})
            gradients[:] = np.nan  # The caller's array is the caller's own.
        assert held.steps == 3
        tables.flush()
        assert tables.client.table(table_name).size() == 0
        batch = tables.enqueue(np.array([1]))
        with pytest.raises(ValueError, match="learning_rate"):
            tables.apply_gradients(batch, batch.rows, learning_rate=0.5)
    tables.close()
    check(tables.client.table(table_name), {key: adagrad([count]) for key, count in OCCURRENCES.items()})


def test_a_loop_over_a_remote_embedding(target, table_name):
    config = TableConfig(table_name, dim=2, initializer=rowbank.Constant(0.5))
    embedding = RemoteEmbedding(FeatureConfig(config), optimizer=rowbank.Adagrad(0.1), target=target)
    with embedding.accumulated_gradients(every=2):
        for _, batch in embedding.batches([np.array(ids) for ids in BATCHES]):
            rows = {name: tf.constant(part) for name, part in batch.rows.items()}
            with tf.GradientTape() as tape:
                tape.watch(rows)
                loss = tf.reduce_sum(embedding.activations(rows, batch.indices))
            gradients = tape.gradient(loss, rows)
            embedding.apply_gradients(batch, {name: tf.convert_to_tensor(part) for name, part in gradients.items()})
    embedding.close()
    expected = {1: [2.0], 2: [1.0, 2.0], 3: [1.0]}
    check(embedding.tables.client.table(table_name), {key: adagrad(sums) for key, sums in expected.items()})
