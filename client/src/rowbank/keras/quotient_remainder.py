"""Quotient-remainder embeddings: every id gets a vector of its own out of two rows that it shares with others."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from rowbank import TableSpec
from rowbank.calls import arrays
from rowbank.keras.embedding import Embedding, as_shape
from rowbank.keras.framework import keras
from rowbank.keras.ids import as_int64

_COMBINERS = ("multiply", "add", "concat")
_MAX_BUCKETS = 2**62


@keras.saving.register_keras_serializable("rowbank")
class QREmbedding(Embedding):
    """Composes an id's vector of the row of `id // num_buckets` and the row of `id % num_buckets`.

    N ids need about N / num_buckets + num_buckets rows instead of N, and no two ids share both. Both kinds of row
    live in one table, quotients under even keys and remainders under odd ones (`keys`), so that a step is one pull
    and one push, and the table is sized, evicted and snapshot as one. What one table cannot do: give quotients and
    remainders different initial values or optimizers.

    Ids are any int64, without a vocabulary: quotients are unbounded and get rows as they are met. Division rounds
    down, so negative ids are distinct too: with 10 buckets, -1 is quotient -1, remainder 9.
    Source: Shi et al., "Compositional Embeddings Using Complementary Partitions", KDD 2020.

    Args:
        table: a `TableSpec` (created if missing), or the name of an existing table.
        num_buckets: how many remainders there are, from 2 to 2**62; the square root of the number of ids takes the
            fewest rows.
        combiner: "multiply" or "add" the two rows, or "concat" them, which gives vectors of twice the table's dim.
            Products of two rows near zero learn slowly at first: with "multiply", mind the table's initial values.
        kwargs: as for `Embedding`.
    """

    def __init__(self, table: str | TableSpec, num_buckets: int, combiner: str = "multiply", **kwargs: Any) -> None:
        if combiner not in _COMBINERS:
            raise ValueError(f"combiner: expected one of {', '.join(_COMBINERS)}, got {combiner!r}")
        if not 2 <= num_buckets <= _MAX_BUCKETS:
            raise ValueError(f"num_buckets: expected 2 to 2**62, got {num_buckets}")
        super().__init__(table, **kwargs)
        self.num_buckets = int(num_buckets)
        self.combiner = combiner

    @property
    def output_dim(self) -> int:
        """Width of a composed vector."""
        return 2 * self.dim if self.combiner == "concat" else self.dim

    def keys(self, ids: Any) -> npt.NDArray[np.int64]:
        """The table's keys of ids, for readers without TensorFlow: [...] integers give [..., 2] int64."""
        ids = np.asarray(ids)
        arrays.require_int64("ids", ids)
        ids = ids.astype(np.int64)
        return np.stack([2 * (ids // self.num_buckets), 2 * (ids % self.num_buckets) + 1], axis=-1)

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Composes vectors.

        Args:
            inputs: integer ids, a dense tensor of any shape or a ragged one.
            training: as for `Embedding`.
        Returns:
            `inputs.shape + [output_dim]`, ragged for ragged ids.
        """
        if isinstance(inputs, tf.RaggedTensor):
            return inputs.with_flat_values(self.call(inputs.flat_values, training=training))
        ids = tf.convert_to_tensor(inputs)
        if not ids.dtype.is_integer:
            raise TypeError(f"ids: expected integers, got {ids.dtype.name}; turn strings into int64 first")
        ids = as_int64(ids)
        quotients = 2 * tf.math.floordiv(ids, self.num_buckets)
        remainders = 2 * tf.math.floormod(ids, self.num_buckets) + 1
        rows = super().call(tf.stack([quotients, remainders], axis=-1), training=training)
        quotient_rows, remainder_rows = tf.unstack(rows, num=2, axis=-2)
        if self.combiner == "concat":
            return tf.concat([quotient_rows, remainder_rows], axis=-1)
        return quotient_rows * remainder_rows if self.combiner == "multiply" else quotient_rows + remainder_rows

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the vectors for a shape of ids."""
        return as_shape(tf.TensorShape(input_shape).concatenate([self.output_dim]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_buckets": self.num_buckets, "combiner": self.combiner}
