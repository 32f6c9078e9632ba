"""Rows in the forward pass, row gradients in the backward pass, as TensorFlow operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

if TYPE_CHECKING:
    from rowbank import Table

_Array = npt.NDArray[Any]


class RowGateway:
    """Pulls rows of one table and pushes their gradients, as operations on the CPU.

    Problem: rows are no variable, so an optimizer of Keras has nothing to update, and TensorFlow takes gradients only
    towards variables. Idea: a layer owns one scalar variable, the anchor, which the rows pretend to depend on. Its
    gradient is zero; computing it is what pushes the rows' gradients, so a push happens exactly when somebody
    differentiates with respect to the layer's trainable weights. What it cannot do: gradients pass no optimizer, so
    clipping and loss scaling set there do not reach the rows.

    Args:
        table: the server table, whose own optimizer applies the gradients.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.dim = table.spec.dim

    def read(self, keys: tf.Tensor) -> tf.Tensor:
        """Returns the rows of [N] int64 keys, [N, dim] float32, each distinct key pulled once; no gradients."""
        unique, index = tf.unique(keys, out_idx=tf.int64)
        return tf.stop_gradient(tf.gather(self._rows(unique), index))

    def read_to_train(self, keys: tf.Tensor, anchor: tf.Tensor, training: bool | tf.Tensor) -> tf.Tensor:
        """Returns the rows of [N] int64 keys, [N, dim] float32; differentiating them pushes.

        A push sends one gradient per distinct key, summed over its occurrences, with their number.

        Args:
            keys: repeats are pulled and pushed once.
            anchor: the scalar that a gradient is taken for.
            training: whether a push may happen, known now or when the graph runs.
        """
        unique, index, counts = tf.unique_with_counts(keys, out_idx=tf.int64)

        @tf.custom_gradient
        def rows_by(anchor: tf.Tensor) -> Any:
            values = tf.gather(self._rows(unique), index)

            def push(upstream: Any) -> tf.Tensor:
                gradients = tf.math.unsorted_segment_sum(tf.convert_to_tensor(upstream), index, tf.size(unique))
                with tf.device("/CPU:0"):
                    pushed = tf.numpy_function(self._push, [unique, gradients, counts, training], tf.bool)
                with tf.control_dependencies([pushed]):
                    return tf.zeros_like(anchor)

            return values, push

        return rows_by(anchor)

    def _rows(self, unique: tf.Tensor) -> tf.Tensor:
        with tf.device("/CPU:0"):
            rows = tf.numpy_function(self._pull, [unique], tf.float32)
        rows.set_shape([None, self.dim])
        return rows

    def _pull(self, keys: _Array) -> _Array:
        if not keys.size:
            return np.zeros((0, self.dim), np.float32)
        return np.asarray(self.table.pull(keys), dtype=np.float32)

    def _push(self, keys: _Array, gradients: _Array, counts: _Array, training: _Array) -> np.bool_:
        if keys.size and training:
            self.table.push(keys, gradients, counts=counts.astype(np.uint32))
        return np.bool_(True)
