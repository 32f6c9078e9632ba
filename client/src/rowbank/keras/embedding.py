"""Embedding layers whose rows and optimizer live on the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from rowbank import TableSpec
from rowbank.keras.framework import KERAS_3, global_policy, keras
from rowbank.keras.gateway import RowGateway
from rowbank.keras.ids import as_int64
from rowbank.remote.clients import shared_client, targets_of

if TYPE_CHECKING:
    from rowbank import Client, Table

_COMBINERS = ("mean", "sum", "sqrtn")


@keras.saving.register_keras_serializable("rowbank")
class Embedding(keras.layers.Layer):
    """Turns int64 ids into rows of a server table; `fit` trains the rows with the table's own optimizer.

    Ids need no vocabulary: an unseen one reads its initial value and gets a row when it is first trained. The forward
    pass pulls each distinct id once; the backward pass pushes one gradient per distinct id. The optimizer given to
    `compile` trains everything else: it sees one scalar weight of this layer, the anchor, which never changes.
    With `training=False`, or `layer.trainable = False`, nothing is pushed.

    Args:
        table: a `TableSpec` (created if missing), or the name of an existing table.
        target: where the table is: "host:port", several, an open client, or None for ROWBANK_TARGETS.
        wire_dtype: "float32", "float16" or "bfloat16": how rows and gradients travel; None: as the client does.
        client_options: further arguments of the client that is opened for the target, such as `near_cache_bytes` and
            `max_staleness_steps`; see docs/near-cache.md. Not for an open client.
        mask_zero: whether id 0 is padding, as for Keras's layer; its row is read and trained all the same.
        name, kwargs: as for any layer.
    Raises:
        TableNotFound, TableExists, ShardUnavailable: at the first use; as `Client.table` and `Client.create_table`.
    """

    def __init__(
        self,
        table: str | TableSpec,
        *,
        target: str | Sequence[str] | Client | None = None,
        wire_dtype: str | None = None,
        mask_zero: bool = False,
        client_options: Mapping[str, Any] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self._table_given = table
        self._target = target
        self.wire_dtype = wire_dtype
        self.client_options = dict(client_options or {})
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero
        self.supports_jit = False  # Keras 3 compiles no model with such a layer, unless it is told to.
        self._gateway: RowGateway | None = None

    @property
    def table(self) -> Table:
        """The server table; opened, and created if the layer was given a spec, at the first use."""
        return self._opened().table

    @property
    def dim(self) -> int:
        """Width of a row."""
        return self._opened().dim

    def build(self, input_shape: Any) -> None:
        _refuse_loss_scaling(self.compute_dtype)
        self._opened()
        self._anchor = self.add_weight(name="anchor", shape=(), dtype="float32", initializer="zeros", trainable=True)
        super().build(input_shape)

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Looks ids up.

        Args:
            inputs: integer ids, a dense tensor of any shape or a ragged one.
            training: whether gradients may be pushed; None: they are if somebody takes them.
        Returns:
            `inputs.shape + [dim]`, ragged for ragged ids.
        """
        if isinstance(inputs, tf.RaggedTensor):
            return inputs.with_flat_values(self._rows(inputs.flat_values, training))
        ids = _integers(inputs)
        rows = self._rows(tf.reshape(ids, [-1]), training)
        rows = tf.reshape(rows, tf.concat([tf.shape(ids), [self.dim]], axis=0))
        rows.set_shape(ids.shape.concatenate([self.dim]))
        return rows

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Says which ids are no padding, if `mask_zero` is set."""
        del mask
        if not self.mask_zero:
            return None
        # Keras 3 builds models of stand-ins for tensors, which TensorFlow's own operations do not take.
        symbolic = KERAS_3 and isinstance(inputs, keras.KerasTensor)
        return keras.ops.not_equal(inputs, 0) if symbolic else tf.not_equal(inputs, 0)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the rows for a shape of ids."""
        return as_shape(tf.TensorShape(input_shape).concatenate([self.dim]))

    def get_config(self) -> dict[str, Any]:
        """The layer's settings; the table by name and target, so that a loaded model finds the rows it trained."""
        config: dict[str, Any] = super().get_config()
        given = self._table_given
        config.update(
            table=given if isinstance(given, str) else given.name,
            target=targets_of(self._target),
            wire_dtype=self.wire_dtype,
            client_options=dict(self.client_options),
            mask_zero=self.mask_zero,
        )
        return config

    def _rows(self, flat: tf.Tensor, training: Any) -> tf.Tensor:
        keys = as_int64(_integers(flat))
        known = training if isinstance(training, bool) or training is None else tf.get_static_value(training)
        if not self.trainable or (known is not None and not known):
            rows = self._opened().read(keys)
        else:
            wanted = True if training is None else tf.cast(training, tf.bool)
            rows = self._opened().read_to_train(keys, tf.convert_to_tensor(self._anchor), wanted)
        return tf.cast(rows, self.compute_dtype)

    @tf.autograph.experimental.do_not_convert  # The first use may be inside `fit`, which rewrites what it calls.
    def _opened(self) -> RowGateway:
        if self._gateway is None:
            client = shared_client(self._target, wire_dtype=self.wire_dtype, client_options=self.client_options)
            given = self._table_given
            table = client.table(given) if isinstance(given, str) else client.create_table(given, exist_ok=True)
            self._gateway = RowGateway(table)
        return self._gateway


@keras.saving.register_keras_serializable("rowbank")
class SquashedEmbedding(Embedding):
    """An `Embedding` that combines the rows of one example into one: [batch, ...] ids give [batch, dim].

    One-dimensional ids are one example and give [dim], as TFRA's layer does.

    Args:
        combiner: "mean", "sum" or "sqrtn" (the sum over the square root of the number of ids).
        table, kwargs: as for `Embedding`; with `mask_zero`, ids 0 are left out. Sparse ids [batch, n] are taken too.
            An example without ids gives zeros.
    """

    def __init__(self, table: str | TableSpec, *, combiner: str = "mean", **kwargs: Any) -> None:
        if combiner not in _COMBINERS:
            raise ValueError(f"combiner: expected one of {', '.join(_COMBINERS)}, got {combiner!r}")
        super().__init__(table, **kwargs)
        self.combiner = combiner
        self.supports_masking = False

    def call(self, inputs: Any, training: Any = None) -> tf.Tensor:
        """Looks ids up and combines.

        Args:
            inputs: integer ids: dense [batch, ...] or [n], ragged [batch, (n)], or sparse [batch, n].
            training: as for `Embedding`.
        Returns:
            [batch, dim], or [dim] for one-dimensional ids.
        """
        if isinstance(inputs, (tf.SparseTensor, tf.RaggedTensor)):
            ids, examples, count = flattened(inputs)
            return self._combine_flat(ids, examples, count, training)
        return self._combine_dense(_integers(inputs), training)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Combined rows have no padding."""
        del inputs, mask

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the combined rows for a shape of ids."""
        shape = tf.TensorShape(input_shape)
        return as_shape(tf.TensorShape([self.dim] if shape.rank == 1 else [shape[0], self.dim]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "combiner": self.combiner}

    def _combine_dense(self, ids: tf.Tensor, training: Any) -> tf.Tensor:
        rows = super().call(ids, training=training)
        axes = [0] if ids.shape.rank == 1 else list(range(1, ids.shape.rank))
        weights = tf.reshape(self._weights(tf.reshape(ids, [-1])), tf.shape(ids))
        total = tf.reduce_sum(rows * weights[..., None], axis=axes)
        return self._scaled(total, tf.reduce_sum(weights, axis=axes))

    def _combine_flat(self, ids: tf.Tensor, groups: tf.Tensor, count: tf.Tensor, training: Any) -> tf.Tensor:
        """Combines the rows of [N] ids by their group, 0 to `count` - 1: [count, dim]."""
        rows, weights = self._rows(ids, training), self._weights(ids)
        total = tf.math.unsorted_segment_sum(rows * weights[:, None], groups, count)
        return self._scaled(total, tf.math.unsorted_segment_sum(weights, groups, count))

    def _weights(self, ids: tf.Tensor) -> tf.Tensor:
        """1 for an id that counts, 0 for padding."""
        counts = tf.not_equal(ids, 0) if self.mask_zero else tf.ones_like(ids, dtype=tf.bool)
        return tf.cast(counts, self.compute_dtype)

    def _scaled(self, total: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        if self.combiner == "sum":
            return total
        divisor = tf.maximum(number, 1)
        return total / (tf.sqrt(divisor) if self.combiner == "sqrtn" else divisor)[..., None]


def as_shape(shape: tf.TensorShape) -> Any:
    """A shape as the Keras in use wants it: Keras 3 takes tuples only."""
    return tuple(shape) if KERAS_3 else shape


def flattened(ids: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """[N] ids of a batch, [N] int64 the example that each is of, and the number of examples.

    Args:
        ids: sparse [batch, n], ragged [batch, (n)], deeper ragged ones counting by their first dimension, or dense
            [batch, ...].
    """
    if isinstance(ids, tf.SparseTensor):
        return ids.values, ids.indices[:, 0], ids.dense_shape[0]
    if isinstance(ids, tf.RaggedTensor):
        merged = ids if ids.ragged_rank == 1 else ids.merge_dims(1, ids.ragged_rank)
        flat = merged.flat_values
        examples = tf.cast(merged.value_rowids(), tf.int64)
        if flat.shape.rank != 1:  # Every ragged row has a dense block of ids.
            examples = tf.repeat(examples, tf.size(flat) // tf.maximum(tf.size(examples), 1))
            flat = tf.reshape(flat, [-1])
        return flat, examples, tf.cast(merged.nrows(), tf.int64)
    dense = _integers(ids)
    count = tf.shape(dense, tf.int64)[0]
    examples = tf.repeat(tf.range(count), tf.size(dense, tf.int64) // tf.maximum(count, 1))
    return tf.reshape(dense, [-1]), examples, count


def _integers(ids: Any) -> tf.Tensor:
    ids = tf.convert_to_tensor(ids)
    if not ids.dtype.is_integer:
        advice = (
            "turn strings into int64 first"
            if ids.dtype == tf.string
            else 'begin the model with keras.Input(shape, dtype="int64"), without which Keras takes ids for floats'
        )
        raise TypeError(f"ids: expected integers, got {ids.dtype.name}; {advice}")
    return ids


def _refuse_loss_scaling(compute_dtype: str) -> None:
    policy = global_policy()
    if policy == "mixed_float16" or compute_dtype == "float16":
        raise ValueError(
            f"Rowbank layers do not run under loss scaling (policy {policy}, compute type {compute_dtype}): their "
            "gradients go to the server before the optimizer could undo the scale; use mixed_bfloat16"
        )
