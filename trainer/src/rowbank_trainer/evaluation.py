"""How good are the recommendations: hit rates over the full catalogue, for a model and for plain popularity.

A held-out interaction (user, item) is a hit at k if the item is among the k best-scored candidates of that user. It is
counted twice: over all items, and over the items that the user has not met in training, as they are served.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank_trainer.data.dataset import Catalogue, Ids, Interactions

Scores = npt.NDArray[np.float32]
# Takes [U] user ids, returns [U, M] float32: a score for each item of the catalogue.
Scorer = Callable[[Ids], Scores]

CUTOFFS = (10, 50, 100)
_USERS_PER_BLOCK = 256
_PAIRS_PER_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Hit rates by cutoff, each in [0, 1].

    Attributes:
        unseen: candidates are the items the user has not met in training. The figure that counts: it is what is served.
        all_items: candidates are all items, the ones met in training too.
    """

    unseen: Mapping[int, float]
    all_items: Mapping[int, float]

    def as_json(self) -> dict[str, dict[str, float]]:
        """The same figures under the keys `unseen` and `all_items`, then `top_<k>`."""
        return {
            "unseen": {f"top_{k}": rate for k, rate in self.unseen.items()},
            "all_items": {f"top_{k}": rate for k, rate in self.all_items.items()},
        }


class Evaluator:
    """Ranks held-out interactions. The work that does not depend on the model is done once."""

    def __init__(self, catalogue: Catalogue, train: Interactions, held_out: Interactions) -> None:
        self._users, owners = np.unique(held_out.user_ids, return_inverse=True)
        order = np.argsort(owners, kind="stable")
        self._owners = owners[order].astype(np.int64)
        self._items = catalogue.positions(held_out.item_ids)[order]
        self._starts = np.searchsorted(self._owners, np.arange(len(self._users) + 1))
        self._seen = _seen_positions(self._users, catalogue, train)

    def evaluate(self, scorer: Scorer, cutoffs: tuple[int, ...] = CUTOFFS) -> Accuracy:
        """Hit rates of `scorer` at each cutoff."""
        ranks_all = np.empty(len(self._items), np.int64)
        ranks_unseen = np.empty(len(self._items), np.int64)
        for first in range(0, len(self._users), _USERS_PER_BLOCK):
            last = min(first + _USERS_PER_BLOCK, len(self._users))
            pairs = slice(int(self._starts[first]), int(self._starts[last]))
            owners, items = self._owners[pairs] - first, self._items[pairs]
            scores = np.array(scorer(self._users[first:last]), dtype=np.float32)
            ranks_all[pairs] = ranks(scores, owners, items)
            for row, seen in enumerate(self._seen[first:last]):
                scores[row, seen] = -np.inf
            ranks_unseen[pairs] = ranks(scores, owners, items)
        return Accuracy(
            unseen={k: float(np.mean(ranks_unseen < k)) for k in cutoffs},
            all_items={k: float(np.mean(ranks_all < k)) for k in cutoffs},
        )


def ranks(scores: Scores, rows: Ids, columns: Ids) -> Ids:
    """The rank, from 0, of `scores[rows[i], columns[i]]` within its row; of equal scores the lower column comes first.

    Args:
        scores: [U, M] float32.
        rows, columns: [P] int64.
    Returns:
        [P] int64.
    """
    result = np.empty(len(rows), np.int64)
    for first in range(0, len(rows), _PAIRS_PER_BLOCK):
        block = slice(first, first + _PAIRS_PER_BLOCK)
        lines = scores[rows[block]]
        own = lines[np.arange(len(lines)), columns[block]][:, None]
        before = np.arange(scores.shape[1])[None, :] < columns[block][:, None]
        result[block] = np.count_nonzero((lines > own) | ((lines == own) & before), axis=1)
    return result


def popularity_scorer(catalogue: Catalogue, train: Interactions) -> Scorer:
    """Scores every item by how often it was met in training, the same for every user."""
    counts = np.bincount(catalogue.positions(train.item_ids), minlength=len(catalogue)).astype(np.float32)
    return lambda user_ids: np.tile(counts, (len(user_ids), 1))


def vector_scorer(user_ids: Ids, user_vectors: Scores, item_vectors: Scores) -> Scorer:
    """Scores by dot product.

    Args:
        user_ids: [U] int64, ascending: who may be asked for.
        user_vectors: [U, D] float32.
        item_vectors: [M, D] float32, in the catalogue's order.
    """
    return lambda asked: user_vectors[np.searchsorted(user_ids, asked)] @ item_vectors.T


def _seen_positions(users: Ids, catalogue: Catalogue, train: Interactions) -> list[Ids]:
    """For each of `users` ([U] int64, ascending) the catalogue positions met in training."""
    order = np.argsort(train.user_ids, kind="stable")
    owners, items = train.user_ids[order], catalogue.positions(train.item_ids)[order]
    starts, ends = np.searchsorted(owners, users, "left"), np.searchsorted(owners, users, "right")
    return [items[start:end] for start, end in zip(starts, ends, strict=True)]
