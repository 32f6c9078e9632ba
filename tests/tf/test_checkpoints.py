"""Rows in `tf.train.Checkpoint`, `save_weights` and TFRA's file system saver."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow_recommenders_addons import dynamic_embedding as de
from tests.tf.support import Sides, sorted_export

from rowbank.tfra import TableCreator


def model_of(sides: Sides, creator, name: str):
    layer = de.keras.layers.Embedding(4, name=name, kv_creator=creator, initializer=tf.constant_initializer(0.5),
                                      devices=["/CPU:0"])  # fmt: skip
    model = tf.keras.Sequential([layer, tf.keras.layers.Flatten(), tf.keras.layers.Dense(1)])
    model.compile(de.DynamicEmbeddingOptimizer(tf.keras.optimizers.Adam(0.05)), "mse")
    return model, layer


def batch():
    rng = np.random.default_rng(3)
    return rng.integers(0, 30, size=(64, 3)), rng.random(64, dtype=np.float32)


def test_save_weights_brings_rows_back(sides: Sides, tmp_path):
    model, layer = model_of(sides, sides.rowbank, sides.unique("weights"))
    x, y = batch()
    model.fit(x, y, batch_size=16, epochs=1, verbose=0)
    before, predicted = sorted_export(layer.params), model.predict(x, verbose=0)
    model.save_weights(str(tmp_path / "weights"))
    model.fit(x + 100, y, batch_size=16, epochs=1, verbose=0)
    assert int(layer.params.size()) > len(before[0])
    model.load_weights(str(tmp_path / "weights"))
    np.testing.assert_equal(sorted_export(layer.params), before)
    np.testing.assert_array_equal(model.predict(x, verbose=0), predicted)


def test_checkpoint_restores_rows_and_slots(sides: Sides, tmp_path):
    """A resumed run equals one that never stopped."""
    x, y = batch()
    model, layer = model_of(sides, sides.rowbank, sides.unique("resumed"))
    model.fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    path = checkpoint.save(str(tmp_path / "checkpoint"))
    straight = model.fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0).history["loss"]
    rows = sorted_export(layer.params)
    checkpoint.restore(path)
    resumed = model.fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(resumed, straight, rtol=1e-6)
    for got, expected in zip(sorted_export(layer.params), rows, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


def test_file_system_saver(sides: Sides, tmp_path, prefix):
    """TFRA's saver keeps rows in files beside the checkpoint."""
    saver = de.FileSystemSaver(save_path=str(tmp_path / "rows"))
    creator = TableCreator(sides.rowbank.client, prefix=prefix, saver=saver)
    variable = de.get_variable(sides.unique("saver"), dim=2, devices=["/CPU:0"], kv_creator=creator)
    variable.upsert(tf.constant([1, 2], tf.int64), tf.constant([[1.0, 2.0], [3.0, 4.0]]))
    checkpoint = de.train.DECheckpoint(v=variable)
    path = checkpoint.save(str(tmp_path / "checkpoint"))
    variable.clear()
    checkpoint.restore(path)
    ids, values = sorted_export(variable)
    np.testing.assert_array_equal(ids, [1, 2])
    np.testing.assert_array_equal(values, [[1.0, 2.0], [3.0, 4.0]])
