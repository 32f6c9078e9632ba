"""What users met, as an input of the user tower: the rows of their last items, from the item tower's own table.

The tower's input is the weighted mean of two things, a user's own row and the mean row of the items met; what is not
there counts nothing, so a user without a row is known by the items, and one without items by the row. A model that
serves gets zeros for a row that is not there, and trained rows are never all zeros: so a row of zeros is one that is
missing, and the exported graph needs no further input to tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.errors import UsageError
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.problem import Problem

PAD_KEY = -(2**63)  # No id of an item, unlike 0: where histories are shorter, the rest of the input has no rows.
HISTORY_INPUT = "history"


@dataclass(frozen=True, slots=True)
class UserHistories:
    """The last items of every user, oldest first, one after the other.

    Attributes:
        users: [U] int64, ascending.
        starts: [U + 1] int64: user u's are `positions[starts[u] : starts[u + 1]]`.
        positions: [T] int64, in the catalogue.
        item_keys: [M] int64, the key of each item of the catalogue.
    """

    users: Ids
    starts: Ids
    positions: Ids
    item_keys: Ids

    @classmethod
    def of(cls, problem: Problem, length: int) -> UserHistories:
        """The last `length` training items of each of a problem's users, by time and then by their order."""
        train = problem.train
        order = np.lexsort((train.times, train.user_ids))
        owners = np.searchsorted(problem.user_keys, train.user_ids[order])
        counts = np.bincount(owners, minlength=len(problem.user_keys))
        ends = np.cumsum(counts)
        kept = np.arange(len(order)) >= ends[owners] - length
        starts = np.concatenate([[0], np.cumsum(np.minimum(counts, length))]).astype(np.int64)
        return cls(problem.user_keys, starts, problem.train_positions[order][kept], problem.item_keys[:, 0])

    def taken(self, user_keys: Ids) -> tuple[Ids, Ids]:
        """Of [N] users: the positions, one user's after the other's, [S] int64, and how many each has, [N] int64."""
        places = np.searchsorted(self.users, user_keys)
        counts = self.starts[places + 1] - self.starts[places]
        before = np.cumsum(counts) - counts
        flat = np.arange(counts.sum()) + np.repeat(self.starts[places] - before, counts)
        return self.positions[flat], counts

    def ragged(self) -> tf.RaggedTensor:
        """[U, (n)] positions."""
        return tf.RaggedTensor.from_row_splits(tf.constant(self.positions), tf.constant(self.starts))


def histories_of(problem: Problem, config: TwoTowerConfig) -> UserHistories | None:
    """What the user tower takes beside the user's row; None: nothing.

    Raises:
        UsageError: items are known by their titles.
    """
    if not config.history:
        return None
    if problem.catalogue.titled:
        raise UsageError(
            "--history takes items that are known by their ids, and these are known by the words of their titles; give "
            "the data as --interactions or --train without --items, or leave out --history"
        )
    return UserHistories.of(problem, config.history)


def mean_rows(rows: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Means of [S, dim] rows, `counts` ([N] int64) of them after each other: [N, dim]; zeros where the count is 0."""
    users = tf.shape(counts, tf.int64)[0]
    owners = tf.repeat(tf.range(users), counts)
    total = tf.math.unsorted_segment_sum(rows, owners, users)
    return total / tf.cast(tf.maximum(counts, 1), rows.dtype)[:, None]


def blend(rows: tf.Tensor, means: tf.Tensor, has_row: tf.Tensor, has_history: tf.Tensor, weight: float) -> tf.Tensor:
    """`weight` of the mean of the items and the rest of the own row; the only one where one is missing.

    Args:
        rows, means: [N, dim] float32.
        has_row, has_history: [N, 1] float32: 1, or 0 for what is missing.
    """
    own, theirs = (1.0 - weight) * has_row, weight * has_history
    return (own * rows + theirs * means) / tf.maximum(own + theirs, TINY)


TINY = 1e-6  # Far below each weight: a divisor for those of whom nothing is known.


def blend_rows(
    rows: npt.NDArray[np.float32], history: npt.NDArray[np.float32], weight: float
) -> npt.NDArray[np.float32]:
    """The tower's input as a model that serves computes it, from [N, dim] and [N, length, dim] with zeros for missing.

    Returns:
        [N, dim] float32.
    """
    present = np.any(history != 0.0, axis=2)
    has_history = present.any(axis=1, keepdims=True).astype(np.float32)
    means = history.sum(axis=1) / np.maximum(present.sum(axis=1, keepdims=True), 1)
    has_row = np.any(rows != 0.0, axis=1, keepdims=True).astype(np.float32)
    own, theirs = (1.0 - weight) * has_row, weight * has_history
    blended: npt.NDArray[np.float32] = ((own * rows + theirs * means) / np.maximum(own + theirs, TINY)).astype(
        np.float32
    )
    return blended
