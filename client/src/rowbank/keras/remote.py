"""Embeddings in the manner of TPU embeddings: features in, activations out, all lookups of a step at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from rowbank.keras.activations import activation
from rowbank.keras.framework import keras
from rowbank.keras.serving import ServingEmbedding, frozen_rows
from rowbank.remote import Batch, RemoteTables, TableConfig
from rowbank.remote.configs import pack_like

if TYPE_CHECKING:
    from rowbank.client import Client
    from rowbank.optimizers import Optimizer
    from rowbank.remote.accumulation import Accumulation


class RemoteEmbedding(keras.layers.Layer):
    """Looks up all features of a batch at once; the tables and their optimizers live on the server.

    A step has a host part (`enqueue`: distinct ids, one pull), a compiled part (`activations` and the model, on static
    shapes, which XLA compiles too) and a host part again (`apply_gradients`: one push). `RemoteModel` does all three
    in `fit`. With `pipeline_execution` the lookups of step n + 1 run while step n computes: they read the rows as they
    were before the push of step n, and after that of step n - 1.

    Args:
        feature_config: a `FeatureConfig`, or nested dicts, lists and tuples of them.
        optimizer: of the tables that name none; it runs on the server.
        target: where the tables are: "host:port", several, an open client, or None for ROWBANK_TARGETS.
        pipeline_execution: whether lookups and pushes overlap the compiled part.
        wire_dtype: "float32", "float16" or "bfloat16": how rows and gradients travel; None: as the client does.
        client_options: as for `Embedding`.
        name, kwargs: as for any layer.
    Raises:
        ValueError: two features have the same name, or two tables of the same name differ.
        TableExists, ShardUnavailable: at the first lookup; as `Client.create_table`.
    """

    def __init__(
        self,
        feature_config: Any,
        optimizer: Optimizer,
        *,
        target: str | Sequence[str] | Client | None = None,
        pipeline_execution: bool = True,
        wire_dtype: str | None = None,
        client_options: Mapping[str, Any] | None = None,
        name: str | None = None,
        _local: frozenset[str] = frozenset(),
        **kwargs: Any,
    ) -> None:
        # Rows stay float32 until they are combined, whatever the rest computes in.
        super().__init__(name=name, autocast=False, **kwargs)
        self._tables = RemoteTables(
            feature_config,
            optimizer=optimizer,
            target=target,
            wire_dtype=wire_dtype,
            client_options=client_options,
            pipeline_execution=pipeline_execution,
            local=_local,
        )

    @property
    def tables(self) -> RemoteTables:
        """The host part, which needs no TensorFlow."""
        return self._tables

    @property
    def feature_config(self) -> Any:
        """The configuration given."""
        return self._tables.feature_config

    @property
    def table_configs(self) -> dict[str, TableConfig]:
        """The tables by name."""
        return self._tables.configs

    @property
    def own_optimizers(self) -> list[tuple[Any, Any]]:
        """(Keras optimizer, variable) of every variable of this layer that the model's optimizer is not to train."""
        return []

    def enqueue(self, features: Any, weights: Any = None) -> Batch:
        """Starts the lookups of a batch; see `RemoteTables.enqueue`."""
        return self._tables.enqueue(features, weights)

    def batches(
        self, elements: Iterable[Any], features: Callable[[Any], Any] = lambda element: element
    ) -> Iterator[tuple[Any, Batch]]:
        """Goes through a data set, the lookups one batch ahead; see `RemoteTables.batches`."""
        return self._tables.batches(elements, features)

    def activations(self, rows: Mapping[str, Any], indices: Mapping[str, Any]) -> Any:
        """The activations of a batch, for use in a compiled function: only TensorFlow operations on static shapes.

        Args:
            rows: `batch.rows`: table name -> [static size, dim]; take gradients for these.
            indices: `batch.indices`.
        Returns:
            Nested as the configuration: [..., dim] in the layer's compute type.
        """
        found = [
            tf.cast(activation(self._rows_of(config.table, rows), indices[name]), self.compute_dtype)
            for name, config in self._tables.features.items()
        ]
        return pack_like(self.feature_config, found)

    def call(self, inputs: Mapping[str, Any]) -> Any:
        """The activations of {"rows": batch.rows, "indices": batch.indices}."""
        return self.activations(inputs["rows"], inputs["indices"])

    def apply_gradients(
        self, batch: Batch, row_gradients: Mapping[str, Any], *, learning_rate: float | None = None
    ) -> None:
        """Pushes the gradients of a batch's rows; see `RemoteTables.apply_gradients`."""
        self._tables.apply_gradients(batch, row_gradients, learning_rate=learning_rate)

    def accumulated_gradients(
        self, *, every: int | None = None, scale: float = 1.0
    ) -> AbstractContextManager[Accumulation[Any]]:
        """Within it, gradients of batches are held back and then pushed as one; see `RemoteTables`."""
        return self._tables.accumulated_gradients(every=every, scale=scale)

    def lookup(self, features: Any, weights: Any = None) -> Any:
        """The activations of features as the tables are now, every gradient so far applied; for inference."""
        self.flush()
        batch = self.enqueue(features, weights)
        return self.activations(batch.rows, batch.indices)

    def flush(self) -> None:
        """Waits until all gradients are applied. Raises what the last push failed with, once."""
        self._tables.flush()

    def close(self) -> None:
        """`flush`, then ends the background thread."""
        self._tables.close()

    def serving(self, features: Any = None, *, keys: Mapping[str, Any] | None = None) -> ServingEmbedding:
        """The rows of some features, frozen as they are now, as a module that needs no server.

        Args:
            features: nested `FeatureConfig`s of this embedding, such as a part of its configuration; None: all.
            keys: table name -> the only ids to be taken along, [N] integers, stored or not; other tables are taken
                whole.
        Returns:
            A `tf.Module` to be called and saved.
        Raises:
            ValueError: a feature is none of this embedding's.
        """
        self.flush()
        wanted = self.feature_config if features is None else features
        return ServingEmbedding(wanted, frozen_rows(self._tables, wanted, keys or {}, self._local_rows()))

    def _local_rows(self) -> dict[str, Any]:
        """Rows of the tables that are variables of this layer."""
        return {}

    def _rows_of(self, table: TableConfig, rows: Mapping[str, Any]) -> tf.Tensor:
        return tf.convert_to_tensor(rows[table.name])
