"""Unsigned ids beyond int64: refused with the client's words by every layer that makes keys of ids."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import rowbank
from rowbank.errors import InvalidRequest
from rowbank.keras import (
    Embedding,
    FeatureConfig,
    FieldwiseEmbedding,
    QREmbedding,
    SquashedEmbedding,
    TableConfig,
)
from rowbank.remote.tables import RemoteTables

WORDS = r"expected at most 2\*\*63 - 1 \(keys are int64\), got 9223372036854775813"
LARGE = 2**63 + 5


def _spec(name, dim=2):
    return rowbank.TableSpec(name, dim=dim, initializer=rowbank.Constant(0.5), optimizer=rowbank.SGD(0.1))


LAYERS = {
    "Embedding": lambda name, target: Embedding(_spec(name), target=target),
    "SquashedEmbedding": lambda name, target: SquashedEmbedding(_spec(name), target=target),
    "FieldwiseEmbedding": lambda name, target: FieldwiseEmbedding(
        _spec(name), nslots=1, slot_map_fn=tf.zeros_like, target=target
    ),
    "QREmbedding": lambda name, target: QREmbedding(_spec(name), num_buckets=4, target=target),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_refuse_ids_beyond_int64(target, table_name, kind):
    layer = LAYERS[kind](table_name, target)
    assert np.asarray(layer(tf.constant([[1, 2**63 - 1]], tf.uint64))).shape[0] == 1
    with pytest.raises(InvalidRequest, match=WORDS):
        layer(tf.constant([[1, LARGE]], tf.uint64))
    inside = tf.function(layer)
    inside(tf.constant([[1, 2]], tf.uint64))
    with pytest.raises(tf.errors.InvalidArgumentError, match=WORDS):
        inside(tf.constant([[1, LARGE]], tf.uint64))
    with rowbank.Client(target) as client:
        assert client.table(table_name).size() == 0


def test_unsigned_ids_within_int64_train_as_signed_ones(target, table_name):
    layer = Embedding(_spec(table_name), target=target)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([2**63 - 1, 7, 7], tf.uint64), training=True))
    tape.gradient(loss, layer.trainable_variables)
    with rowbank.Client(target) as client:
        rows = client.table(table_name).lookup([2**63 - 1, 7]).values
    np.testing.assert_allclose(rows, [[0.4, 0.4], [0.3, 0.3]], rtol=1e-6)


@pytest.mark.parametrize("form", ["dense", "ragged"])
def test_remote_features_refuse_ids_beyond_int64(target, table_name, form):
    config = {"f": FeatureConfig(TableConfig(table_name, dim=2))}
    tables = RemoteTables(config, optimizer=rowbank.SGD(0.1), target=target, pipeline_execution=False)
    ids = np.array([1, LARGE], np.uint64)
    given = ids if form == "dense" else tf.RaggedTensor.from_row_splits(ids, [0, 1, 2])
    with pytest.raises(InvalidRequest, match=f"feature 'f': {WORDS}"):
        tables.enqueue({"f": given}).rows  # noqa: B018 - waits for the lookup


def test_keys_without_tensorflow_are_refused_alike(target, table_name):
    layer = QREmbedding(_spec(table_name), num_buckets=4, target=target)
    with pytest.raises(InvalidRequest, match=f"ids: {WORDS}"):
        layer.keys(np.array([LARGE], np.uint64))
