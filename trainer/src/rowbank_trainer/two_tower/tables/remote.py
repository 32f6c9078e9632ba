"""Rows on a Rowbank parameter server, read and trained by `rowbank.keras` layers; the server runs the optimizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tf_keras

import rowbank.keras
from rowbank import Adam, Client, TableSpec, Uniform
from rowbank.parquet import import_table
from rowbank.table import Table
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.tables.base import RowTables, TableKind

_EVERY_ROW = 2**31 - 1


def table_spec(name: str, config: TwoTowerConfig, *, seed: int, drawn_as: str) -> TableSpec:
    """The spec of a table named `name`, trained as the model's other weights are.

    Args:
        seed, drawn_as: initial rows are those of a table named `drawn_as` with that seed, whatever it is called itself:
            so all runs of a model begin alike.
    """
    return TableSpec(
        name,
        dim=config.dim,
        initializer=Uniform(-config.initial_range, config.initial_range, seed=_seed_for(name, drawn_as, seed)),
        optimizer=Adam(config.learning_rate),
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
    """A user table and an item table on the server, by name.

    Args:
        names: of the tables, by kind.
        drawn_as: names whose initial rows they have, by kind; None: tables that are there are taken as they are, and
            their optimizer gets the learning rate of `config`.
        take_over: accept tables that are there, with their rows; otherwise they must not exist.
        rows: table name -> a file of rows to start with.
    Raises:
        TableNotFound, TableExists: a table is not there, or is, or is another one.
    """

    def __init__(
        self,
        client: Client,
        config: TwoTowerConfig,
        names: Mapping[TableKind, str],
        *,
        drawn_as: Mapping[TableKind, str] | None,
        take_over: bool = False,
        rows: Mapping[str, Path] | None = None,
    ) -> None:
        self.table_names = dict(names)
        self._client = client
        self._tables: dict[TableKind, Table] = {}
        for index, (kind, name) in enumerate(names.items()):
            if drawn_as is None:
                self._tables[kind] = _with_rate(client, client.table(name), config.learning_rate)
            else:
                spec = table_spec(name, config, seed=config.seed + index, drawn_as=drawn_as[kind])
                self._tables[kind] = client.create_table(spec, exist_ok=take_over)
            if rows is not None:
                import_table(client, str(rows[name]), name)
        specs = {kind: table.spec for kind, table in self._tables.items()}
        self.user_layer = rowbank.keras.Embedding(specs["user"], target=client, name="user_rows")
        self.item_layer = rowbank.keras.SquashedEmbedding(
            specs["item"], target=client, combiner="mean", name="item_rows"
        )

    def optimizer(self, learning_rate: float) -> Any:
        return tf_keras.optimizers.legacy.Adam(learning_rate)

    def set_learning_rate(self, rate: float) -> None:
        for kind, table in self._tables.items():
            self._tables[kind] = _with_rate(self._client, table, rate)

    def rows(self, kind: TableKind, keys: Ids) -> npt.NDArray[np.float32]:
        return self._tables[kind].pull(keys)

    def sizes(self) -> dict[str, int]:
        return {kind: table.size() for kind, table in self._tables.items()}

    def frequencies(self, kind: TableKind) -> tuple[Ids, npt.NDArray[np.uint32]]:
        top = self._tables[kind].top(_EVERY_ROW)
        return top.keys, top.frequency

    def restrict(self, kind: TableKind, *, num_reserved: int, trigger: int) -> int:
        return self._tables[kind].restrict(num_reserved, trigger=trigger).evicted


def named_tables(prefix: str, item_table: str) -> dict[TableKind, str]:
    """`<prefix>.user`, and `<prefix>.title` or `<prefix>.item`."""
    return {"user": f"{prefix}.user", "item": f"{prefix}.{item_table}"}


def _with_rate(client: Client, table: Table, learning_rate: float) -> Table:
    optimizer: Any = table.spec.optimizer  # Each kind of optimizer has a learning rate.
    if np.float32(optimizer.learning_rate) == np.float32(learning_rate):
        return table
    changed = dataclasses.replace(optimizer, learning_rate=learning_rate)
    return client.update_table(dataclasses.replace(table.spec, optimizer=changed))
