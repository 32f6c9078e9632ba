"""How good are the recommendations: the whole catalogue is ranked for every user, for a model and for plain popularity.

Every held-out pair (user, item) is looked for among the best of the catalogue. Items the user met in training are left
out, as they are when a model serves; a second figure leaves them in. Scores are never held for the whole catalogue at
once: blocks of users meet blocks of items, and only the best so far are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rowbank.ranking import Best
from rowbank_trainer.data.dataset import Catalogue, Ids, Interactions
from rowbank_trainer.recency import decayed_counts
from rowbank_trainer.segments import Kinds, Segments, SegmentTally
from rowbank_trainer.tally import Hits, Tally, by_cutoff, from_cutoffs

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
        segments: the same by kind of user and item, and what else is recommended; None: it was not kept.
    """

    unseen: Mapping[int, float]
    all_items: Mapping[int, float]
    recall: Mapping[int, float]
    ndcg: Mapping[int, float]
    hit_rate: Mapping[int, float]
    segments: Segments | None = field(default=None, compare=False)

    def as_json(self) -> dict[str, dict[str, float]]:
        """The same figures under the attributes' names, then `top_<k>`; those of segments are not among them."""
        names = ("unseen", "all_items", "recall", "ndcg", "hit_rate")
        return {name: by_cutoff(getattr(self, name)) for name in names}

    @classmethod
    def from_json(cls, figures: Mapping[str, Mapping[str, float]]) -> Accuracy:
        """What `as_json` wrote."""
        parts: dict[str, Any] = {name: from_cutoffs(rates) for name, rates in figures.items()}
        return cls(**parts)


class Evaluator:
    """Ranks held-out interactions. The work that does not depend on the model is done once.

    Args:
        catalogue: the candidates.
        train: what users met; left out of the ranking.
        held_out: what is looked for; repeated pairs count once.
        learned: what a model was trained on, which says who is new and what is rare; None: `train`.
        memory_bytes: bound on what ranking holds beside the scorer's own vectors, and results of 12 bytes per user
            of a block and place.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        train: Interactions,
        held_out: Interactions,
        *,
        learned: Interactions | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._items = len(catalogue)
        self._users = np.unique(held_out.user_ids)
        self._memory_bytes = memory_bytes
        inside = np.isin(train.user_ids, self._users)
        self._seen = self._pairs(train.user_ids[inside], catalogue.positions(train.item_ids[inside]))
        self._held_out = self._pairs(held_out.user_ids, catalogue.positions(held_out.item_ids))
        self._unmet = np.setdiff1d(self._held_out, self._seen, assume_unique=True)
        self._kinds = self._kinds_of(catalogue, train if learned is None else learned)

    def evaluate(self, scorer: Scorer, cutoffs: Sequence[int] = CUTOFFS) -> Accuracy:
        """The figures of `scorer` at each cutoff."""
        size = min(max(cutoffs), self._items)
        unseen, everything = Tally(cutoffs), Tally(cutoffs)
        segments = SegmentTally(self._kinds, cutoffs)
        for users in self._blocks(len(self._users), _USERS_PER_BLOCK):
            best_unseen, best = self._rank(scorer, users, size)
            found = self._found(best_unseen, users, self._unmet)
            unseen.add(self._hits(found, users, self._unmet))
            everything.add(self._hits(self._found(best, users, self._held_out), users, self._held_out))
            owners, wanted = np.divmod(self._within(users, self._unmet), self._items)
            segments.add(users, best_unseen, found, owners - users.start, wanted)
        return Accuracy(
            unseen.share(), everything.share(), unseen.recall(), unseen.ndcg(), unseen.hit_rate(), segments.segments()
        )

    def _kinds_of(self, catalogue: Catalogue, learned: Interactions) -> Kinds:
        """Segments by the counts of what a model learns from."""
        rows = np.searchsorted(self._users, learned.user_ids[np.isin(learned.user_ids, self._users)])
        positions = catalogue.positions(learned.item_ids)
        return Kinds.of(np.bincount(rows, minlength=len(self._users)), np.bincount(positions, minlength=len(catalogue)))

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

    def _found(self, best: Ids, users: slice, pairs: Ids) -> npt.NDArray[np.bool_]:
        """[U, size] whether each of the best is one of the pairs."""
        wanted = self._within(users, pairs)
        asked = np.arange(users.start, users.stop)[:, None] * self._items + best
        if not len(wanted):
            return np.zeros(best.shape, np.bool_)
        places = np.minimum(np.searchsorted(wanted, asked), len(wanted) - 1)
        return (wanted[places] == asked) & (best >= 0)

    def _hits(self, found: npt.NDArray[np.bool_], users: slice, pairs: Ids) -> Hits:
        """All in one segment."""
        rows, places = np.nonzero(found)
        owners = self._within(users, pairs) // self._items - users.start
        sizes = np.bincount(owners, minlength=users.stop - users.start)[:, None]
        return Hits(rows, places, np.zeros_like(rows), sizes)

    @staticmethod
    def _blocks(count: int, size: int) -> Iterator[slice]:
        return (slice(first, min(first + size, count)) for first in range(0, count, size))


def popularity_scorer(catalogue: Catalogue, train: Interactions, *, half_life_days: float = 0.0) -> Scorer:
    """Scores every item by how often it was met in training, the same for every user.

    Args:
        half_life_days: after which an interaction counts half; 0: all count alike.
    """
    counts = decayed_counts(
        catalogue.positions(train.item_ids), train, catalogue=len(catalogue), half_life_days=half_life_days
    ).astype(np.float32)
    return lambda user_ids, items: np.tile(counts[items], (len(user_ids), 1))


def vector_scorer(user_ids: Ids, user_vectors: Scores, item_vectors: Scores) -> Scorer:
    """Scores by dot product.

    Args:
        user_ids: [U] int64, ascending: who may be asked for.
        user_vectors: [U, D] float32.
        item_vectors: [M, D] float32, in the catalogue's order.
    """
    return lambda asked, items: user_vectors[np.searchsorted(user_ids, asked)] @ item_vectors[items].T
