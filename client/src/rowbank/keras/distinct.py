"""An embedding layer that gives each distinct row once, for models that pool many of them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rowbank.keras.embedding import Embedding, as_shape
from rowbank.keras.framework import keras
from rowbank.keras.ids import as_int64


@keras.saving.register_keras_serializable("rowbank")
class DistinctEmbedding(Embedding):
    """An `Embedding` that does not repeat rows: it gives those of the distinct ids, and which of them is each id's.

    A batch of long lists names a few rows many times. `tf.sparse.segment_mean(rows, places, owners)` pools them without
    a row in memory for every id, forward and backward: with a hundred ids per example a step takes half the time.

    Args:
        table, kwargs: as for `Embedding`.
    """

    def call(self, inputs: Any, training: Any = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Looks ids up.

        Args:
            inputs: [N] integer ids.
            training: as for `Embedding`.
        Returns:
            [U, dim] rows, in the order in which the distinct ids come first, and [N] int32 places in them.
        """
        ids = as_int64(tf.reshape(tf.convert_to_tensor(inputs), [-1]))
        known = training if isinstance(training, bool) or training is None else tf.get_static_value(training)
        trains = self.trainable and (known is None or bool(known))
        wanted = tf.cast(training, tf.bool) if trains and known is None and training is not None else trains
        rows, places = self._opened().read_distinct(ids, tf.convert_to_tensor(self._anchor), wanted)
        return tf.cast(rows, self.compute_dtype), places

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Distinct rows have no padding."""
        del inputs, mask

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shapes of rows and places for a shape of ids."""
        return as_shape(tf.TensorShape([None, self.dim])), as_shape(tf.TensorShape([input_shape[0]]))
