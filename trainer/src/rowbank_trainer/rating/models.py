"""The compared models, on tables of either kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

import rowbank.keras
from rowbank import Adam, Client, Table, TableSpec, Uniform
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.rating import static
from rowbank_trainer.rating.config import Model, RatingConfig
from rowbank_trainer.rating.problem import Problem
from rowbank_trainer.schema import MixedDimension, QuotientRemainder, TableOptions


@dataclass(frozen=True, slots=True)
class Built:
    """A compiled model, and how to count what it learned.

    Attributes:
        parameters: counts the numbers that it trains: those of rows that exist, and of projections.
        table_names: on the server, if its tables are there.
    """

    model: tf_keras.Model
    parameters: Callable[[], int]
    table_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Side:
    """Users, or items: their ids ([N] int64, ascending), ratings in training, and how they are kept."""

    name: str
    ids: Ids
    counts: Ids
    options: TableOptions
    initial_range: float

    @property
    def dim(self) -> int:
        """Of a vector."""
        assert self.options.dim is not None
        return self.options.dim


def _sides(kind: Model, problem: Problem, config: RatingConfig) -> tuple[_Side, _Side]:
    user, item = config.tables(kind, len(problem.user_ids))
    return (
        _Side("user", problem.user_ids, problem.user_counts, user, user.initial_range or config.initial_range),
        _Side("item", problem.item_ids, problem.item_counts, item, item.initial_range or config.initial_range),
    )


def build_static(kind: Model, problem: Problem, config: RatingConfig) -> Built:
    """A model with matrices in this process, a row for every id of the data set."""
    user, item = (static.Looked(side.ids, _static(side), side.name) for side in _sides(kind, problem, config))
    model = _compiled(user, item, config)
    return Built(model, model.count_params, ())


def _static(side: _Side) -> Any:
    """A layer of places among the ids."""
    how, count, dim, initial = side.options.embedding, len(side.ids), side.dim, side.initial_range
    if isinstance(how, QuotientRemainder):
        return static.QuotientRemainder(count, dim, how.buckets, initial, how.combiner)
    if isinstance(how, MixedDimension):
        blocks = rowbank.keras.MDEmbedding.blocks_from((np.arange(count), side.counts), how.boundaries(count))
        return static.MixedDimension(blocks, how.dims, dim, initial)
    return static.embedding(count, dim, initial, name=f"{side.name}_rows")


def build_remote(
    kind: Model, problem: Problem, config: RatingConfig, client: Client, *, prefix: str, seed: int
) -> Built:
    """A model whose tables are on a server, named `<prefix>.<model>.…`; they start empty, whatever was there."""
    opened: list[Table] = []

    def layer(side: _Side) -> Any:
        def fresh(name: str, dim: int) -> str:
            full = f"{prefix}.{kind.value}.{name}"
            client.drop_table(full, missing_ok=True)
            opened.append(client.create_table(_spec(full, dim, side, config, seed)))
            return full

        return _remote(side, fresh, client)

    user, item = (layer(side) for side in _sides(kind, problem, config))
    model = _compiled(user, item, config)
    projections = [part for side in (user, item) for part in getattr(side, "projections", ()) if part is not None]

    def parameters() -> int:
        rows = sum(table.size() * table.dim for table in opened)
        return rows + sum(projection.count_params() for projection in projections)

    return Built(model, parameters, tuple(table.name for table in opened))


def _remote(side: _Side, fresh: Callable[[str, int], str], client: Client) -> Any:
    """A layer of ids; `fresh` makes a table of a name and a dim."""
    how, count, dim = side.options.embedding, len(side.ids), side.dim
    if isinstance(how, QuotientRemainder):
        table = fresh(side.name, dim)
        return rowbank.keras.QREmbedding(table, how.buckets, how.combiner, target=client, name=side.name)
    if isinstance(how, MixedDimension):
        blocks = rowbank.keras.MDEmbedding.blocks_from((side.ids, side.counts), how.boundaries(count))
        tables = [fresh(f"{side.name}.{number}", width) for number, width in enumerate(how.dims)]
        return rowbank.keras.MDEmbedding(tables, blocks[:-1], dim, target=client, name=side.name)
    return rowbank.keras.Embedding(fresh(side.name, dim), target=client, name=side.name)


def _spec(name: str, dim: int, side: _Side, config: RatingConfig, seed: int) -> TableSpec:
    options = side.options
    return TableSpec(
        name,
        dim=dim,
        value_dtype=options.value_dtype,
        initializer=Uniform(-side.initial_range, side.initial_range, seed=seed),
        optimizer=Adam(config.learning_rate),
        admission=options.admission,
        eviction=options.eviction,
    )


def _compiled(user: Any, item: Any, config: RatingConfig) -> tf_keras.Model:
    """Five times the sigmoid of the dot product of a user's and an item's vector, fitted to stars by squared error."""
    ids = {name: tf_keras.Input([], dtype=tf.int64, name=name) for name in ("user_id", "item_id")}
    score = tf_keras.layers.Dot(axes=1)([user(ids["user_id"]), item(ids["item_id"])])
    model = tf_keras.Model(ids, tf_keras.activations.sigmoid(score) * 5.0)
    model.compile(
        optimizer=tf_keras.optimizers.Adam(config.learning_rate),
        loss=tf_keras.losses.MeanSquaredError(),
        metrics=[tf_keras.metrics.MeanAbsoluteError(name="mae")],
    )
    return model
