"""Rows in tables of TensorFlow Recommenders Addons: in this process, or on Rowbank by the one line that differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras
from tensorflow_recommenders_addons import dynamic_embedding as de

from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.errors import UsageError
from rowbank_trainer.schema.spec import TableOptions
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.plan import ModelPlan
from rowbank_trainer.two_tower.tables.base import RowTables


class UniformRows(tf_keras.initializers.Initializer):
    """Draws new rows on every call. A seeded Keras initializer would repeat itself: TFRA calls it once per lookup, and
    the new keys of each step would start as copies of those of the step before.
    """

    def __init__(self, limit: float, seed: int) -> None:
        self._limit = limit
        self._seed = seed

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> tf.Tensor:
        """A tensor of `shape`, uniform in [-limit, limit)."""
        return tf.random.uniform(shape, -self._limit, self._limit, dtype=dtype or tf.float32, seed=self._seed)


class TfraTables(RowTables):
    """TFRA's layers over the tables that `creator` makes.

    Args:
        plan: which tables.
        config: the seed.
        creator: a `de.KVCreator`: this argument is all that tells a table in this process from one on Rowbank.
        restrict_policy: class of the policy that `restrict` follows, None if it is never called.
        names: what each table is called.
    Raises:
        UsageError: the schema asks for what these tables cannot do.
    """

    def __init__(
        self,
        plan: ModelPlan,
        config: TwoTowerConfig,
        *,
        creator: Any,
        restrict_policy: Any,
        names: Mapping[str, str],
    ) -> None:
        _require_plain(plan)
        self.layers = {
            table.name: de.keras.layers.Embedding(
                table.dim,
                initializer=UniformRows(table.initial_range, config.seed + index),
                devices=["/CPU:0"],
                kv_creator=creator,
                restrict_policy=restrict_policy,
                name=names[table.name],
            )
            for index, table in enumerate(plan.tables)
        }
        self._dims = {table.name: table.dim for table in plan.tables}
        self.table_names = {}

    def optimizer(self, learning_rate: float) -> Any:
        # The optimizers of the `legacy` module keep slots per table; with the newer ones TFRA reads and writes the
        # slots of every table for each table.
        return de.DynamicEmbeddingOptimizer(tf_keras.optimizers.legacy.Adam(learning_rate))

    def rows(self, table: str, keys: Ids) -> npt.NDArray[np.float32]:
        if not len(keys):
            return np.zeros((0, self._dims[table]), np.float32)
        found, exists = self.variable(table).lookup(tf.constant(keys), return_exists=True)
        return np.where(exists.numpy()[:, None], found.numpy(), np.float32(0.0))

    def sizes(self) -> dict[str, int]:
        return {name: int(self.variable(name).size()) for name in self.layers}

    def restrict(self, table: str, *, num_reserved: int, trigger: int) -> int:
        variable = self.variable(table)
        before = int(variable.size())
        variable.restrict(num_reserved, trigger=trigger)
        return before - int(variable.size())

    def variable(self, table: str) -> Any:
        """The `de.Variable` of one table."""
        return self.layers[table].params


def local_tables(plan: ModelPlan, config: TwoTowerConfig, names: Mapping[str, str]) -> TfraTables:
    """Tables in this process, in TFRA's own hash table."""
    return TfraTables(
        plan,
        config,
        creator=de.CuckooHashTableCreator(),
        restrict_policy=de.FrequencyRestrictPolicy,
        names=names,
    )


def _require_plain(plan: ModelPlan) -> None:
    plain = TableOptions()
    for table in plan.tables:
        options = table.options
        for name in ("admission", "eviction", "value_dtype"):
            if getattr(options, name) != getattr(plain, name):
                raise UsageError(
                    f"schema: table {table.name!r} has {name}, which tables of TFRA do not know; train --tables "
                    f"rowbank, or leave {name} out"
                )
