"""The dense part of the model: what turns embedding rows into vectors of one space."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from rowbank_trainer.two_tower.config import TwoTowerConfig

SQUARED_NORM_FLOOR = 1e-12


@tf_keras.utils.register_keras_serializable("rowbank_trainer")
class UnitNorm(tf_keras.layers.Layer):
    """Scales each vector to length one; dot products are then cosines."""

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        """[batch, D] float32 in, the same shape out."""
        return tf.math.l2_normalize(vectors, axis=-1, epsilon=SQUARED_NORM_FLOOR)


def build_tower(name: str, config: TwoTowerConfig, *, seed: int) -> tf_keras.Sequential:
    """A tower from a row, [batch, dim] float32, to a unit vector, [batch, vector_dim] float32.

    Each layer gets its own seed, so that a tower starts from the same weights whatever tables stand before it.
    """
    layers = tf_keras.layers

    def dense(index: int, width: int, activation: str | None) -> tf_keras.layers.Dense:
        initializer = tf_keras.initializers.GlorotUniform(seed=seed + index)
        return layers.Dense(width, activation=activation, kernel_initializer=initializer, name=f"{name}_dense_{index}")

    tower = tf_keras.Sequential(name=f"{name}_tower")
    tower.add(layers.InputLayer(input_shape=(config.dim,), name=f"{name}_row"))
    if config.row_dropout:
        tower.add(layers.Dropout(config.row_dropout, seed=seed + 100, name=f"{name}_row_dropout"))
    for index, width in enumerate(config.hidden):
        tower.add(dense(index, width, "gelu"))
        if config.hidden_dropout:
            tower.add(layers.Dropout(config.hidden_dropout, seed=seed + 101 + index, name=f"{name}_dropout_{index}"))
    tower.add(dense(len(config.hidden), config.vector_dim, None))
    tower.add(UnitNorm(name=f"{name}_unit_norm"))
    return tower
