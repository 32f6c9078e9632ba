"""Frozen rows for serving: a module with the tables inside, which needs no server and no operations of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from rowbank.calls import arrays
from rowbank.keras.ids import as_int64_in_graph
from rowbank.remote.configs import FeatureConfig, flatten, match, pack_like
from rowbank.remote.tables import RemoteTables, named_features, table_configs

_EMPTY_KEY = np.iinfo(np.int64).max


class FrozenTable(tf.Module):
    """Rows of one table under sorted keys; other ids read zeros.

    The keys are searched by halves: variables of any size can be saved, unlike constants of a hash table, and nothing
    needs to be initialized.

    Args:
        keys: [N] int64, distinct.
        rows: [N, dim] float32.
    """

    def __init__(self, name: str, keys: npt.NDArray[np.int64], rows: npt.NDArray[np.float32]) -> None:
        super().__init__(name="table")
        order = np.argsort(keys)
        padded = np.append(keys[order], _EMPTY_KEY)  # So that every search ends within.
        self.table = name
        self.size = len(keys)
        self.keys = tf.Variable(padded, trainable=False, name="keys")
        unseen = np.zeros((1, rows.shape[1]), np.float32)
        self.rows = tf.Variable(np.concatenate([rows[order], unseen]), trainable=False, name="rows")

    def lookup(self, ids: tf.Tensor) -> tf.Tensor:
        """[...] int64 ids -> [..., dim] float32 rows."""
        flat = tf.reshape(ids, [-1])
        place = tf.minimum(tf.searchsorted(self.keys, flat, side="left"), self.size)
        place = tf.where(tf.gather(self.keys, place) == flat, place, self.size)
        return tf.reshape(tf.gather(self.rows, place), tf.concat([tf.shape(ids), [self.rows.shape[1]]], axis=0))


class ServingEmbedding(tf.Module):
    """Activations of features from frozen rows; made by `RemoteEmbedding.serving`.

    Call it with features (and weights) nested as its configuration, in a model of yours or by itself. `save` writes it
    as a SavedModel.

    Args:
        feature_config: nested `FeatureConfig`s.
        tables: table name -> (keys [N], rows [N, dim]).
    """

    def __init__(self, feature_config: Any, tables: Mapping[str, tuple[Any, Any]]) -> None:
        super().__init__(name="serving")
        # As a function, for TensorFlow would wrap and track nested containers.
        self._config: Callable[[], Any] = lambda: feature_config
        self._features: Callable[[], dict[str, FeatureConfig]] = lambda: named_features(feature_config)
        self._frozen = [FrozenTable(name, keys, rows) for name, (keys, rows) in sorted(tables.items())]

    def __call__(self, features: Any, weights: Any = None) -> Any:
        """Looks features up.

        Args:
            features: nested as the configuration: integer tensors, dense, ragged [batch, (n)] or sparse.
            weights: None, or nested alike.
        Returns:
            Nested alike: the activations that training has, of rows as they were when they were frozen.
        """
        config = self._config()
        ids = match(config, features, "features")
        given = [None] * len(ids) if weights is None else match(config, weights, "weights")
        tables = {table.table: table for table in self._frozen}
        found = [
            _activation(tables[feature.table.name], feature, part, weight)
            for feature, part, weight in zip(self._features().values(), ids, given, strict=True)
        ]
        return pack_like(config, found)

    def save(self, path: str, signature: Any) -> None:
        """Writes a SavedModel: `tf.saved_model.load(path).lookup(features)`, and a signature where all is dense.

        Args:
            signature: nested as the configuration: `tf.TensorSpec`, `tf.RaggedTensorSpec` or `tf.SparseTensorSpec` of
                int32 or int64.
        """
        match(self._config(), signature, "signature")
        self.lookup = tf.function(lambda features: self(features), input_signature=[signature])
        leaves = flatten(signature)
        signatures = None
        if all(isinstance(spec, tf.TensorSpec) for _, spec in leaves):
            config, names = self._config(), list(self._features())

            def serve(**features: tf.Tensor) -> dict[str, tf.Tensor]:
                activations = self(pack_like(config, [features[_argument(name)] for name in names]))
                return {_argument(name): part for name, part in zip(names, _leaves(activations), strict=True)}

            specs = {
                _argument(name): tf.TensorSpec(spec.shape, spec.dtype, name=_argument(name))
                for name, (_, spec) in zip(names, leaves, strict=True)
            }
            signatures = {"serving_default": tf.function(serve).get_concrete_function(**specs)}
        tf.saved_model.save(self, path, signatures=signatures)


def frozen_rows(
    tables: RemoteTables, wanted: Any, keys: Mapping[str, Any], local: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """The rows that features need: table name -> (keys [N] int64, rows [N, dim] float32).

    Args:
        tables: whose features these are.
        wanted: nested configurations.
        keys: table name -> the only ids to be read, as a pull reads them.
        local: table name -> [vocabulary_size, dim] rows of tables that are not on the server.
    Raises:
        ValueError: a feature or table is unknown.
    """
    configs = table_configs(named_features(wanted))
    known = tables.configs
    for name, config in configs.items():
        if known.get(name) != config:
            raise ValueError(f"features: expected tables of {', '.join(known)} as configured, got {name!r}")
    if unknown := set(keys) - set(configs):
        raise ValueError(f"keys: expected tables of {', '.join(configs)}, got {', '.join(sorted(unknown))}")
    found: dict[str, tuple[Any, Any]] = {}
    for name in configs:
        if name in local:
            found[name] = np.arange(len(local[name])), local[name]
        else:
            found[name] = _of_keys(tables, name, keys[name]) if name in keys else _whole(tables, name)
    return found


def _of_keys(tables: RemoteTables, name: str, keys: Any) -> tuple[Any, Any]:
    given = np.asarray(keys)
    arrays.require_int64(f"keys of table {name!r}", given)
    distinct = np.unique(given.astype(np.int64))
    return distinct, tables.client.pull({name: distinct})[name]


def _whole(tables: RemoteTables, name: str) -> tuple[Any, Any]:
    keys, rows = [np.zeros(0, np.int64)], [np.zeros((0, tables.configs[name].dim), np.float32)]
    for chunk in tables.client.table(name).export():
        keys.append(chunk.keys)
        rows.append(chunk.values)
    return np.concatenate(keys), np.concatenate(rows)


def _activation(table: FrozenTable, config: FeatureConfig, ids: Any, weights: Any) -> tf.Tensor:
    if isinstance(ids, tf.SparseTensor):
        return _sparse(table, config, ids, weights)
    if isinstance(ids, tf.RaggedTensor):
        sparse_weights = None if weights is None else weights.to_sparse()
        return _sparse(table, config, ids.to_sparse(), sparse_weights, ragged=True)
    if config.max_sequence_length > 0:
        raise ValueError(f"feature of table {table.table!r}: a sequence is ragged or sparse, got dense ids")
    return table.lookup(as_int64_in_graph(ids))


def _sparse(table: FrozenTable, config: FeatureConfig, ids: Any, weights: Any, *, ragged: bool = False) -> tf.Tensor:
    flat, places = as_int64_in_graph(ids.values), ids.indices
    weight = tf.ones_like(flat, tf.float32) if weights is None else tf.cast(weights.values, tf.float32)
    if config.validate_weights_and_indices:
        kept = flat >= 0
        if config.table.combiner != "sum":
            kept &= weight > 0
        flat, places, weight = flat[kept], places[kept], weight[kept]
    leading, rank = ids.dense_shape[:-1], ids.dense_shape.shape[0] or ids.shape.rank
    strides = tf.math.cumprod(leading, exclusive=True, reverse=True)
    example = tf.reduce_sum(places[:, :-1] * strides, axis=1)
    examples = tf.reduce_prod(leading)
    length, shape = config.max_sequence_length if rank == 2 else 0, leading
    if config.output_shape is not None:
        length = 0
        if ragged and len(config.output_shape) > 1:
            length = _places_of_an_example(table.table, config.output_shape)
        shape = tf.stack([tf.cast(leading[0] if size is None else size, tf.int64) for size in config.output_shape])
    elif length:
        shape = tf.concat([leading, [length]], axis=0)
    rows = table.lookup(flat)
    dim = tf.cast(tf.shape(rows)[1:], tf.int64)
    if length:
        return _in_sequence(rows, example, places[:, -1], examples, length, tf.concat([shape, dim], axis=0), config)
    total = tf.math.unsorted_segment_sum(rows * weight[:, None], example, examples)
    if config.table.combiner != "sum":
        squared = weight * weight if config.table.combiner == "sqrtn" else weight
        divisor = tf.math.unsorted_segment_sum(squared, example, examples)
        divisor = tf.sqrt(divisor) if config.table.combiner == "sqrtn" else divisor
        total = tf.math.divide_no_nan(total, divisor[:, None])
    return tf.reshape(total, tf.concat([shape, dim], axis=0))


def _in_sequence(
    rows: tf.Tensor, example: tf.Tensor, position: tf.Tensor, examples: tf.Tensor, length: int, shape: tf.Tensor,
    config: FeatureConfig,
) -> tf.Tensor:  # fmt: skip
    kept = position < length
    place = example[kept] * length + position[kept]
    flat = tf.math.unsorted_segment_sum(rows[kept], place, examples * length)
    sequence = tf.reshape(flat, shape)
    if config.output_shape is None:
        sequence.set_shape([None, length, config.table.dim])
    return sequence


def _places_of_an_example(table: str, shape: Any) -> int:
    if shape[0] is not None:
        raise ValueError(
            f"feature of table {table!r}: output_shape {shape}: to serve any batch, let it begin with None"
        )
    return int(np.prod(shape[1:]))


def _argument(name: str) -> str:
    """A feature's name as the name of an argument."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _leaves(structure: Any) -> list[Any]:
    return [leaf for _, leaf in flatten(structure)]
