"""Where the probabilities of the loss's correction come from: the data's counts, or the server's table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from rowbank.text import PAD_KEY
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.errors import UsageError
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.model import TwoTower
from rowbank_trainer.two_tower.probabilities import COUNT_FLOOR, LogProbabilities, log_probabilities
from rowbank_trainer.two_tower.problem import Problem
from rowbank_trainer.two_tower.tables.base import RowTables

_PASSES = 30  # On film titles the error of the counts falls to a third; further ones change little.


def counts_in_table(item_keys: Ids, keys: Ids, frequency: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    """How often each item was trained, as far as a table tells that has rows for the item's keys.

    An item with one key was trained as often as that key. With several, such as the words of a title, a word's
    frequency is the sum over the items that have it. The counts that make the words' frequencies most likely are found
    by expectation maximisation: every word's frequency is shared out by the counts so far, and an item's new count is
    the mean of its shares. The start is an item's rarest word, which bounds its count from above.

    Args:
        item_keys: [M, L] int64, padded with 0 where L is above 1.
        keys, frequency: [N] int64 and uint32, the table's rows.
    Returns:
        [M] float64; 0 for an item with a key that has no row.
    """
    if not len(keys):
        return np.zeros(len(item_keys))
    order = np.argsort(keys)
    sorted_keys, stored = keys[order], frequency[order].astype(np.float64)
    places = np.minimum(np.searchsorted(sorted_keys, item_keys), len(keys) - 1)
    seen = np.where(sorted_keys[places] == item_keys, stored[places], 0.0)
    if item_keys.shape[1] == 1:
        return seen[:, 0]
    words = item_keys != PAD_KEY
    counts = np.where(words, seen, np.inf).min(axis=1)
    counts[~words.any(axis=1)] = 0.0
    items, flat = np.nonzero(words)[0], places[words]
    lengths = np.maximum(words.sum(axis=1), 1)
    for _ in range(_PASSES):
        explained = np.bincount(flat, weights=counts[items], minlength=len(keys))
        shares = (stored / np.maximum(explained, 1e-12))[flat]
        counts *= np.bincount(items, weights=shares, minlength=len(item_keys)) / lengths
    return counts


class TableFrequencies(tf_keras.callbacks.Callback):
    """Takes the correction from the item table's frequencies, anew every so many steps.

    The table counts occurrences on every push, whoever pushes, and forgets what it evicts; so the correction follows
    the data that all workers train on, without a pass over it. One reading is one request per shard, 16 bytes a row.
    """

    def __init__(self, tables: RowTables, problem: Problem, config: TwoTowerConfig) -> None:
        super().__init__()
        self._tables, self._every = tables, config.logq_refresh
        self._table, self._item_keys = counted_table(problem)
        self._step = 0

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Reads what earlier training left."""
        self.refresh()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Reads at steps 1, 2, 4, 8 and so on, later at every multiple of the interval."""
        self._step += 1
        early = self._step < self._every and self._step & (self._step - 1) == 0
        if early or self._step % self._every == 0:
            self.refresh()

    def refresh(self) -> None:
        """Reads the frequencies now."""
        model: TwoTower = self.model
        keys, frequency = self._tables.frequencies(self._table)
        model.log_q.assign(log_probabilities(counts_in_table(self._item_keys, keys, frequency), floor=1.0))


def counted_table(problem: Problem) -> tuple[str, Ids]:
    """The table whose frequencies tell how often items were trained, and each item's keys in it, [M, L] int64.

    Raises:
        UsageError: there is none.
    """
    plan = problem.plan
    for one in plan.item.columns:
        if one.column.type not in ("id", "text") or not one.plain:
            continue
        table = one.parts[0].table.name
        if len(plan.inputs_of(table)) == 1 and not one.column.dropout:
            by_id = one.column.type == "id"
            return table, problem.catalogue.item_ids[:, None] if by_id else problem.item_keys
    raise UsageError(
        "--logq table: the schema has no table that counts items alone: one with a row for each of an item's ids, or "
        "for the words of its title, that nothing else shares; use --logq counts"
    )


def initial_log_q(problem: Problem, config: TwoTowerConfig) -> LogProbabilities:
    """What a model starts with: the data's counts, or no correction. [M] float32."""
    if config.logq == "counts":
        return log_probabilities(problem.item_counts, floor=COUNT_FLOOR)
    return np.zeros(len(problem.catalogue), np.float32)


def drawing_log_q(model: TwoTower, config: TwoTowerConfig) -> tf.Variable | None:
    """By what wrong items are drawn: the model's own, where the server's table counts; None: by the data's counts."""
    return model.log_q if config.logq == "table" else None
