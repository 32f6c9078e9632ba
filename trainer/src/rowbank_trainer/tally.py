"""Sums of hits over blocks of users, by segment: what every figure of accuracy is a quotient of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank_trainer.data.dataset import Ids


@dataclass(frozen=True, slots=True)
class Hits:
    """Held-out items among the best of a block of users, and what they are hits of.

    Attributes:
        rows: [H] int64, the user's row within the block.
        places: [H] int64, from 0, the place among the best.
        segments: [H] int64.
        sizes: [U, S] int64, held-out items of each user in each segment.
    """

    rows: Ids
    places: Ids
    segments: Ids
    sizes: Ids


class Tally:
    """Sums over blocks of users, for each of `segments` segments; a user counts where the user has held-out items."""

    def __init__(self, cutoffs: Sequence[int], segments: int = 1) -> None:
        self._cutoffs = tuple(cutoffs)
        shape = (segments, len(self._cutoffs))
        self._found, self._recall, self._ndcg, self._users_hit = (np.zeros(shape) for _ in range(4))
        self.users = np.zeros(segments, np.int64)
        self.pairs = np.zeros(segments, np.int64)
        self._discounts = 1.0 / np.log2(np.arange(max(self._cutoffs)) + 2.0)
        self._ideal = np.cumsum(self._discounts)

    def add(self, hits: Hits) -> None:
        """Takes in a block."""
        sizes = hits.sizes
        judged = sizes > 0
        self.users += judged.sum(axis=0)
        self.pairs += sizes.sum(axis=0)
        cells = hits.rows * sizes.shape[1] + hits.segments
        gains_of_hits = self._discounts[hits.places]
        for at, k in enumerate(self._cutoffs):
            inside = hits.places < k
            found = np.bincount(cells[inside], minlength=sizes.size).reshape(sizes.shape)
            gains = np.bincount(cells[inside], gains_of_hits[inside], minlength=sizes.size).reshape(sizes.shape)
            self._found[:, at] += found.sum(axis=0)
            self._recall[:, at] += (found / np.maximum(sizes, 1)).sum(axis=0)
            best = self._ideal[np.clip(sizes, 1, k) - 1]
            self._ndcg[:, at] += (gains / best).sum(axis=0)
            self._users_hit[:, at] += (found > 0).sum(axis=0)

    def share(self, segment: int = 0) -> dict[int, float]:
        """Of the held-out pairs, those found."""
        return self._over(self._found, self.pairs, segment)

    def recall(self, segment: int = 0) -> dict[int, float]:
        """A user's share of held-out items found; mean over users."""
        return self._over(self._recall, self.users, segment)

    def ndcg(self, segment: int = 0) -> dict[int, float]:
        """Discounted gain over the best possible one; mean over users."""
        return self._over(self._ndcg, self.users, segment)

    def hit_rate(self, segment: int = 0) -> dict[int, float]:
        """Share of users with at least one held-out item found."""
        return self._over(self._users_hit, self.users, segment)

    def _over(self, sums: npt.NDArray[np.float64], counts: Ids, segment: int) -> dict[int, float]:
        count = int(counts[segment])
        return {k: float(sums[segment, at] / count) if count else 0.0 for at, k in enumerate(self._cutoffs)}


def by_cutoff(figures: Mapping[int, float]) -> dict[str, float]:
    """The same with names: `top_<k>`."""
    return {f"top_{k}": figure for k, figure in figures.items()}


def from_cutoffs(figures: Mapping[str, float]) -> dict[int, float]:
    """What `by_cutoff` named."""
    return {int(name.removeprefix("top_")): figure for name, figure in figures.items()}
