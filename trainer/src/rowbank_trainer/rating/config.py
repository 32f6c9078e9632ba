"""Settings of a rating job. Importing this must stay cheap: it happens before TensorFlow is loaded."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from rowbank_trainer.errors import UsageError, option


class Model(enum.Enum):
    """How vectors are made: a row for each id, or quotient-remainder users and mixed-dimension items."""

    BASELINE = "baseline"
    COMPACT = "compact"


@dataclass(frozen=True, slots=True)
class RatingConfig:
    """What a trial depends on, besides its seed.

    Attributes:
        epochs: passes over the training ratings.
        batch_size: ratings a step.
        dim: width of user and item vectors.
        learning_rate: of Adam, for rows and projections.
        initial_range: initial values of all rows are uniform in [-initial_range, initial_range).
        users_per_bucket: users divided by it are the buckets of the quotient-remainder table, at least 2.
        block_shares: share of the items in each block, the most rated first; the last block has the rest.
        block_dims: width of the rows of each block.
        test_fraction: of the ratings, held out.
    """

    epochs: int = 3
    batch_size: int = 128
    dim: int = 64
    learning_rate: float = 0.001
    initial_range: float = 0.05
    users_per_bucket: int = 50
    block_shares: tuple[float, ...] = (0.06, 0.3)
    block_dims: tuple[int, ...] = (64, 16, 8)
    test_fraction: float = 0.15

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "dim", "users_per_bucket"):
            if getattr(self, name) < 1:
                raise UsageError(f"{option(name)} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "initial_range"):
            if not getattr(self, name) > 0.0:
                raise UsageError(f"{option(name)} must be above 0, got {getattr(self, name)}")
        if not 0.0 < self.test_fraction < 1.0:
            raise UsageError(f"test_fraction must be in (0, 1), got {self.test_fraction}")
        if any(share <= 0.0 for share in self.block_shares) or sum(self.block_shares) >= 1.0:
            raise UsageError(f"--block-shares must be above 0 and less than 1 together, got {self.block_shares}")
        if len(self.block_dims) != len(self.block_shares) + 1 or any(dim < 1 for dim in self.block_dims):
            raise UsageError(
                f"--block-dims: expected {len(self.block_shares) + 1} widths of at least 1, one more than "
                f"--block-shares, as the last block has the rest; got {self.block_dims}"
            )

    def boundaries(self, items: int) -> list[int]:
        """How many of `items` are in the first block, in the first two, and so on; the last block has the rest."""
        ends: list[int] = []
        for place in range(len(self.block_shares)):
            end = round(items * sum(self.block_shares[: place + 1]))
            ends.append(max(end, ends[-1] + 1 if ends else 1))
        return ends

    def buckets(self, users: int) -> int:
        """Buckets of the quotient-remainder table for `users`."""
        return max(2, users // self.users_per_bucket)
