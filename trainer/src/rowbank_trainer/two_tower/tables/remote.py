"""Rows on a Rowbank parameter server, read and trained by `rowbank.keras` layers; the server runs the optimizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

import rowbank.keras
from rowbank import Adam, Client, TableSpec, Uniform
from rowbank.parquet import import_table
from rowbank.table import Table
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.default_schema import ITEM_TABLE
from rowbank_trainer.two_tower.plan import ModelPlan, RowTable
from rowbank_trainer.two_tower.tables.base import RowTables

_EVERY_ROW = 2**31 - 1


def table_spec(table: RowTable, name: str, config: TwoTowerConfig, *, seed: int, drawn_as: str) -> TableSpec:
    """The spec of a table named `name`, trained as the model's other weights are.

    Args:
        seed, drawn_as: initial rows are those of a table named `drawn_as` with that seed, whatever it is called itself:
            so all runs of a model begin alike.
    """
    options, limit = table.options, table.initial_range
    return TableSpec(
        name,
        dim=table.dim,
        value_dtype=options.value_dtype,
        initializer=Uniform(-limit, limit, seed=_seed_for(name, drawn_as, seed)),
        optimizer=Adam(config.learning_rate),
        admission=options.admission,
        eviction=options.eviction,
    )


def _seed_for(name: str, drawn_as: str, seed: int) -> int:
    """The seed with which a table draws what another one draws with `seed`.

    A server mixes a seed with the FNV-1a hash of the table's name by exclusive or, which undoes itself.
    """
    return seed ^ _fnv1a(drawn_as) ^ _fnv1a(name)


def _fnv1a(text: str) -> int:
    digest = 0xCBF29CE484222325
    for byte in text.encode():
        digest = (digest ^ byte) * 0x100000001B3 % 2**64
    return digest


class RemoteTables(RowTables):
    """Tables on the server, by name.

    Args:
        plan: which tables.
        names: of the tables on the server.
        drawn_as: names whose initial rows they have; None: tables that are there are taken as they are, and their
            optimizer gets the learning rate of `config`.
        take_over: accept tables that are there, with their rows; otherwise they must not exist.
        rows: table name -> a file of rows to start with.
    Raises:
        TableNotFound, TableExists: a table is not there, or is, or is another one.
    """

    def __init__(
        self,
        client: Client,
        plan: ModelPlan,
        config: TwoTowerConfig,
        names: Mapping[str, str],
        *,
        drawn_as: Mapping[str, str] | None,
        take_over: bool = False,
        rows: Mapping[str, Path] | None = None,
    ) -> None:
        self.table_names = {table.name: names[table.name] for table in plan.tables}
        self._client = client
        self._tables: dict[str, Table] = {}
        for index, table in enumerate(plan.tables):
            name = names[table.name]
            if drawn_as is None:
                self._tables[table.name] = _with_rate(client, client.table(name), config.learning_rate)
            else:
                spec = table_spec(table, name, config, seed=config.seed + index, drawn_as=drawn_as[table.name])
                self._tables[table.name] = client.create_table(spec, exist_ok=take_over)
            if rows is not None:
                import_table(client, str(rows[name]), name)
        # By name: a spec would be an old one, once a schedule has changed the learning rate.
        self.layers = {
            short: rowbank.keras.DistinctEmbedding(table.name, target=client, name=f"{short}_rows".replace(".", "_"))
            for short, table in self._tables.items()
        }

    def distinct_rows(self, table: str, keys: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # The layer counts how often each key occurs, which the table's frequencies are of.
        rows, places = self.layers[table](keys)
        return rows, places

    def optimizer(self, learning_rate: float) -> Any:
        return tf_keras.optimizers.legacy.Adam(learning_rate)

    def set_learning_rate(self, rate: float) -> None:
        for short, table in self._tables.items():
            self._tables[short] = _with_rate(self._client, table, rate)

    def rows(self, table: str, keys: Ids) -> npt.NDArray[np.float32]:
        return self._tables[table].lookup(keys).values

    def sizes(self) -> dict[str, int]:
        return {short: table.size() for short, table in self._tables.items()}

    def frequencies(self, table: str) -> tuple[Ids, npt.NDArray[np.uint32]]:
        top = self._tables[table].top(_EVERY_ROW)
        return top.keys, top.frequency

    def restrict(self, table: str, *, num_reserved: int, trigger: int) -> int:
        return self._tables[table].restrict(num_reserved, trigger=trigger).evicted


def named_tables(prefix: str, plan: ModelPlan) -> dict[str, str]:
    """`<prefix>.<table>`; a table of items that are known by the words of their titles alone is `<prefix>.title`."""
    return {name: f"{prefix}.{last}" for name, last in last_parts(plan).items()}


def last_parts(plan: ModelPlan) -> dict[str, str]:
    """Last parts of the tables' names, by their short ones."""
    of_words = {part.table.name for one in plan.item.columns if one.column.type == "text" for part in one.parts}
    words_alone = len(plan.item.columns) == 1 and ITEM_TABLE in of_words
    return {name: "title" if name == ITEM_TABLE and words_alone else name for name in plan.table_names}


def _with_rate(client: Client, table: Table, learning_rate: float) -> Table:
    optimizer: Any = table.spec.optimizer  # Each kind of optimizer has a learning rate.
    if np.float32(optimizer.learning_rate) == np.float32(learning_rate):
        return table
    changed = dataclasses.replace(optimizer, learning_rate=learning_rate)
    return client.update_table(dataclasses.replace(table.spec, optimizer=changed))
