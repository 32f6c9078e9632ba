"""Mixed-dimension embeddings: wide rows for frequent ids, narrow ones for rare ids, all projected to one width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from rowbank import Client, Table, TableSpec
from rowbank.calls import arrays
from rowbank.keras.embedding import Embedding
from rowbank.keras.framework import keras
from rowbank.keras.ids import as_int64
from rowbank.remote.clients import targets_of

_UNSEEN = ("own", "shared", "zeros")
_SHARED_KEY = -(2**63)  # Of the row that all unseen ids share; no id of a data set has it.

_Ids = npt.NDArray[np.int64]


@keras.saving.register_keras_serializable("rowbank")
class MDEmbedding(keras.layers.Layer):
    """Looks each id up in the table of its block, and projects its row to a common width.

    Blocks are sets of ids of similar frequency, the most frequent first; each has a table with a dim of its own. A
    batch's ids are parted by block before anything is pulled, so a table is asked for ids of its own block only. The
    server trains the rows, `compile`'s optimizer the projections, which are Dense layers with a bias; a table whose
    dim is `base_dim` has none.
    Source: Ginart et al., "Mixed Dimension Embeddings with Application to Memory-Efficient Recommendation Systems",
    ISIT 2021.

    Args:
        tables: one per block: a `TableSpec` (created if missing), or the name of an existing table.
        vocabularies: the ids of each block, none in two of them; `blocks_from` makes them of frequencies. With
            `unseen="own"` the last block's may be left out.
        base_dim: width of the output.
        unseen: what an id of no vocabulary reads. "own": a row of its own in the last table, which grows; "shared":
            one row in the last table for all of them, trained by all; "zeros": zeros, not trained.
        target, wire_dtype, client_options: as for `Embedding`.
        name, kwargs: as for any layer.
    """

    def __init__(
        self,
        tables: Sequence[str | TableSpec],
        vocabularies: Sequence[Any],
        base_dim: int,
        *,
        unseen: str = "own",
        target: str | Sequence[str] | Client | None = None,
        wire_dtype: str | None = None,
        client_options: Mapping[str, Any] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if unseen not in _UNSEEN:
            raise ValueError(f"unseen: expected one of {', '.join(_UNSEEN)}, got {unseen!r}")
        self._vocabularies = [_ids(vocabulary) for vocabulary in vocabularies]
        self._known_ids, self._known_blocks = _index(self._vocabularies, len(tables), unseen)
        self._target = target
        self.wire_dtype = wire_dtype
        self.client_options = dict(client_options or {})
        self.unseen = unseen
        self.base_dim = int(base_dim)
        self.blocks = [
            Embedding(
                table,
                target=target,
                wire_dtype=wire_dtype,
                client_options=client_options,
                name=f"block_{place}",
                dtype=kwargs.get("dtype"),
            )
            for place, table in enumerate(tables)
        ]
        self.projections: list[Any] = []
        self._policy = kwargs.get("dtype")

    @staticmethod
    def blocks_from(source: Table | tuple[Any, Any], boundaries: Sequence[int]) -> list[_Ids]:
        """Vocabularies of blocks by falling frequency; equally frequent ids go by their number.

        Args:
            source: a table, whose rows' own frequencies count; or a pair (ids [N], counts [N]) of distinct ids.
            boundaries: how many of the most frequent ids are in the first block, in the first two, and so on, rising;
                the last block gets the rest.
        Returns:
            `len(boundaries) + 1` arrays of int64 ids.
        """
        ids, counts = _frequencies(source) if isinstance(source, Table) else (_ids(source[0]), np.asarray(source[1]))
        if ids.shape != counts.shape or len(np.unique(ids)) != len(ids):
            raise ValueError(f"source: expected distinct ids and as many counts, got {ids.shape} and {counts.shape}")
        if list(boundaries) != sorted(set(boundaries)) or any(boundary < 1 for boundary in boundaries):
            raise ValueError(f"boundaries: expected rising numbers of ids of at least 1, got {list(boundaries)}")
        by_rank = ids[np.lexsort((ids, -counts.astype(np.float64)))]
        return list(np.split(by_rank, list(boundaries)))

    @property
    def tables(self) -> list[Table]:
        """The blocks' server tables, opened at the first use."""
        return [block.table for block in self.blocks]

    def build(self, input_shape: Any) -> None:
        for place, block in enumerate(self.blocks):
            block.build((None,))
            projection = None
            if block.dim != self.base_dim:
                projection = keras.layers.Dense(self.base_dim, name=f"projection_{place}", dtype=self._policy)
                projection.build((None, block.dim))
            self.projections.append(projection)
        super().build(input_shape)

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Looks ids up.

        Args:
            inputs: integer ids, a dense tensor of any shape or a ragged one.
            training: as for `Embedding`.
        Returns:
            `inputs.shape + [base_dim]`, ragged for ragged ids.
        """
        if isinstance(inputs, tf.RaggedTensor):
            return inputs.with_flat_values(self.call(inputs.flat_values, training=training))
        ids = tf.convert_to_tensor(inputs)
        if not ids.dtype.is_integer:
            raise TypeError(f"ids: expected integers, got {ids.dtype.name}; turn strings into int64 first")
        flat = tf.reshape(as_int64(ids), [-1])
        vectors = self._vectors(flat, training)
        vectors = tf.reshape(vectors, tf.concat([tf.shape(ids), [self.base_dim]], axis=0))
        vectors.set_shape(ids.shape.concatenate([self.base_dim]))
        return vectors

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the vectors for a shape of ids."""
        return tf.TensorShape(input_shape).concatenate([self.base_dim])

    def get_config(self) -> dict[str, Any]:
        """The layer's settings; the tables by name and target, so that a loaded model finds the rows it trained."""
        config: dict[str, Any] = super().get_config()
        config.update(
            tables=[block.get_config()["table"] for block in self.blocks],
            vocabularies=[vocabulary.tolist() for vocabulary in self._vocabularies],
            base_dim=self.base_dim,
            unseen=self.unseen,
            target=targets_of(self._target),
            wire_dtype=self.wire_dtype,
            client_options=dict(self.client_options),
        )
        return config

    def _vectors(self, flat: tf.Tensor, training: Any) -> tf.Tensor:
        """[N] int64 ids to [N, base_dim]: parted by block, looked up, projected, put back in order."""
        blocks, keys = self._blocks_and_keys(flat)
        count = len(self.blocks) + 1  # The last part has no table and reads zeros.
        places = tf.dynamic_partition(tf.range(tf.size(flat)), blocks, count)
        parts = tf.dynamic_partition(keys, blocks, count)
        vectors = []
        for block, projection, part in zip(self.blocks, self.projections, parts[:-1], strict=True):
            rows = block(part, training=training)
            vectors.append(rows if projection is None else projection(rows))
        vectors.append(tf.zeros([tf.size(parts[-1]), self.base_dim], self.compute_dtype))
        return tf.dynamic_stitch(places, vectors)

    def _blocks_and_keys(self, flat: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Of [N] int64 ids, [N] int32 blocks (the number of blocks for ids that read zeros) and [N] int64 keys."""
        last = len(self.blocks) - 1
        unknown = tf.fill(tf.shape(flat), last + (self.unseen == "zeros"))
        if not len(self._known_ids):
            return unknown, tf.fill(tf.shape(flat), tf.int64.min) if self.unseen == "shared" else flat
        place = tf.minimum(tf.searchsorted(self._known_ids, flat), len(self._known_ids) - 1)
        known = tf.equal(tf.gather(self._known_ids, place), flat)
        keys = tf.where(known, flat, _SHARED_KEY) if self.unseen == "shared" else flat
        return tf.where(known, tf.gather(self._known_blocks, place), unknown), keys


def _ids(values: Any) -> _Ids:
    """[N] int64, as an array of its own."""
    ids = np.asarray(values)
    if ids.ndim != 1 or (ids.size and not np.issubdtype(ids.dtype, np.integer)):
        raise ValueError(f"vocabulary: expected one axis of integer ids, got {ids.dtype} of shape {ids.shape}")
    arrays.require_int64("vocabulary", ids)
    return ids.astype(np.int64)


def _index(vocabularies: Sequence[_Ids], tables: int, unseen: str) -> tuple[_Ids, npt.NDArray[np.int32]]:
    """All ids of the vocabularies, ascending, and the block of each."""
    least = tables - 1 if unseen == "own" else tables
    if not tables or not least <= len(vocabularies) <= tables:
        raise ValueError(
            f"expected a vocabulary for each of the {tables} tables, of which unseen='own' may leave out the last's; "
            f"got {len(vocabularies)}"
        )
    ids = np.concatenate([*vocabularies, np.empty(0, np.int64)])
    blocks = np.repeat(np.arange(len(vocabularies)), [len(vocabulary) for vocabulary in vocabularies])
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    repeated = ids[1:][ids[1:] == ids[:-1]]
    if len(repeated):
        raise ValueError(f"vocabularies: expected each id once, got {repeated[0]} more often")
    return ids, blocks[order].astype(np.int32)


def _frequencies(table: Table) -> tuple[_Ids, npt.NDArray[np.uint32]]:
    """Keys and frequencies of a table's rows."""
    chunks = list(table.export())
    keys = [chunk.keys for chunk in chunks] or [np.empty(0, np.int64)]
    return np.concatenate(keys), np.concatenate([chunk.frequency for chunk in chunks] or [np.empty(0, np.uint32)])
