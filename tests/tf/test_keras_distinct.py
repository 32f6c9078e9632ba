"""`rowbank.keras.DistinctEmbedding` against Keras's own embedding, with lists of ids that are pooled."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import rowbank
from rowbank.keras import DistinctEmbedding

VOCABULARY, DIM = 9, 4
IDS = np.array([[3, 1, 3], [8, 3, 0], [1, 1, 1], [5, 8, 0]])
OWNERS = np.repeat(np.arange(4), 3)
TARGETS = np.random.default_rng(2).normal(size=(4, DIM)).astype(np.float32)


def layer_of(target, table_name) -> DistinctEmbedding:
    spec = rowbank.TableSpec(
        table_name, dim=DIM, initializer=rowbank.Uniform(-1, 1, seed=4), optimizer=rowbank.SGD(0.1)
    )
    return DistinctEmbedding(spec, target=target)


def loss_of(layer: DistinctEmbedding, ids: tf.Tensor, training: bool | tf.Tensor | None = None) -> tf.Tensor:
    rows, places = layer(tf.reshape(ids, [-1]), training=training)
    means = tf.sparse.segment_mean(rows, places, tf.constant(OWNERS))
    return tf.reduce_sum(tf.square(means - TARGETS))


def step(layer: DistinctEmbedding, ids: tf.Tensor, training: bool | tf.Tensor | None = None) -> tf.Tensor:
    with tf.GradientTape() as tape:
        loss = loss_of(layer, ids, training)
    tape.gradient(loss, layer.trainable_variables)
    return loss


@pytest.mark.parametrize("compiled", [True, False])
def test_it_trains_as_keras_does(target, table_name, compiled):
    layer = layer_of(target, table_name)
    reference = tf.Variable(layer.table.pull(np.arange(VOCABULARY)))
    call = tf.function(step, autograph=False) if compiled else step
    for _ in range(3):
        with tf.GradientTape() as tape:
            expected = tf.reduce_sum(tf.square(tf.reduce_mean(tf.gather(reference, IDS), axis=1) - TARGETS))
        reference.assign_sub(0.1 * tf.convert_to_tensor(tape.gradient(expected, reference)))
        assert float(call(layer, tf.constant(IDS))) == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(layer.table.pull(np.arange(VOCABULARY)), reference, rtol=1e-4, atol=1e-6)
    found = layer.table.lookup(np.arange(VOCABULARY), with_metadata=True)
    assert found.frequency.tolist() == [3 * count for count in np.bincount(IDS.ravel(), minlength=VOCABULARY)]
    (stats,) = rowbank.Client(target).stats(table_name)
    assert stats.pushed_rows == 3 * len(np.unique(IDS))


@pytest.mark.parametrize("compiled", [True, False])
def test_rows_come_once_in_the_order_of_the_ids(target, table_name, compiled):
    layer = layer_of(target, table_name)
    call = tf.function(lambda ids: layer(ids)) if compiled else layer
    rows, places = call(tf.constant([7, 2, 7, 0]))
    np.testing.assert_array_equal(rows, layer.table.pull(np.array([7, 2, 0])))
    assert places.numpy().tolist() == [0, 1, 0, 2]
    assert places.dtype == tf.int32


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("as_tensor", [True, False])
def test_nothing_is_pushed_where_nothing_trains(target, table_name, compiled, as_tensor):
    layer = layer_of(target, table_name)
    call = tf.function(step, autograph=False) if compiled else step
    call(layer, tf.constant(IDS), tf.constant(False) if as_tensor else False)
    layer.trainable = False
    loss_of(layer, tf.constant(IDS))
    assert layer.table.size() == 0
    layer.trainable = True
    call(layer, tf.constant(IDS), tf.constant(True) if as_tensor else True)
    assert layer.table.size() == len(np.unique(IDS))


def test_a_layer_comes_back_from_its_config(target, table_name):
    layer = layer_of(target, table_name)
    rows, _ = layer(tf.constant([1]))
    again = DistinctEmbedding.from_config(layer.get_config())
    np.testing.assert_array_equal(again(tf.constant([1]))[0], rows)
