"""Rows on a Rowbank parameter server, read and trained by `rowbank.keras` layers; the server runs the optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tf_keras

import rowbank.keras
from rowbank import Adam, Client, TableSpec, Uniform
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.tables.base import TABLE_KINDS, RowTables, TableKind


def table_spec(name: str, config: TwoTowerConfig, *, seed: int) -> TableSpec:
    """The spec of a table named `name`, trained as the model's other weights are."""
    return TableSpec(
        name,
        dim=config.dim,
        initializer=Uniform(-config.initial_range, config.initial_range, seed=seed),
        optimizer=Adam(config.learning_rate),
    )


class RemoteTables(RowTables):
    """Tables `<prefix>.user` and `<prefix>.title`; they start empty, whatever an earlier run left."""

    def __init__(self, client: Client, config: TwoTowerConfig, *, prefix: str) -> None:
        self.table_names = {kind: f"{prefix}.{kind}" for kind in TABLE_KINDS}
        specs = {}
        self._tables = {}
        for index, (kind, name) in enumerate(self.table_names.items()):
            specs[kind] = table_spec(name, config, seed=config.seed + index)
            client.drop_table(name, missing_ok=True)
            self._tables[kind] = client.create_table(specs[kind])
        self.user_layer = rowbank.keras.Embedding(specs["user"], target=client, name="user_rows")
        self.title_layer = rowbank.keras.SquashedEmbedding(
            specs["title"], target=client, combiner="mean", name="title_rows"
        )

    def optimizer(self, learning_rate: float) -> Any:
        return tf_keras.optimizers.legacy.Adam(learning_rate)

    def rows(self, kind: TableKind, keys: Ids) -> npt.NDArray[np.float32]:
        return self._tables[kind].pull(keys)

    def sizes(self) -> dict[str, int]:
        return {kind: table.size() for kind, table in self._tables.items()}

    def restrict(self, kind: TableKind, *, num_reserved: int, trigger: int) -> int:
        return self._tables[kind].restrict(num_reserved, trigger=trigger).evicted
