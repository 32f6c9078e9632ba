"""The dense part of the model: what turns embedding rows into vectors of one space."""

from __future__ import annotations

from typing import Any

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


@tf_keras.utils.register_keras_serializable("rowbank_trainer")
class StepDropout(tf_keras.layers.Layer):
    """Dropout that is a function of its seed and of how many steps it made, which a checkpoint keeps."""

    def __init__(self, rate: float, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.rate, self.seed = rate, seed

    def build(self, input_shape: Any) -> None:
        self.steps = self.add_weight(name="steps", shape=(), dtype=tf.int64, initializer="zeros", trainable=False)
        super().build(input_shape)

    def call(self, vectors: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[batch, D] float32 in, the same shape out."""
        if not training:
            return vectors
        step = self.steps.assign_add(1)
        return tf.nn.experimental.stateless_dropout(vectors, self.rate, seed=tf.stack([self.seed, step]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def build_tower(name: str, config: TwoTowerConfig, *, seed: int, width: int | None = None) -> tf_keras.Sequential:
    """A tower from its input, [batch, width] float32, to a vector, [batch, vector_dim], of length one for cosines.

    Args:
        width: None: that of a row.

    Each layer gets its own seed, so that a tower starts from the same weights whatever tables stand before it.
    """
    layers = tf_keras.layers

    def dense(index: int, units: int, activation: str | None) -> tf_keras.layers.Dense:
        initializer = tf_keras.initializers.GlorotUniform(seed=seed + index)
        return layers.Dense(units, activation=activation, kernel_initializer=initializer, name=f"{name}_dense_{index}")

    tower = tf_keras.Sequential(name=f"{name}_tower")
    tower.add(layers.InputLayer(input_shape=(width or config.dim,), name=f"{name}_row"))
    if config.row_dropout:
        tower.add(StepDropout(config.row_dropout, seed + 100, name=f"{name}_row_dropout"))
    for index, units in enumerate(config.hidden):
        tower.add(dense(index, units, config.activation))
        if config.hidden_dropout:
            tower.add(StepDropout(config.hidden_dropout, seed + 101 + index, name=f"{name}_dropout_{index}"))
    if config.output_layer:
        tower.add(dense(len(config.hidden), config.vector_dim, None))
    elif not config.hidden:
        tower.add(layers.Activation("linear", name=f"{name}_vector"))  # A model of no layers at all cannot be called.
    if config.similarity == "cosine":
        tower.add(UnitNorm(name=f"{name}_unit_norm"))
    return tower
