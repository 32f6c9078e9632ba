"""Unified embeddings: many features share the rows of a few tables, told apart by how each hashes its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from rowbank import Client, Table, TableSpec, Uniform
from rowbank.keras.embedding import Embedding
from rowbank.keras.framework import keras
from rowbank.remote.clients import targets_of
from rowbank.specs import Initializer, Optimizer

_COMBINERS = ("mean", "sum", "sqrtn")


@dataclass(frozen=True, slots=True)
class Lookup:
    """One row that a feature's value reads.

    Attributes:
        table: which of the tables, from 0.
        salt: place of the feature in the configuration, place of the lookup in the feature: the key of the hash.
    """

    table: int
    salt: tuple[int, int]


class UnifiedEmbeddingConfig:
    """Which features share how many rows.

    A feature's vector is the concatenation of `num_lookups` rows, each `dim_per_table` wide. Lookups take the tables
    in turn, over all features. A lookup hashes the value, with a salt of its own, to one of the table's buckets: two
    values that collide in one lookup hardly do in another, and the features' collisions are independent.
    Source: Coleman et al., "Unified Embedding: Battle-Tested Feature Representations for Web-Scale ML Systems",
    NeurIPS 2023. Tables, salts and hash are those of `feature_multiplexing` in TensorFlow Recommenders, so a value
    meets the same bucket. Salts are numbers of order: features may be added at the end, not removed or reordered.

    Args:
        buckets_per_table: rows of each table at most.
        dim_per_table: width of a row.
        num_tables: how many tables there are.
        name: of the server table that holds them.
    """

    def __init__(self, buckets_per_table: int, dim_per_table: int, num_tables: int, name: str) -> None:
        for argument, value in (("buckets_per_table", buckets_per_table), ("dim_per_table", dim_per_table),
                                ("num_tables", num_tables)):  # fmt: skip
            if value < 1:
                raise ValueError(f"{argument}: expected at least 1, got {value}")
        self.buckets_per_table = int(buckets_per_table)
        self.dim_per_table = int(dim_per_table)
        self.num_tables = int(num_tables)
        self.name = name
        self._lookups: dict[str, tuple[Lookup, ...]] = {}

    @property
    def features(self) -> dict[str, tuple[Lookup, ...]]:
        """The lookups of each feature, in the order in which features were added."""
        return dict(self._lookups)

    def add_feature(self, name: str, num_lookups: int) -> None:
        """Adds a feature whose vector is `num_lookups` rows wide.

        Raises:
            ValueError: the feature is there already, or `num_lookups` is below 1.
        """
        if name in self._lookups:
            raise ValueError(f"feature {name!r} was added before")
        if num_lookups < 1:
            raise ValueError(f"num_lookups: expected at least 1, got {num_lookups}")
        taken = sum(len(lookups) for lookups in self._lookups.values())
        place = len(self._lookups)
        self._lookups[name] = tuple(
            Lookup((taken + number) % self.num_tables, (place, number)) for number in range(num_lookups)
        )

    def keys(self, feature: str, values: Any) -> tf.Tensor:
        """The server table's keys of a feature's values.

        The tables are ranges of keys of one server table: bucket b of table t is key t x buckets_per_table + b.

        Args:
            feature: a feature of this configuration.
            values: a dense tensor of strings or integers, of any shape; an integer is hashed as its decimal digits.
        Returns:
            `values.shape + [num_lookups]` int64.
        """
        values = tf.convert_to_tensor(values)
        if values.dtype.is_integer:
            values = tf.strings.as_string(values)
        if values.dtype != tf.string:
            raise TypeError(f"feature {feature!r}: expected strings or integers, got {values.dtype.name}")
        return tf.stack([self._bucket(lookup, values) for lookup in self._lookups[feature]], axis=-1)

    def _bucket(self, lookup: Lookup, values: tf.Tensor) -> tf.Tensor:
        bucket = tf.strings.to_hash_bucket_strong(values, self.buckets_per_table, key=list(lookup.salt))
        return bucket + lookup.table * self.buckets_per_table

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes an equal configuration of; plain values."""
        return {
            "buckets_per_table": self.buckets_per_table,
            "dim_per_table": self.dim_per_table,
            "num_tables": self.num_tables,
            "name": self.name,
            "features": [[name, len(lookups)] for name, lookups in self._lookups.items()],
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> UnifiedEmbeddingConfig:
        """The configuration that `get_config` described."""
        settings = dict(config)
        features = settings.pop("features")
        made = cls(**settings)
        for name, num_lookups in features:
            made.add_feature(name, num_lookups)
        return made


@keras.saving.register_keras_serializable("rowbank")
class UnifiedEmbedding(keras.layers.Layer):
    """Looks up all features of an example in one server table: one pull and one push a step.

    All tables of the configuration have one width, initializer and optimizer, so they are ranges of keys of one server
    table. A row exists from its first push, so `table.size()` says how many buckets are in use.

    Args:
        config: the features, or what its `get_config` gave. Complete: features added later are not seen.
        optimizer: of the rows, a Rowbank optimizer; None: the table must exist.
        initializer: of the rows.
        combiner: "mean", "sum" or "sqrtn" of the values of an example, for ragged and sparse features.
        table_options: further arguments of the `TableSpec`, such as `eviction` or `durability`.
        target, wire_dtype, client_options: as for `Embedding`.
        name, kwargs: as for any layer.
    """

    def __init__(
        self,
        config: UnifiedEmbeddingConfig | Mapping[str, Any],
        optimizer: Optimizer | None = None,
        *,
        initializer: Initializer = Uniform(-0.05, 0.05),  # noqa: B008 - frozen
        combiner: str = "mean",
        table_options: Mapping[str, Any] | None = None,
        target: str | Sequence[str] | Client | None = None,
        wire_dtype: str | None = None,
        client_options: Mapping[str, Any] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if combiner not in _COMBINERS:
            raise ValueError(f"combiner: expected one of {', '.join(_COMBINERS)}, got {combiner!r}")
        given = config.get_config() if isinstance(config, UnifiedEmbeddingConfig) else config
        self.config = UnifiedEmbeddingConfig.from_config(given)
        if not self.config.features:
            raise ValueError("config: expected at least one feature; call add_feature first")
        self.combiner = combiner
        self.wire_dtype = wire_dtype
        self.client_options = dict(client_options or {})
        self._target = target
        table: str | TableSpec = self.config.name
        if optimizer is not None:
            table = TableSpec(
                self.config.name, dim=self.config.dim_per_table, initializer=initializer, optimizer=optimizer,
                **(table_options or {}),
            )  # fmt: skip
        self.rows = Embedding(
            table,
            target=target,
            wire_dtype=wire_dtype,
            client_options=client_options,
            name="rows",
            dtype=kwargs.get("dtype"),
        )

    @property
    def table(self) -> Table:
        """The server table, opened at the first use."""
        return self.rows.table

    def build(self, input_shape: Any) -> None:
        self.rows.build((None,))
        expected, found = self.config.dim_per_table, self.rows.dim
        if expected != found:
            raise ValueError(f"table {self.config.name!r}: expected dim_per_table {expected}, got dim {found}")
        super().build(input_shape)

    def call(self, inputs: Mapping[str, Any], training: Any = None) -> list[Any]:
        """Hashes, looks up, concatenates.

        Args:
            inputs: values by feature, strings or integers: dense of any shape, or ragged [batch, (n)] or sparse
                [batch, n], whose values are combined per example. Other entries are ignored.
            training: as for `Embedding`.
        Returns:
            One tensor per feature in the order of the configuration: `values.shape + [num_lookups x dim_per_table]`
            for dense values, [batch, num_lookups x dim_per_table] for others; zeros for an example without values.
        """
        missing = [feature for feature in self.config.features if feature not in inputs]
        if missing:
            raise ValueError(f"inputs: expected the features {', '.join(self.config.features)}; missing {missing}")
        values = {feature: _flat(inputs[feature]) for feature in self.config.features}
        keys = [tf.reshape(self.config.keys(feature, flat), [-1]) for feature, flat in values.items()]
        rows = self.rows(tf.concat(keys, axis=0), training=training)
        parts = tf.split(rows, [tf.size(part) for part in keys])
        vectors = []
        for part, (feature, lookups) in zip(parts, self.config.features.items(), strict=True):
            width = len(lookups) * self.config.dim_per_table
            vectors.append(self._shaped(tf.reshape(part, [-1, width]), inputs[feature], width))
        return vectors

    def get_config(self) -> dict[str, Any]:
        """The layer's settings; the table by name and target, so that a loaded model finds the rows it trained."""
        config: dict[str, Any] = super().get_config()
        config.update(
            config=self.config.get_config(),
            combiner=self.combiner,
            target=targets_of(self._target),
            wire_dtype=self.wire_dtype,
            client_options=dict(self.client_options),
        )
        return config

    def _shaped(self, vectors: tf.Tensor, values: Any, width: int) -> tf.Tensor:
        """[number of values, width] vectors in the shape of the values, or combined per example."""
        if isinstance(values, tf.SparseTensor):
            return self._combined(vectors, values.indices[:, 0], values.dense_shape[0], values.shape)
        if isinstance(values, tf.RaggedTensor):
            return self._combined(vectors, values.value_rowids(), values.nrows(), values.shape)
        shape = tf.convert_to_tensor(values).shape
        shaped = tf.reshape(vectors, tf.concat([tf.shape(values), [width]], axis=0))
        shaped.set_shape(shape.concatenate([width]))
        return shaped

    def _combined(self, vectors: tf.Tensor, examples: tf.Tensor, count: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
        if shape.rank not in (None, 2):
            raise ValueError(f"ragged and sparse features: expected two axes, [batch, n], got shape {shape}")
        total = tf.math.unsorted_segment_sum(vectors, examples, count)
        if self.combiner == "sum":
            return total
        number = tf.math.unsorted_segment_sum(tf.ones_like(vectors[:, :1]), examples, count)
        number = tf.maximum(number, 1)
        return total / (tf.sqrt(number) if self.combiner == "sqrtn" else number)


def _flat(values: Any) -> tf.Tensor:
    """All values of a feature, [N]."""
    if isinstance(values, tf.SparseTensor):
        return values.values
    if isinstance(values, tf.RaggedTensor):
        return values.flat_values
    return tf.reshape(tf.convert_to_tensor(values), [-1])
