"""What is learned from: ratings, split, and how often each user and item was rated in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank_trainer.data import Dataset, Interactions, split
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.rating.config import RatingConfig


@dataclass(frozen=True, slots=True)
class Problem:
    """One split of a data set.

    Attributes:
        train, held_out: ratings.
        user_ids, item_ids: all ids of the data set, ascending.
        user_counts, item_counts: ratings in training of each, in the order of the ids.
    """

    train: Interactions
    held_out: Interactions
    user_ids: Ids
    item_ids: Ids
    user_counts: npt.NDArray[np.int64]
    item_counts: npt.NDArray[np.int64]


def prepare(dataset: Dataset, config: RatingConfig, seed: int) -> Problem:
    """Splits a data set: the same `seed` gives the same parts."""
    interactions = dataset.interactions
    parts = split(interactions, held_out_fraction=config.test_fraction, seed=seed)
    users, items = np.unique(interactions.user_ids), np.unique(interactions.item_ids)
    return Problem(
        parts.train, parts.held_out, users, items, _counts(users, parts.train.user_ids),
        _counts(items, parts.train.item_ids),
    )  # fmt: skip


def _counts(ids: Ids, met: Ids) -> Ids:
    """[N] how often each of `ids` ([N], ascending) is in `met`."""
    return np.bincount(np.searchsorted(ids, met), minlength=len(ids)).astype(np.int64)
