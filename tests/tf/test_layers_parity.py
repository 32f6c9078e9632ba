"""TFRA's Keras layers trained in `fit` on CuckooHashTable and on Rowbank: same losses, same tables."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_recommenders_addons import dynamic_embedding as de
from tests.tf.support import Sides, sorted_export

from rowbank.errors import ShardUnavailable
from rowbank.tfra import TableCreator

OPTIMIZERS = {
    "adam": lambda: tf.keras.optimizers.Adam(0.05),
    "legacy-adam": lambda: tf.keras.optimizers.legacy.Adam(0.05),
}


def trained(sides: Sides, side: str, build, optimizer, *, epochs: int = 3):
    """One model on one side, after `fit`; only the names differ between the sides."""
    tf.keras.utils.set_random_seed(5)
    layer = build(name=sides.unique(f"layer_{side}"), kv_creator=sides.creators[side],
                  initializer=tf.constant_initializer(0.5), devices=["/CPU:0"])  # fmt: skip
    model = tf.keras.Sequential([layer, tf.keras.layers.Flatten(), tf.keras.layers.Dense(1)])
    model.compile(de.DynamicEmbeddingOptimizer(optimizer()), "mse")
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 40, size=(96, 3)), rng.random(96, dtype=np.float32)
    history = model.fit(x, y, batch_size=16, epochs=epochs, shuffle=False, verbose=0)
    evaluated = model.evaluate(x, y, verbose=0)
    return model, layer, [*history.history["loss"], evaluated]


def slot_tables(layer) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    slots = layer.shadow._optimizer_vars.value
    return {slot.name.rsplit("/", 1)[-1]: sorted_export(slot) for slot in slots}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", ["Embedding", "SquashedEmbedding", "FieldWiseEmbedding"])
def test_layers_train_alike(sides: Sides, kind, optimizer):
    def build(**kwargs):
        if kind == "FieldWiseEmbedding":
            kwargs.update(nslots=3, slot_map_fn=lambda ids: tf.math.mod(ids, 3))
        return getattr(de.keras.layers, kind)(4, **kwargs)

    (_, cuckoo, losses_c), (_, rowbank, losses_r) = (
        trained(sides, side, build, OPTIMIZERS[optimizer]) for side in ("cuckoo", "rowbank")
    )
    np.testing.assert_allclose(losses_r, losses_c, rtol=1e-6)
    assert losses_r[-1] < losses_r[0]
    for got, expected in zip(sorted_export(rowbank.params), sorted_export(cuckoo.params), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)
    slots_c, slots_r = slot_tables(cuckoo), slot_tables(rowbank)
    assert sorted(slots_r) == sorted(slots_c) == ["m", "v"]
    for name, (ids, state) in slots_c.items():
        np.testing.assert_array_equal(slots_r[name][0], ids)
        np.testing.assert_allclose(slots_r[name][1], state, rtol=1e-6, atol=1e-9)


def test_bp_v2_trains_alike(sides: Sides):
    """Rows are updated by adding to them on the server."""

    def build(**kwargs):
        return de.keras.layers.SquashedEmbedding(4, bp_v2=True, **kwargs)

    runs = [trained(sides, side, build, OPTIMIZERS["legacy-adam"]) for side in ("cuckoo", "rowbank")]
    np.testing.assert_allclose(runs[1][2], runs[0][2], rtol=1e-6)
    exports = [sorted_export(layer.params) for _, layer, _ in runs]
    np.testing.assert_array_equal(exports[1][0], exports[0][0])
    np.testing.assert_allclose(exports[1][1], exports[0][1], rtol=1e-5, atol=1e-7)


def test_two_towers_share_an_optimizer(sides: Sides):
    """Two layers in one model: the optimizer of tf_keras updates the slots of both for each."""
    results = []
    for side, creator in sides.creators.items():
        tf.keras.utils.set_random_seed(5)
        towers = [
            de.keras.layers.Embedding(
                4, name=sides.unique(f"{tower}_{side}"), kv_creator=creator, devices=["/CPU:0"],
                initializer=tf.constant_initializer(0.5),
            )
            for tower in ("user", "item")
        ]  # fmt: skip
        inputs = [tf.keras.Input([], dtype=tf.int64) for _ in towers]
        rows = [tower(ids) for tower, ids in zip(towers, inputs, strict=True)]
        score = tf.keras.layers.Dense(1)(tf.keras.layers.Concatenate()(rows))
        model = tf.keras.Model(inputs, score)
        model.compile(de.DynamicEmbeddingOptimizer(tf.keras.optimizers.Adam(0.05)), "mse")
        rng = np.random.default_rng(3)
        x, y = [rng.integers(0, 30, 64), rng.integers(0, 20, 64)], rng.random(64, dtype=np.float32)
        losses = model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0).history["loss"]
        results.append([losses, *(sorted_export(tower.params) for tower in towers)])
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-6)
    for got, expected in zip(results[1][1:], results[0][1:], strict=True):
        np.testing.assert_array_equal(got[0], expected[0])
        np.testing.assert_allclose(got[1], expected[1], rtol=1e-6, atol=1e-7)


def test_inference_neither_creates_nor_changes_rows(sides: Sides):
    model, layer, _ = trained(sides, "rowbank", lambda **kw: de.keras.layers.Embedding(4, **kw), OPTIMIZERS["adam"])
    before = sorted_export(layer.params)
    model.predict(np.arange(100, 130).reshape(10, 3), verbose=0)
    np.testing.assert_equal(sorted_export(layer.params), before)


def test_a_server_that_goes_away_stops_the_training(start_ps, prefix):
    """A read that fails is an error, never default rows."""
    server = start_ps()
    sides = Sides(server.target, prefix)
    sides.rowbank = TableCreator(server.target, prefix=prefix, timeout_s=1.0)
    model, layer, _ = trained(sides, "rowbank", lambda **kw: de.keras.layers.Embedding(4, **kw), OPTIMIZERS["adam"])
    server.close()
    with pytest.raises(ShardUnavailable):
        layer.params.lookup(tf.constant([1], tf.int64))
    with pytest.raises(tf.errors.UnknownError, match="ShardUnavailable"):
        model.fit(np.zeros((16, 3), np.int64), np.zeros(16), verbose=0)
