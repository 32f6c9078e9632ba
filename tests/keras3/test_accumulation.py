"""Gradient accumulation beside Keras 3's `gradient_accumulation_steps`, against Keras's own embedding."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rowbank
from rowbank.keras import Embedding, FeatureConfig, RemoteEmbedding, RemoteModel, TableConfig, accumulated_gradients

VOCABULARY = 12


def dense() -> keras.layers.Layer:
    return keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(0.3))


def model_of(layer) -> keras.Model:
    ids = keras.Input([3], dtype="int64")
    return keras.Model(ids, dense()(keras.layers.Flatten()(layer(ids))))


def data() -> tuple[np.ndarray, np.ndarray]:
    """32 examples; each pair of batches of 4 has every id, so that Keras's accumulated update moves the same rows."""
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.permutation(np.tile(np.arange(VOCABULARY), 2)).reshape(8, 3) for _ in range(4)])
    return x, rng.random((32, 1), dtype=np.float32)


def reference(learning_rate: float = 0.1) -> keras.Model:
    model = model_of(keras.layers.Embedding(VOCABULARY, 4, embeddings_initializer=keras.initializers.Constant(0.5)))
    model.compile(keras.optimizers.SGD(learning_rate, gradient_accumulation_steps=2), "mse")
    x, y = data()
    model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    return model


def test_fit_as_keras_does(target, table_name):
    spec = rowbank.TableSpec(table_name, dim=4, initializer=rowbank.Constant(0.5), optimizer=rowbank.SGD(0.1))
    layer = Embedding(spec, target=target)
    model, expected = model_of(layer), reference()
    model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), "mse")
    x, y = data()
    with accumulated_gradients(every=2, scale=0.5):
        model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    rows, kernel, _ = expected.get_weights()
    np.testing.assert_allclose(layer.table.lookup(np.arange(VOCABULARY)).values, rows, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.layers[-1].kernel.numpy(), kernel, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_remote_model_as_keras_does(target, table_name, compiled):
    """`fit` accumulates rows by itself when the optimizer accumulates the rest; a batch by itself is refused."""
    config = TableConfig(table_name, dim=4, initializer=rowbank.Constant(0.5))
    embedding = RemoteEmbedding(
        {"ids": FeatureConfig(config)}, optimizer=rowbank.SGD(0.1), target=target, pipeline_execution=False
    )
    rows_in = {"ids": keras.Input([3, 4])}
    network = keras.Model(rows_in, dense()(keras.layers.Flatten()(rows_in["ids"])))
    model = RemoteModel(embedding, network)
    model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), "mse", jit_compile=compiled)
    x, y = data()
    model.fit({"ids": x}, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    rows, kernel, _ = reference().get_weights()
    table = embedding.tables.client.table(table_name)
    np.testing.assert_allclose(table.lookup(np.arange(VOCABULARY)).values, rows, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(network.layers[-1].kernel.numpy(), kernel, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="accumulated_gradients"):
        model.train_on_batch({"ids": x[:4]}, y[:4])
