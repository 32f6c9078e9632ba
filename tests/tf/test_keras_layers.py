"""`rowbank.keras` layers against Keras's own embedding, trained alike."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import rowbank
from rowbank.keras import Embedding, SquashedEmbedding

VOCABULARY = 12
SGD = rowbank.SGD(0.1)
PAIRS = {
    "sgd": (rowbank.SGD(0.1), lambda: tf.keras.optimizers.SGD(0.1)),
    "adagrad": (rowbank.Adagrad(0.1), lambda: tf.keras.optimizers.Adagrad(0.1)),
    "adam": (rowbank.Adam(0.05), lambda: tf.keras.optimizers.Adam(0.05)),
}
# Keras's Adam rounds its bias correction differently in a graph and in eager mode, by 4e-7 of a row per step; the
# server's rounds as the eager one.
TOLERANCES = {"sgd": 2e-6, "adagrad": 2e-6, "adam": 5e-5}


def spec(name: str, optimizer: Any = SGD, dim: int = 4) -> rowbank.TableSpec:
    return rowbank.TableSpec(name, dim=dim, initializer=rowbank.Constant(0.5), optimizer=optimizer)


def static() -> tf.keras.layers.Layer:
    return tf.keras.layers.Embedding(
        VOCABULARY, 4, embeddings_initializer=tf.keras.initializers.Constant(0.5), input_length=3
    )


def head(layer, *more) -> tf.keras.Model:
    """A model whose other weights start the same every time."""
    tf.keras.utils.set_random_seed(9)
    return tf.keras.Sequential([layer, *more, tf.keras.layers.Flatten(), tf.keras.layers.Dense(1)])


def data(every_id_in_every_batch: bool) -> tuple[np.ndarray, np.ndarray]:
    """64 examples of 3 ids; batches of 16 hold every id, if asked to.

    Keras's Adam moves all rows in every step, the server only those that were pushed: they agree if none is left out.
    """
    rng = np.random.default_rng(3)
    if every_id_in_every_batch:
        batches = [rng.permutation(np.arange(48) % VOCABULARY).reshape(16, 3) for _ in range(4)]
        x = np.concatenate(batches)
    else:
        x = rng.integers(0, VOCABULARY, size=(64, 3))
    return x, rng.random(64, dtype=np.float32)


def fitted(model: tf.keras.Model, optimizer, x, y, epochs: int = 4) -> list[float]:
    model.compile(optimizer(), "mse")
    losses: list[float] = model.fit(x, y, batch_size=16, epochs=epochs, shuffle=False, verbose=0).history["loss"]
    return [*losses, model.evaluate(x, y, verbose=0)]


def frequency(layer, ids) -> np.ndarray:
    counts = layer.table.lookup(ids, with_metadata=True).frequency
    assert counts is not None
    return counts


@pytest.mark.parametrize("optimizer", PAIRS)
def test_embedding_trains_as_keras_does(target, table_name, optimizer):
    """16 steps: the same losses, the same rows, the same dense weights."""
    ours, theirs = PAIRS[optimizer]
    x, y = data(every_id_in_every_batch=optimizer == "adam")
    reference, remote = static(), Embedding(spec(table_name, ours), target=target)
    expected_model, model = head(reference), head(remote)
    expected = fitted(expected_model, theirs, x, y)
    np.testing.assert_allclose(fitted(model, theirs, x, y), expected, rtol=TOLERANCES[optimizer])
    assert expected[-1] < expected[0]
    rows = remote.table.lookup(np.arange(VOCABULARY))
    assert rows.found.all()
    np.testing.assert_allclose(rows.values, reference.get_weights()[0], rtol=1e-5, atol=5e-6)
    for got, wanted in zip(model.layers[-1].get_weights(), expected_model.layers[-1].get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("optimizer", PAIRS)
@pytest.mark.parametrize("combiner", ["mean", "sum", "sqrtn"])
def test_squashed_embedding_trains_as_keras_does(target, table_name, combiner, optimizer):
    ours, theirs = PAIRS[optimizer]
    x, y = data(every_id_in_every_batch=optimizer == "adam")
    divisor = {"mean": 3.0, "sum": 1.0, "sqrtn": np.sqrt(3.0)}[combiner]
    reference = static()
    remote = SquashedEmbedding(spec(table_name, ours), combiner=combiner, target=target)
    combine = tf.keras.layers.Lambda(lambda rows: tf.reduce_sum(rows, axis=1) / divisor)
    expected = fitted(head(reference, combine), theirs, x, y)
    np.testing.assert_allclose(fitted(head(remote), theirs, x, y), expected, rtol=TOLERANCES[optimizer])
    values = remote.table.lookup(np.arange(VOCABULARY)).values
    np.testing.assert_allclose(values, reference.get_weights()[0], rtol=1e-5, atol=5e-6)


def test_one_pull_and_one_push_per_step_and_no_warning(target, table_name, caplog):
    layer = Embedding(spec(table_name, rowbank.Adam(0.05)), target=target)
    x, y = data(every_id_in_every_batch=False)
    with caplog.at_level(logging.WARNING):
        fitted(head(layer), lambda: tf.keras.optimizers.Adam(0.05), x, y, epochs=2)
    assert "Gradients do not exist" not in caplog.text
    (stats,) = rowbank.Client(target).stats(table_name)
    distinct = sum(len(np.unique(x[start : start + 16])) for start in range(0, 64, 16))
    assert stats.step == 8, "one logical step per push"
    assert stats.pushed_rows == 2 * distinct
    np.testing.assert_array_equal(layer.get_weights(), [0.0])


def test_a_layer_may_connect_inside_fit(target, table_name):
    """Nothing is built before the first step; `wire_dtype` asks for a client that is not open yet."""
    layer = Embedding(spec(table_name), target=target, wire_dtype="bfloat16")
    model = tf.keras.Sequential([layer, tf.keras.layers.GlobalAveragePooling1D(), tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = data(every_id_in_every_batch=False)
    model.fit(x, y, verbose=0)
    assert layer.table.size() == VOCABULARY


def test_frequency_counts_occurrences(target, table_name):
    layer = Embedding(spec(table_name), target=target)
    x, y = data(every_id_in_every_batch=False)
    fitted(head(layer), lambda: tf.keras.optimizers.SGD(0.1), x, y, epochs=1)
    ids, counts = np.unique(x, return_counts=True)
    np.testing.assert_array_equal(frequency(layer, ids), counts)


def test_inference_reads_initial_values_and_creates_nothing(target, table_name):
    layer = Embedding(spec(table_name), target=target)
    model = head(layer)
    model.compile("sgd", "mse")
    x, y = data(every_id_in_every_batch=False)
    model.predict(x, verbose=0)
    model.evaluate(x, y, verbose=0)
    np.testing.assert_array_equal(layer(tf.constant([3]), training=False), np.full((1, 4), 0.5))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([3]), training=False))
    assert tape.gradient(loss, layer.trainable_variables) == [None]
    assert layer.table.size() == 0


def test_a_frozen_layer_does_not_push(target, table_name):
    layer = Embedding(spec(table_name), target=target)
    x, y = data(every_id_in_every_batch=False)
    layer.trainable = False
    fitted(head(layer), lambda: tf.keras.optimizers.SGD(0.1), x, y, epochs=1)
    assert layer.table.size() == 0
    assert layer.trainable_weights == []


@pytest.mark.parametrize("in_function", [False, True], ids=["eager", "function"])
def test_a_loop_of_ones_own_pushes_when_gradients_are_taken(target, table_name, in_function):
    """SGD(0.1), gradient 2 for a key that occurs twice: by hand 0.5 - 0.1 x 2 = 0.3."""
    layer = Embedding(spec(table_name), target=target)

    def step(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(ids))
        return tape.gradient(loss, layer.trainable_variables)

    layer(tf.constant([0]))
    gradients = (tf.function(step) if in_function else step)(tf.constant([7, 8, 7]))
    assert [float(gradient) for gradient in gradients] == [0.0]
    np.testing.assert_allclose(layer.table.lookup([7, 8]).values, [[0.3] * 4, [0.4] * 4], rtol=1e-6)
    np.testing.assert_array_equal(frequency(layer, [7, 8]), [2, 1])


def test_training_known_only_when_the_graph_runs(target, table_name):
    layer = Embedding(spec(table_name), target=target)
    layer(tf.constant([0]))

    @tf.function(input_signature=[tf.TensorSpec([], tf.bool)])
    def step(training):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.constant([7]), training=training))
        return tape.gradient(loss, layer.trainable_variables)

    step(tf.constant(False))
    assert layer.table.size() == 0
    step(tf.constant(True))
    assert layer.table.size() == 1


def test_the_same_layer_twice_in_a_model(target, table_name):
    """History and candidate items share a table: both gradients arrive."""
    layer = Embedding(spec(table_name), target=target)
    history, candidate = tf.keras.Input([2], dtype=tf.int64), tf.keras.Input([], dtype=tf.int64)
    total = tf.reduce_sum(layer(history), axis=[1, 2]) + tf.reduce_sum(layer(candidate), axis=1)
    model = tf.keras.Model([history, candidate], total)
    model.compile(tf.keras.optimizers.SGD(0.1), lambda _, score: tf.reduce_sum(score))
    model.fit([np.array([[1, 2]]), np.array([2])], np.zeros(1), verbose=0)
    np.testing.assert_allclose(layer.table.lookup([1, 2]).values, [[0.4] * 4, [0.3] * 4], rtol=1e-6)


def test_ids_of_any_shape_and_integer_type(target, table_name):
    layer = Embedding(spec(table_name), target=target)
    layer.table.upsert([1, 2], np.array([[1.0] * 4, [2.0] * 4], np.float32))
    for ids in (
        tf.constant(1),
        tf.constant([1, 2], tf.int32),
        tf.constant([[1], [2]], tf.int64),
        tf.zeros([0], tf.int64),
    ):
        rows = layer(ids)
        assert rows.shape == (*ids.shape, 4)
        np.testing.assert_array_equal(rows, layer.table.pull(ids.numpy()))
    ragged = layer(tf.ragged.constant([[1, 2], [], [2]], dtype=tf.int64))
    np.testing.assert_array_equal(ragged.row_lengths(), [2, 0, 1])
    np.testing.assert_array_equal(ragged.flat_values, layer.table.pull([1, 2, 2]))
    with pytest.raises(TypeError, match="expected integers, got string"):
        layer(tf.constant(["a"]))


def test_squashed_ragged_sparse_and_padded_ids_agree(target, table_name):
    """Three ways to write [[1, 2], [], [2]]."""
    layer = SquashedEmbedding(spec(table_name), combiner="mean", target=target)
    padded = SquashedEmbedding(table_name, combiner="mean", mask_zero=True, target=target)
    layer.table.upsert([1, 2], np.array([[1.0] * 4, [2.0] * 4], np.float32))
    ragged = tf.ragged.constant([[1, 2], [], [2]], dtype=tf.int64)
    expected = [[1.5] * 4, [0.0] * 4, [2.0] * 4]
    np.testing.assert_array_equal(layer(ragged), expected)
    np.testing.assert_array_equal(layer(ragged.to_sparse()), expected)
    np.testing.assert_array_equal(padded(ragged.to_tensor()), expected)
    np.testing.assert_array_equal(layer(tf.constant([1, 2])), expected[0])


def test_mask_zero_reaches_the_next_layer(target, table_name):
    layer = Embedding(spec(table_name), mask_zero=True, target=target)
    layer.table.upsert([1, 2], np.array([[1.0] * 4, [3.0] * 4], np.float32))
    model = tf.keras.Sequential([layer, tf.keras.layers.GlobalAveragePooling1D()])
    np.testing.assert_array_equal(model(tf.constant([[1, 2, 0], [2, 0, 0]])), [[2.0] * 4, [3.0] * 4])


def test_half_precision_on_the_wire(target, table_name):
    layer = Embedding(spec(table_name, dim=2), wire_dtype="float16", target=target)
    layer.table.upsert([1], np.array([[0.1, 1.0]], np.float32))
    np.testing.assert_array_equal(layer(tf.constant([1])), np.array([[0.1, 1.0]], np.float16).astype(np.float32))
    with pytest.raises(rowbank.RowbankError, match="wire_dtype"):
        Embedding(table_name, wire_dtype="float8", target=target)(tf.constant([1]))


def test_bfloat16_compute_and_refused_loss_scaling(target, table_name):
    layer = Embedding(spec(table_name), target=target, dtype="mixed_bfloat16")
    x, y = data(every_id_in_every_batch=False)
    fitted(head(layer), lambda: tf.keras.optimizers.SGD(0.1), x, y, epochs=1)
    assert layer(tf.constant([1])).dtype == tf.bfloat16
    assert layer.table.size() == VOCABULARY
    with pytest.raises(ValueError, match="do not run under loss scaling"):
        Embedding(table_name, target=target, dtype="mixed_float16")(tf.constant([1]))


def test_a_saved_model_finds_its_table_again(target, table_name, tmp_path):
    layer = SquashedEmbedding(spec(table_name), combiner="sum", target=target)
    model = head(layer)
    x, y = data(every_id_in_every_batch=False)
    fitted(model, lambda: tf.keras.optimizers.SGD(0.1), x, y, epochs=1)
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].get_config() == layer.get_config()
    assert loaded.layers[0].table.name == table_name
    np.testing.assert_allclose(loaded.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-6)


def test_nan_gradients_stop_the_step_and_change_nothing(target, table_name):
    layer = Embedding(spec(table_name), target=target)
    model = head(layer)
    x, y = data(every_id_in_every_batch=False)
    model.compile(tf.keras.optimizers.SGD(0.1), "mse")
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN"):
        model.fit(x, y * np.nan, batch_size=16, verbose=0)
    assert layer.table.size() == 0


def test_unknown_tables_other_specs_and_bad_arguments_are_named(target, table_name):
    with pytest.raises(rowbank.RowbankError, match=f"{table_name}.* does not exist"):
        Embedding(table_name, target=target)(tf.constant([1]))
    Embedding(spec(table_name), target=target)(tf.constant([1]))
    with pytest.raises(rowbank.RowbankError, match=table_name):
        Embedding(spec(table_name, dim=5), target=target)(tf.constant([1]))
    with pytest.raises(ValueError, match="expected one of mean, sum, sqrtn, got 'max'"):
        SquashedEmbedding(table_name, combiner="max", target=target)
