"""A dataset prepared for training: one preprocessing for every kind of table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank.text import title_keys
from rowbank_trainer.data.dataset import Catalogue, Dataset, Ids, Interactions, split
from rowbank_trainer.errors import TrainerError
from rowbank_trainer.evaluation import Accuracy, Evaluator, popularity_scorer
from rowbank_trainer.two_tower.config import TwoTowerConfig


@dataclass(frozen=True, slots=True)
class Problem:
    """What a model is trained and judged on.

    Attributes:
        dataset_name: for reports.
        catalogue: every item.
        title_keys: [M, max_tokens] int64, in the catalogue's order, padded with 0.
        train: interactions to learn from.
        held_out: interactions to be judged on.
        train_positions: [N] int64, the catalogue position of each training interaction's item.
        item_probability: [M] float32, each item's share of the training interactions, at least that of one in ten.
        user_keys: [U] int64, ascending: every user, of either part.
        vocabulary: distinct keys that training will see, by table.
    """

    dataset_name: str
    catalogue: Catalogue
    title_keys: Ids
    train: Interactions
    held_out: Interactions
    train_positions: Ids
    item_probability: npt.NDArray[np.float32]
    user_keys: Ids
    vocabulary: dict[str, int]

    def evaluator(self) -> Evaluator:
        """Judges scores on the held-out part."""
        return Evaluator(self.catalogue, self.train, self.held_out)

    def baseline(self, evaluator: Evaluator) -> Accuracy:
        """What recommending the most popular items to everybody reaches."""
        return evaluator.evaluate(popularity_scorer(self.catalogue, self.train))


def prepare(dataset: Dataset, config: TwoTowerConfig) -> Problem:
    """Splits and preprocesses a dataset.

    Raises:
        TrainerError: there are fewer training interactions than one batch holds.
    """
    parts = split(dataset.interactions, held_out_fraction=config.test_fraction, seed=config.seed)
    if config.evaluate_on == "validation":
        parts = split(parts.train, held_out_fraction=config.validation_fraction, seed=config.seed + 1)
    if len(parts.train) < config.batch_size:
        raise TrainerError(
            f"{dataset.name}: {len(parts.train)} training interactions are fewer than one batch of "
            f"{config.batch_size}; give a smaller --batch-size"
        )
    keys = title_keys(dataset.catalogue.titles, config.max_tokens)
    positions = dataset.catalogue.positions(parts.train.item_ids)
    counts = np.bincount(positions, minlength=len(dataset.catalogue))
    return Problem(
        dataset_name=dataset.name,
        catalogue=dataset.catalogue,
        title_keys=keys,
        train=parts.train,
        held_out=parts.held_out,
        train_positions=positions,
        item_probability=(np.maximum(counts, 0.1) / len(positions)).astype(np.float32),
        user_keys=np.unique(dataset.interactions.user_ids),
        vocabulary={
            "user": len(np.unique(parts.train.user_ids)),
            "title": len(np.unique(keys[np.unique(positions)])),
        },
    )
