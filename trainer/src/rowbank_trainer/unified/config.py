"""Settings of a unified job. Importing this must stay cheap: it happens before TensorFlow is loaded."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from rowbank_trainer.errors import UsageError, option

FEATURES = (
    "movie_id", "user_id", "user_gender", "user_zip_code", "user_occupation_text", "bucketized_user_age",
)  # fmt: skip
HASH_BUCKETS = (
    ("movie_id", 600), ("user_id", 400), ("user_gender", 20), ("user_zip_code", 400), ("user_occupation_text", 20),
)  # fmt: skip
_AGE_BUCKETS = ("bucketized_user_age", 20)


class Model(enum.Enum):
    """How a feature's value finds its row.

    COLLISIONLESS: a row for each value. HASH: a table per feature, and values hashed to fewer buckets; the age is left
    out, as in the comparison this one follows. HASH_WITH_AGE: the same with it. UNIFIED: all features in two tables.
    """

    COLLISIONLESS = "collisionless"
    HASH = "hash"
    HASH_WITH_AGE = "hash-with-age"
    UNIFIED = "unified"


@dataclass(frozen=True, slots=True)
class UnifiedConfig:
    """What a trial depends on, besides its seed.

    Attributes:
        epochs: passes over the training ratings.
        batch_size: ratings a step.
        dim: width of a feature's vector; each of the `num_tables` unified tables has its part of it.
        hidden: widths of the network's inner layers.
        learning_rate: of Adam, for rows and network.
        initial_range: initial values of all rows are uniform in [-initial_range, initial_range).
        features: what a rating is told by.
        hash_buckets: buckets of each feature's table in the hash model; their sum is what a unified table has.
        num_tables: of the unified model.
        threshold: a rating of as many stars or more is what is to be told.
        test_fraction: of the ratings, held out.
    """

    epochs: int = 5
    batch_size: int = 8192
    dim: int = 16
    hidden: tuple[int, ...] = (128, 64)
    learning_rate: float = 0.01
    initial_range: float = 0.05
    features: tuple[str, ...] = FEATURES
    hash_buckets: tuple[tuple[str, int], ...] = HASH_BUCKETS
    num_tables: int = 2
    threshold: int = 3
    test_fraction: float = 0.2

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "dim", "num_tables"):
            if getattr(self, name) < 1:
                raise UsageError(f"{option(name)} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "initial_range"):
            if not getattr(self, name) > 0.0:
                raise UsageError(f"{option(name)} must be above 0, got {getattr(self, name)}")
        if self.dim % self.num_tables:
            raise UsageError(f"--dim: expected a multiple of the {self.num_tables} unified tables, got {self.dim}")
        if not 2 <= self.threshold <= 5:
            raise UsageError(f"threshold must be from 2 to 5 stars, got {self.threshold}")
        if not 0.0 < self.test_fraction < 1.0:
            raise UsageError(f"test_fraction must be in (0, 1), got {self.test_fraction}")

    @property
    def total_buckets(self) -> int:
        """Buckets of all tables of the hash model."""
        return sum(buckets for _, buckets in self.hash_buckets)

    def buckets(self, model: Model) -> dict[str, int]:
        """Buckets by feature of one of the hash models."""
        return dict((*self.hash_buckets, _AGE_BUCKETS) if model is Model.HASH_WITH_AGE else self.hash_buckets)
