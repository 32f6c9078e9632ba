"""The compared layers in plain Keras, with matrices in this process; ids are places in a vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from rowbank_trainer.data.dataset import Ids


def embedding(rows: int, dim: int, initial_range: float, *, name: str) -> Any:
    """A Keras embedding with uniform initial values, drawn by the global seed."""
    initial = tf_keras.initializers.RandomUniform(-initial_range, initial_range)
    return tf_keras.layers.Embedding(rows, dim, embeddings_initializer=initial, name=name)


class Looked(tf_keras.layers.Layer):
    """Turns ids into places in a vocabulary, all of whose ids are known, and looks these up."""

    def __init__(self, vocabulary: Ids, layer: Any, name: str) -> None:
        super().__init__(name=name)
        self._vocabulary, self.layer = vocabulary, layer

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        """[batch] int64 in, [batch, dim] float32 out."""
        return self.layer(tf.searchsorted(self._vocabulary, ids, out_type=tf.int64))


class QuotientRemainder(tf_keras.layers.Layer):
    """The product, or with combiner "add" the sum, of the rows of an id's quotient and remainder."""

    def __init__(self, count: int, dim: int, buckets: int, initial_range: float, combiner: str = "multiply") -> None:
        super().__init__(name="quotient_remainder")
        self._buckets, self._combiner = buckets, combiner
        self.quotients = embedding(-(-count // buckets), dim, initial_range, name="quotients")
        self.remainders = embedding(buckets, dim, initial_range, name="remainders")

    def call(self, places: tf.Tensor) -> tf.Tensor:
        """[batch] int64 in, [batch, dim] float32 out."""
        first, second = self.quotients(places // self._buckets), self.remainders(places % self._buckets)
        return first + second if self._combiner == "add" else first * second


class MixedDimension(tf_keras.layers.Layer):
    """Blocks of rows of different width, projected to one; each block has a spare row that ids of others read."""

    def __init__(self, blocks: Sequence[Ids], dims: Sequence[int], dim: int, initial_range: float) -> None:
        super().__init__(name="mixed_dimension")
        count = sum(len(block) for block in blocks)
        # Of each place in the vocabulary, the row in each block; 0 is the spare one.
        self._rows = np.zeros((len(blocks), count), np.int64)
        for number, block in enumerate(blocks):
            self._rows[number, block] = np.arange(1, len(block) + 1)
        self.embeddings = [
            embedding(len(block) + 1, width, initial_range, name=f"block_{number}")
            for number, (block, width) in enumerate(zip(blocks, dims, strict=True))
        ]
        self.projections = [
            None if width == dim else tf_keras.layers.Dense(dim, name=f"projection_{number}")
            for number, width in enumerate(dims)
        ]

    def call(self, places: tf.Tensor) -> tf.Tensor:
        """[batch] int64 in, [batch, dim] float32 out."""
        vectors = []
        for rows, block, projection in zip(self._rows, self.embeddings, self.projections, strict=True):
            row = tf.gather(tf.constant(rows), places)
            vector = block(row) if projection is None else projection(block(row))
            vectors.append(vector * tf.cast(row > 0, vector.dtype)[:, None])
        return tf.add_n(vectors)
