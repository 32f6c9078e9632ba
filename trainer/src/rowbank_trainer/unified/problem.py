"""What is learned from: categorical features of a rating, as text, and whether it was high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank_trainer.data import Dataset, Interactions, split
from rowbank_trainer.errors import DataError
from rowbank_trainer.unified.config import UnifiedConfig
from rowbank_trainer.unified.features import Features

Columns = dict[str, npt.NDArray[np.str_]]


@dataclass(frozen=True, slots=True)
class Part:
    """Some ratings: [N] text by feature, and [N] float32 labels of 0 and 1."""

    columns: Columns
    labels: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Problem:
    """One split of a data set, and the distinct values of each feature in all of it, ascending."""

    train: Part
    held_out: Part
    vocabularies: Columns


def prepare(dataset: Dataset, features: Features, config: UnifiedConfig, seed: int) -> Problem:
    """Splits a data set, in a random order: the same `seed` gives the same parts.

    Raises:
        DataError: a user rated something but is not among the users, or all ratings are high, or low.
    """
    unknown = np.setdiff1d(dataset.interactions.user_ids, features.user_ids).tolist()
    if unknown:
        raise DataError(
            f"{dataset.name}: {len(unknown)} users rated but are not in the list of users, such as {unknown[0]}"
        )
    parts = split(dataset.interactions, held_out_fraction=config.test_fraction, seed=seed)
    train = _part(parts.train, features, config.threshold)
    held_out = _part(parts.held_out, features, config.threshold)
    for part in (train, held_out):
        if part.labels.min() == part.labels.max():
            raise DataError(
                f"{dataset.name}: expected ratings of {config.threshold} stars or more and lower ones, in both parts, "
                f"got only {'high' if part.labels[0] else 'low'} ones; are they stars from 1 to 5?"
            )
    vocabularies = {
        name: np.unique(np.concatenate([train.columns[name], held_out.columns[name]])) for name in features.names
    }
    return Problem(train, held_out, vocabularies)


def _part(interactions: Interactions, features: Features, threshold: int) -> Part:
    return Part(features.columns(interactions), (interactions.ratings >= threshold).astype(np.float32))
