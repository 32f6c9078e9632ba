"""Training interactions as batches of what a model takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from rowbank_trainer.data.dataset import Ids, KeyLists
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.features import ColumnValues
from rowbank_trainer.two_tower.objective import Objective
from rowbank_trainer.two_tower.probabilities import COUNT_FLOOR, log_probabilities
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.tables.base import RowTables


@dataclass(frozen=True, slots=True)
class _Column:
    """One column of one side.

    Attributes:
        name: "<side>/<column>".
        keys: by "<side>/<part>", as tables take them: [N] of columns with exactly one key, else [N + 1, (n)], whose
            last list is empty.
        blocks: [N + 1, (n)] the block of each key, of which each part takes its own.
        numbers: [N + 1] float32, NaN where missing, as the last is.
        dropout: as the column has it.
        missing: the position of no value.
        by_interaction: whether N are training interactions and not entities.
    """

    name: str
    keys: dict[str, tf.Tensor | tf.RaggedTensor]
    blocks: tf.RaggedTensor | None
    numbers: tf.Tensor | None
    dropout: float
    missing: int
    by_interaction: bool = False


class BatchSource:
    """Batches of the inputs of `TwoTower.compute_loss`.

    Args:
        histories: keys for each training interaction, by user column, in the place of those that its user has.
        log_q: of the model, [M] float32, by which an epoch's wrong items are drawn as it stands when the epoch begins;
            None: by the counts of the data.
    """

    def __init__(
        self,
        problem: Problem,
        tables: RowTables,
        config: TwoTowerConfig,
        histories: Mapping[str, KeyLists] | None = None,
        log_q: tf.Variable | None = None,
    ) -> None:
        features = problem.features
        self._columns = {
            name: [_column(name, one, len(side.ids), tables) for one in side.columns]
            for name, side in features.sides.items()
        }
        self._columns["user"] = [
            _of_interactions(column, one, (histories or {}).get(one.plan.column.name), len(problem.train), tables)
            for column, one in zip(self._columns["user"], features.user.columns, strict=True)
        ]
        self._items = tf.constant(problem.train_positions)
        self._users = tf.constant(features.user.positions(problem.train.user_ids))
        self._weights = None if problem.train.weights is None else tf.constant(problem.train.weights)
        self._batch_size, self._seed = config.batch_size, config.seed
        self._catalogue, self._power = len(problem.catalogue), config.negative_power
        counted = log_probabilities(problem.item_counts, floor=COUNT_FLOOR)
        self._log_q = tf.constant(counted) if log_q is None else log_q
        self._drawn = Objective.parse(config.loss).negatives(config.batch_size)

    def batches(self, order: Ids, *, drop_remainder: bool) -> tf.data.Dataset:
        """The interactions at `order` ([N] int64 rows), in that order."""
        rows = tf.data.Dataset.from_tensor_slices(order)
        ends = None
        if self._drawn and self._power:
            shares = np.exp(self._power * self._log_q.numpy().astype(np.float64))
            ends = tf.constant(np.cumsum(shares) / shares.sum())

        def gather(part: tf.Tensor) -> dict[str, tf.Tensor]:
            return self._gather(part, ends)

        return rows.batch(self._batch_size, drop_remainder=drop_remainder).map(gather).prefetch(2)

    def _draw(self, seed: tf.Tensor, ends: tf.Tensor | None) -> tf.Tensor:
        """Catalogue positions, [N] int64: evenly, or by shares that end at `ends` ([M] float64, up to 1)."""
        if ends is None:
            return tf.random.stateless_uniform([self._drawn], seed=seed, maxval=self._catalogue, dtype=tf.int64)
        thrown = tf.random.stateless_uniform([self._drawn], seed=seed, dtype=tf.float64)
        found = tf.searchsorted(ends, thrown, side="right", out_type=tf.int64)
        return tf.minimum(found, self._catalogue - 1)  # The last end may be rounded below 1.

    def _gather(self, rows: tf.Tensor, ends: tf.Tensor | None) -> dict[str, tf.Tensor]:
        item = tf.gather(self._items, rows)
        inputs, items = {"item": item}, item
        # What is drawn is a function of the order, and so of seed and epoch: a training that is resumed draws the same.
        seed = tf.stack([rows[0] ^ self._seed, rows[-1]])
        if self._drawn:
            inputs["drawn"] = self._draw(seed, ends)
            items = tf.concat([item, inputs["drawn"]], axis=0)
        if self._weights is not None:
            inputs["weight"] = tf.gather(self._weights, rows)
        for side, entities in (("user", tf.gather(self._users, rows)), ("item", items)):
            for place, column in enumerate(self._columns[side]):
                salt = tf.constant([0, 1 + place + 1000 * (side == "item")], tf.int64)
                inputs |= _taken(column, rows if column.by_interaction else entities, seed + salt)
        return inputs


def epoch_order(count: int, *, seed: int, epoch: int, worker: int = 0, workers: int = 1) -> Ids:
    """The order in which an epoch (from 1) goes through `count` interactions: a worker's part of one permutation."""
    order = np.random.default_rng((seed, epoch)).permutation(count).astype(np.int64)
    return order[: count // workers * workers][worker::workers]


def _column(side: str, values: ColumnValues, count: int, tables: RowTables) -> _Column:
    column = values.plan.column
    name, numbers, blocks = f"{side}/{column.name}", None, None
    keys: dict[str, tf.Tensor | tf.RaggedTensor] = {}
    if values.numbers is not None:
        numbers = tf.constant(np.append(values.numbers, np.float32(np.nan)))
    elif values.keys is not None:
        starts = np.append(values.keys.starts, values.keys.starts[-1])
        whole = column.type == "id" and not column.dropout and values.blocks is None
        if values.blocks is not None:
            found = tf.constant(values.blocks.of(values.keys.values))
            blocks = tf.RaggedTensor.from_row_splits(found, tf.constant(starts))
        for part in values.plan.parts:
            encoded = tf.constant(tables.encode(part.table.name, values.part_keys(part, values.keys.values)))
            keys[f"{side}/{part.input}"] = (
                encoded if whole else tf.RaggedTensor.from_row_splits(encoded, tf.constant(starts))
            )
    return _Column(name, keys, blocks, numbers, column.dropout, count)


def _of_interactions(
    column: _Column, values: ColumnValues, histories: KeyLists | None, count: int, tables: RowTables
) -> _Column:
    """The column with keys for each of `count` training interactions, if there are such keys."""
    if histories is None:
        return column
    keyed = dataclasses.replace(values, keys=histories)
    return dataclasses.replace(_column("user", keyed, count, tables), by_interaction=True)


def _taken(column: _Column, entities: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    """A column's inputs for entities ([N] int64 positions), some of which go without."""
    if column.dropout:
        gone = tf.random.stateless_uniform(tf.shape(entities), seed=seed) < column.dropout
        entities = tf.where(gone, tf.constant(column.missing, tf.int64), entities)
    if column.numbers is not None:
        return {column.name: tf.gather(column.numbers, entities)}
    taken: dict[str, tf.Tensor] = {}
    for name, keys in column.keys.items():
        found = tf.gather(keys, entities)
        if isinstance(found, tf.RaggedTensor):
            taken[f"{column.name}/counts"] = found.row_lengths()
            found = found.values
        taken[name] = found
    if column.blocks is not None:
        blocks = tf.gather(column.blocks, entities).values
        for block, name in enumerate(column.keys):
            places = tf.where(tf.equal(blocks, block))[:, 0]
            taken[name], taken[f"{name}/places"] = tf.gather(taken[name], places), places
    return taken
