"""Settings of a rating job. Importing this must stay cheap: it happens before TensorFlow is loaded."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from rowbank_trainer.errors import UsageError, option
from rowbank_trainer.schema import MixedDimension, QuotientRemainder, TableOptions


class Model(enum.Enum):
    """How vectors are made: a row for each id, quotient-remainder users and mixed-dimension items, or by a schema."""

    BASELINE = "baseline"
    COMPACT = "compact"
    SCHEMA = "schema"


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
        user_table, item_table: of the ids in the schema's model, each with a dim; None: there is no schema.
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
    user_table: TableOptions | None = None
    item_table: TableOptions | None = None

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

    def buckets(self, users: int) -> int:
        """Buckets of the quotient-remainder table for `users`."""
        return max(2, users // self.users_per_bucket)

    def tables(self, model: Model, users: int) -> tuple[TableOptions, TableOptions]:
        """How users and items are kept in a model, with dims."""
        if model is Model.SCHEMA:
            assert self.user_table is not None
            assert self.item_table is not None
            return self.user_table, self.item_table
        if model is Model.BASELINE:
            return TableOptions(self.dim), TableOptions(self.dim)
        blocks = MixedDimension(self.block_shares, self.block_dims)
        return TableOptions(self.dim, QuotientRemainder(self.buckets(users))), TableOptions(self.dim, blocks)
