"""Fixtures of the trainer's tests; Keras 2 is chosen before TensorFlow is imported."""

from __future__ import annotations

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest

from rowbank_trainer.data import Dataset, synthetic_dataset
from rowbank_trainer.data.synthetic import SyntheticShape
from rowbank_trainer.two_tower.config import TwoTowerConfig


@pytest.fixture(scope="session")
def small() -> Dataset:
    """200 users with tastes, 300 items, about 6000 interactions."""
    return synthetic_dataset(SyntheticShape(users=200, items=300, mean_interactions=30, groups=5))


@pytest.fixture(scope="session")
def quick() -> TwoTowerConfig:
    """Settings that learn `small` in a second or two."""
    return TwoTowerConfig(
        epochs=5, batch_size=256, dim=16, vector_dim=16, hidden=(32,), learning_rate=0.01, row_dropout=0.1,
        log_every=5, restrict_every=30,
    )  # fmt: skip
