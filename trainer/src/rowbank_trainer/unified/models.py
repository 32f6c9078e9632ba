"""The compared models, on tables of either kind. They differ in how a feature's value finds its row, and in no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tf_keras

from rowbank import Adam, Client, TableSpec, Uniform
from rowbank.keras import Embedding, UnifiedEmbedding, UnifiedEmbeddingConfig
from rowbank_trainer.unified.config import Model, UnifiedConfig
from rowbank_trainer.unified.problem import Columns

_KEY_RANGE = 2**63 - 1
_KEY_SALT = [7, 11]  # Any numbers; fixed, so that a value keeps its key.


@dataclass(frozen=True, slots=True)
class Built:
    """A compiled model, and how to count what it learned.

    Attributes:
        parameters: counts the numbers that it trains: those of rows that exist, and of the network.
        table_names: on the server, if its tables are there.
    """

    model: tf_keras.Model
    parameters: Callable[[], int]
    table_names: tuple[str, ...]


class StaticUnified(tf_keras.layers.Layer):
    """What `rowbank.keras.UnifiedEmbedding` does, with one matrix in this process."""

    def __init__(self, config: UnifiedEmbeddingConfig, initial_range: float) -> None:
        super().__init__(name="unified")
        self._config = config
        self.rows = _matrix(config.num_tables * config.buckets_per_table, config.dim_per_table, initial_range)

    def call(self, inputs: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """[batch] text by feature in, [batch, dim] float32 per feature out."""
        vectors = []
        for feature, lookups in self._config.features.items():
            rows = self.rows(self._config.keys(feature, inputs[feature]))
            vectors.append(tf.reshape(rows, [-1, len(lookups) * self._config.dim_per_table]))
        return vectors


class TextKeys(tf_keras.layers.Layer):
    """Turns text into keys of 63 bits, which needs no vocabulary: two values share one with a chance of 1e-19."""

    def call(self, values: tf.Tensor) -> tf.Tensor:
        """[batch] text in, [batch] int64 out."""
        return tf.strings.to_hash_bucket_strong(values, _KEY_RANGE, key=_KEY_SALT)


def build_static(kind: Model, vocabularies: Columns, config: UnifiedConfig) -> Built:
    """A model with matrices in this process."""
    if kind is Model.UNIFIED:
        unified = StaticUnified(_unified_config("unified", config), config.initial_range)
        model, _ = _compiled(config.features, unified, config)
    else:
        layers: dict[str, tf_keras.layers.Layer] = {}
        if kind is Model.COLLISIONLESS:
            for name, values in vocabularies.items():
                finder = tf_keras.layers.StringLookup(vocabulary=values, mask_token=None)
                layers[name] = tf_keras.Sequential([finder, _matrix(len(values) + 1, config.dim, config.initial_range)])
        else:
            for name, buckets in config.buckets(kind).items():
                finder = tf_keras.layers.Hashing(num_bins=buckets)
                layers[name] = tf_keras.Sequential([finder, _matrix(buckets, config.dim, config.initial_range)])
        model, _ = _compiled(tuple(layers), _each(layers), config)
    return Built(model, model.count_params, ())


def build_remote(kind: Model, config: UnifiedConfig, client: Client, *, prefix: str, seed: int) -> Built:
    """A model whose tables are on a server, named `<prefix>.<model>…`; they start empty, whatever was there."""
    base = f"{prefix}.{kind.value}"
    initial, optimizer = Uniform(-config.initial_range, config.initial_range, seed=seed), Adam(config.learning_rate)
    if kind is Model.UNIFIED:
        client.drop_table(base, missing_ok=True)
        settings = _unified_config(base, config)
        unified = UnifiedEmbedding(settings, optimizer, initializer=initial, target=client, name="unified")
        model, network = _compiled(config.features, unified, config)
        names: tuple[str, ...] = (base,)
    else:
        hashed = {} if kind is Model.COLLISIONLESS else config.buckets(kind)
        layers = {}
        for name in hashed or config.features:
            client.drop_table(f"{base}.{name}", missing_ok=True)
            finder = tf_keras.layers.Hashing(num_bins=hashed[name]) if hashed else TextKeys()
            spec = TableSpec(f"{base}.{name}", dim=config.dim, initializer=initial, optimizer=optimizer)
            layers[name] = tf_keras.Sequential([finder, Embedding(spec, target=client, name=name)])
        model, network = _compiled(tuple(layers), _each(layers), config)
        names = tuple(f"{base}.{name}" for name in layers)

    def parameters() -> int:
        tables = [client.table(name) for name in names]
        return sum(table.size() * table.dim for table in tables) + int(network.count_params())

    return Built(model, parameters, names)


def _unified_config(name: str, config: UnifiedConfig) -> UnifiedEmbeddingConfig:
    made = UnifiedEmbeddingConfig(config.total_buckets, config.dim // config.num_tables, config.num_tables, name)
    for feature in config.features:
        made.add_feature(feature, config.num_tables)
    return made


def _matrix(rows: int, dim: int, initial_range: float) -> Any:
    initial = tf_keras.initializers.RandomUniform(-initial_range, initial_range)
    return tf_keras.layers.Embedding(rows, dim, embeddings_initializer=initial)


def _each(layers: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], list[Any]]:
    return lambda inputs: [layer(inputs[name]) for name, layer in layers.items()]


def _compiled(
    features: tuple[str, ...], vectors: Callable[[Mapping[str, Any]], list[Any]], config: UnifiedConfig
) -> tuple[tf_keras.Model, tf_keras.Model]:
    """The vectors of all features, concatenated, through a network to a probability; and the network."""
    inputs = {name: tf_keras.Input([], dtype=tf.string, name=name) for name in features}
    network = tf_keras.Sequential(
        [
            tf_keras.layers.Concatenate(axis=-1),
            *(tf_keras.layers.Dense(width, activation="relu") for width in config.hidden),
            tf_keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model = tf_keras.Model(inputs, network(vectors(inputs)))
    model.compile(
        optimizer=tf_keras.optimizers.legacy.Adam(config.learning_rate),
        loss=tf_keras.losses.BinaryCrossentropy(reduction=tf_keras.losses.Reduction.SUM),
        metrics=[tf_keras.metrics.AUC(name="auc"), tf_keras.metrics.BinaryCrossentropy(name="log_loss")],
    )
    return model, network
