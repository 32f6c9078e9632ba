"""Embedding of ids that belong to fields: one combined row per example and field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from rowbank import TableSpec
from rowbank.keras.embedding import SquashedEmbedding, as_shape, flattened
from rowbank.keras.framework import keras
from rowbank.keras.ids import as_int64


@keras.saving.register_keras_serializable("rowbank")
class FieldwiseEmbedding(SquashedEmbedding):
    """Combines the rows of one example by field: [batch, n] ids give [batch, nslots, dim].

    For ids of many features in one list: `slot_map_fn` says of each id which field, 0 to `nslots` - 1, it is of. A
    field that an example has no id of is zeros.

    Args:
        table: as for `Embedding`.
        nslots: number of fields, at least 1.
        slot_map_fn: [N] int64 ids -> [N] integers, the field of each; operations of TensorFlow only. For a model that
            shall be saved, register it with Keras (`register_keras_serializable`).
        combiner: "sum", "mean" or "sqrtn".
        kwargs: as for `SquashedEmbedding`.
    Raises:
        ValueError: `nslots`, `slot_map_fn` or `combiner` is no such thing.
        InvalidArgumentError: in a step, if `slot_map_fn` names a field that there is not.
    """

    def __init__(
        self,
        table: str | TableSpec,
        nslots: int,
        slot_map_fn: Callable[[tf.Tensor], tf.Tensor],
        *,
        combiner: str = "sum",
        **kwargs: Any,
    ) -> None:
        if isinstance(nslots, bool) or not isinstance(nslots, int) or nslots < 1:
            raise ValueError(f"nslots: expected an integer of at least 1, got {nslots!r}")
        if not callable(slot_map_fn):
            raise ValueError(f"slot_map_fn: expected a function of ids, got {type(slot_map_fn).__name__}")
        super().__init__(table, combiner=combiner, **kwargs)
        self.nslots = nslots
        self.slot_map_fn = slot_map_fn

    def call(self, inputs: Any, training: Any = None) -> tf.Tensor:
        """Looks ids up and combines them by example and field.

        Args:
            inputs: integer ids: dense [batch, ...] or [n], ragged [batch, (n)], or sparse [batch, n].
            training: as for `Embedding`.
        Returns:
            [batch, nslots, dim], or [nslots, dim] for one-dimensional ids.
        """
        single = not isinstance(inputs, (tf.SparseTensor, tf.RaggedTensor)) and len(inputs.shape) == 1
        ids, examples, count = flattened(tf.expand_dims(inputs, 0) if single else inputs)
        fields = tf.cast(self.slot_map_fn(as_int64(ids)), tf.int64)
        known = tf.debugging.assert_equal(
            tf.reduce_all((fields >= 0) & (fields < self.nslots)),
            True,
            message=f"slot_map_fn: expected fields from 0 to {self.nslots - 1}, as nslots is {self.nslots}",
        )
        # In eager mode the assertion has raised, and there is nothing to wait for.
        with tf.control_dependencies([] if known is None else [known]):
            groups = examples * self.nslots + fields
        rows = self._combine_flat(ids, groups, count * self.nslots, training)
        return rows if single else tf.reshape(rows, [-1, self.nslots, self.dim])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the combined rows for a shape of ids."""
        shape = tf.TensorShape(input_shape)
        batch = [] if shape.rank == 1 else [shape[0]]
        return as_shape(tf.TensorShape([*batch, self.nslots, self.dim]))

    def get_config(self) -> dict[str, Any]:
        function = keras.saving.serialize_keras_object(self.slot_map_fn)
        return {**super().get_config(), "nslots": self.nslots, "slot_map_fn": function}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FieldwiseEmbedding:
        """The layer that `get_config` described."""
        function = config["slot_map_fn"]
        if not callable(function):
            function = keras.saving.deserialize_keras_object(function)
        made: FieldwiseEmbedding = super().from_config({**config, "slot_map_fn": function})
        return made
