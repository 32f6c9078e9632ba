"""How good are the recommendations: the whole catalogue is ranked for every user, for a model and for plain popularity.

Every held-out pair (user, item) is looked for among the best of the catalogue. Items the user met in training are left
out, as they are when a model serves; a second figure leaves them in. Scores are never held for the whole catalogue at
once: blocks of users meet blocks of items, and only the best so far are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rowbank.ranking import Best
from rowbank_trainer.data.dataset import Catalogue, Ids, Interactions

Scores = npt.NDArray[np.float32]

CUTOFFS = (10, 20, 50, 100)
MEMORY_BYTES = 256 << 20
_USERS_PER_BLOCK = 512
_BYTES_PER_SCORE = 16  # A score, twice, and room for the multiplication and the results.


class Scorer(Protocol):
    """Scores a part of the catalogue."""

    def __call__(self, user_ids: Ids, items: slice) -> Scores:
        """[U] int64 user ids and a range of catalogue positions in; [U, range] float32 out."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Figures by cutoff k, each in [0, 1].

    Attributes:
        unseen: share of held-out pairs among the best k of the items that their user did not meet in training.
        all_items: the same with all items as candidates, and pairs that were met in training counted too.
        recall: a user's share of held-out items among the best k unseen ones, mean over users.
        ndcg: discounted gain of those, over the best possible one, mean over users.
        hit_rate: share of users with at least one.
    """

    unseen: Mapping[int, float]
    all_items: Mapping[int, float]
    recall: Mapping[int, float]
    ndcg: Mapping[int, float]
    hit_rate: Mapping[int, float]

    def as_json(self) -> dict[str, dict[str, float]]:
        """The same figures under the attributes' names, then `top_<k>`."""
        return {
            name: {f"top_{k}": rate for k, rate in getattr(self, name).items()}
            for name in ("unseen", "all_items", "recall", "ndcg", "hit_rate")
        }

    @classmethod
    def from_json(cls, figures: Mapping[str, Mapping[str, float]]) -> Accuracy:
        """What `as_json` wrote."""
        parts = {name: {int(key[4:]): rate for key, rate in rates.items()} for name, rates in figures.items()}
        return cls(**parts)


class Evaluator:
    """Ranks held-out interactions. The work that does not depend on the model is done once.

    Args:
        catalogue: the candidates.
        train: what users met; left out of the ranking.
        held_out: what is looked for; repeated pairs count once.
        memory_bytes: bound on what ranking holds beside the scorer's own vectors, and results of 12 bytes per user
            of a block and place.
    """

    def __init__(
        self, catalogue: Catalogue, train: Interactions, held_out: Interactions, *, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self._items = len(catalogue)
        self._users = np.unique(held_out.user_ids)
        self._memory_bytes = memory_bytes
        inside = np.isin(train.user_ids, self._users)
        self._seen = self._pairs(train.user_ids[inside], catalogue.positions(train.item_ids[inside]))
        self._held_out = self._pairs(held_out.user_ids, catalogue.positions(held_out.item_ids))
        self._unmet = np.setdiff1d(self._held_out, self._seen, assume_unique=True)

    def evaluate(self, scorer: Scorer, cutoffs: Sequence[int] = CUTOFFS) -> Accuracy:
        """The figures of `scorer` at each cutoff."""
        size = min(max(cutoffs), self._items)
        unseen, everything = _Tally(cutoffs), _Tally(cutoffs)
        for users in self._blocks(len(self._users), _USERS_PER_BLOCK):
            best_unseen, best = self._rank(scorer, users, size)
            unseen.add(self._hits(best_unseen, users, self._unmet), self._sizes(users, self._unmet))
            everything.add(self._hits(best, users, self._held_out), self._sizes(users, self._held_out))
        return Accuracy(unseen.share(), everything.share(), unseen.recall(), unseen.ndcg(), unseen.hit_rate())

    def _rank(self, scorer: Scorer, users: slice, size: int) -> tuple[Ids, Ids]:
        """[U, size] positions of the best unseen items of a block of users, and of the best of all."""
        count = users.stop - users.start
        unseen, everything = Best(count, size), Best(count, size)
        rows, columns = np.divmod(self._within(users, self._seen), self._items)
        rows -= users.start
        for items in self._blocks(self._items, max(1, self._memory_bytes // (count * _BYTES_PER_SCORE))):
            scores = np.array(scorer(self._users[users], items), dtype=np.float32)
            everything.add(scores, items.start)
            inside = (columns >= items.start) & (columns < items.stop)
            scores[rows[inside], columns[inside] - items.start] = -np.inf
            unseen.add(scores, items.start)
        return unseen.items, everything.items

    def _pairs(self, user_ids: Ids, positions: Ids) -> Ids:
        """Distinct pairs, ascending, each as one number: row of the user times catalogue size plus position."""
        return np.unique(np.searchsorted(self._users, user_ids) * self._items + positions)

    def _within(self, users: slice, pairs: Ids) -> Ids:
        first, last = np.searchsorted(pairs, (users.start * self._items, users.stop * self._items))
        return pairs[first:last]

    def _hits(self, best: Ids, users: slice, pairs: Ids) -> npt.NDArray[np.bool_]:
        wanted = self._within(users, pairs)
        asked = np.arange(users.start, users.stop)[:, None] * self._items + best
        if not len(wanted):
            return np.zeros(best.shape, np.bool_)
        places = np.minimum(np.searchsorted(wanted, asked), len(wanted) - 1)
        return (wanted[places] == asked) & (best >= 0)

    def _sizes(self, users: slice, pairs: Ids) -> Ids:
        rows = self._within(users, pairs) // self._items - users.start
        return np.bincount(rows, minlength=users.stop - users.start)

    @staticmethod
    def _blocks(count: int, size: int) -> Iterator[slice]:
        return (slice(first, min(first + size, count)) for first in range(0, count, size))


class _Tally:
    """Sums over blocks of users."""

    def __init__(self, cutoffs: Sequence[int]) -> None:
        self._cutoffs = tuple(cutoffs)
        self._sums = {name: dict.fromkeys(self._cutoffs, 0.0) for name in ("hits", "recall", "ndcg", "users_hit")}
        self._pairs = 0
        self._users = 0

    def add(self, hits: npt.NDArray[np.bool_], sizes: Ids) -> None:
        """[U, K] whether each of the best is held out, best first, and [U] how many are; users without any drop out."""
        judged = sizes > 0
        hits, sizes = hits[judged], sizes[judged]
        self._pairs += int(sizes.sum())
        self._users += len(sizes)
        discounts = 1.0 / np.log2(np.arange(max(self._cutoffs)) + 2.0)
        ideal = np.cumsum(discounts)
        for k in self._cutoffs:
            found = hits[:, :k]
            counts = found.sum(axis=1)
            self._sums["hits"][k] += counts.sum()
            self._sums["recall"][k] += (counts / sizes).sum()
            gains = found @ discounts[: found.shape[1]]
            self._sums["ndcg"][k] += (gains / ideal[np.minimum(sizes, k) - 1]).sum()
            self._sums["users_hit"][k] += (counts > 0).sum()

    def share(self) -> dict[int, float]:
        return self._over("hits", self._pairs)

    def recall(self) -> dict[int, float]:
        return self._over("recall", self._users)

    def ndcg(self) -> dict[int, float]:
        return self._over("ndcg", self._users)

    def hit_rate(self) -> dict[int, float]:
        return self._over("users_hit", self._users)

    def _over(self, name: str, count: int) -> dict[int, float]:
        return {k: float(total / count) if count else 0.0 for k, total in self._sums[name].items()}


def popularity_scorer(catalogue: Catalogue, train: Interactions) -> Scorer:
    """Scores every item by how often it was met in training, the same for every user."""
    counts = np.bincount(catalogue.positions(train.item_ids), minlength=len(catalogue)).astype(np.float32)
    return lambda user_ids, items: np.tile(counts[items], (len(user_ids), 1))


def vector_scorer(user_ids: Ids, user_vectors: Scores, item_vectors: Scores) -> Scorer:
    """Scores by dot product.

    Args:
        user_ids: [U] int64, ascending: who may be asked for.
        user_vectors: [U, D] float32.
        item_vectors: [M, D] float32, in the catalogue's order.
    """
    return lambda asked, items: user_vectors[np.searchsorted(user_ids, asked)] @ item_vectors[items].T
