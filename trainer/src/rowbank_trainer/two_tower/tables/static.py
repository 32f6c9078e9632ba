"""Rows in a Keras embedding of fixed size: the yardstick for the tables that grow."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tf_keras

from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.objective import Objective
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.tables.base import RowTables


class StaticTables(RowTables):
    """One dense matrix per table with a row for each key of the dataset, all of them there from the start.

    Rows that no training interaction can reach count as missing, as they are where tables grow.
    """

    def __init__(self, problem: Problem, config: TwoTowerConfig) -> None:
        self._vocabulary = {name: problem.features.keys(name) for name in problem.plan.table_names}
        self._draws = bool(Objective.parse(config.loss).negatives(config.batch_size))
        self.reached(problem)
        self.layers = {
            table.name: tf_keras.layers.Embedding(
                max(len(self._vocabulary[table.name]), 1),  # Also where no entity has a value.
                table.dim,
                embeddings_initializer=tf_keras.initializers.RandomUniform(
                    -table.initial_range, table.initial_range, seed=config.seed + index
                ),
                name=f"{table.name}_embedding",
            )
            for index, table in enumerate(problem.plan.tables)
        }
        for embedding in self.layers.values():
            embedding.build((None,))
        self.table_names = {}

    def reached(self, problem: Problem) -> None:
        items = None if self._draws else np.flatnonzero(problem.item_counts)
        self._trained = {
            name: problem.features.keys(name, users=problem.trained_users, items=items)
            for name in problem.plan.table_names
        }

    def optimizer(self, learning_rate: float) -> Any:
        return tf_keras.optimizers.legacy.Adam(learning_rate)

    def encode(self, table: str, keys: Ids) -> Ids:
        """Positions in the vocabulary, which holds every key of the dataset."""
        return np.searchsorted(self._vocabulary[table], keys).astype(np.int64)

    def rows(self, table: str, keys: Ids) -> npt.NDArray[np.float32]:
        matrix: npt.NDArray[np.float32] = self.layers[table].embeddings.numpy()
        places = np.minimum(self.encode(table, keys), len(matrix) - 1)
        return np.where(np.isin(keys, self._trained[table])[:, None], matrix[places], np.float32(0.0))

    def sizes(self) -> dict[str, int]:
        return {name: len(keys) for name, keys in self._vocabulary.items()}

    def restrict(self, table: str, *, num_reserved: int, trigger: int) -> int:
        raise NotImplementedError(f"a static table cannot be restricted (table {table!r}, {num_reserved}, {trigger})")
