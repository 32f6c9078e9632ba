"""Whom and what a model serves well: figures by how much is known of a user, and by how well known an item is.

A mean over all users says little of those who came yesterday, and a mean over all pairs little of items that hardly
anybody has met, which are few of the pairs and most of the catalogue. Coverage and novelty say what the recommendations
themselves are like, whether or not they are right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.tally import Hits, Tally, by_cutoff, from_cutoffs

USER_SEGMENTS = ("0", "1-5", "6-20", "21+")  # Interactions of a user in training.
_FIRST_OF_SEGMENT = np.array([1, 6, 21])  # Of all but the first.
_NEW_SEGMENTS = 2  # So many of them are new users.
DECILES = 10
_FIRST_RARE_DECILE = 5  # From 0.
_FIGURES = ("unseen", "recall", "ndcg", "hit_rate")


@dataclass(frozen=True, slots=True)
class SegmentFigures:
    """Figures of one segment by cutoff, as in `evaluation.Accuracy`; none of them if it has no users.

    Attributes:
        users: with held-out items in it.
        pairs: of them and those items.
    """

    users: int
    pairs: int
    unseen: Mapping[int, float]
    recall: Mapping[int, float]
    ndcg: Mapping[int, float]
    hit_rate: Mapping[int, float]

    @classmethod
    def of(cls, tally: Tally, segment: int) -> SegmentFigures:
        """What was counted of one segment."""
        users, pairs = int(tally.users[segment]), int(tally.pairs[segment])
        if not users:
            return cls(0, 0, {}, {}, {}, {})
        return cls(
            users, pairs, tally.share(segment), tally.recall(segment), tally.ndcg(segment), tally.hit_rate(segment)
        )

    def as_json(self) -> dict[str, Any]:
        """Ready for `json.dump`."""
        figures = {name: by_cutoff(getattr(self, name)) for name in _FIGURES}
        return {"users": self.users, "pairs": self.pairs, **figures}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SegmentFigures:
        """What `as_json` wrote."""
        return cls(data["users"], data["pairs"], **{name: from_cutoffs(data[name]) for name in _FIGURES})


@dataclass(frozen=True, slots=True)
class Segments:
    """Figures by segment, of items that their users did not meet in training.

    Attributes:
        users: by the user's interactions in training, `USER_SEGMENTS`.
        items: by the popularity of the held-out item, from "1", the tenth of the catalogue that is met most in
            training, to "10"; items that are met equally often share the middle of their places.
        new_users: users with at most 5 interactions in training.
        rare_items: held-out items of the less popular half, deciles 6 to 10.
        coverage: by cutoff, the share of the catalogue among the best k of anybody.
        novelty: by cutoff, the mean of -log2 of an item's share of the training interactions, over the best k of all
            users; an item that nobody met counts as met once.
    """

    users: Mapping[str, SegmentFigures]
    items: Mapping[str, SegmentFigures]
    new_users: SegmentFigures
    rare_items: SegmentFigures
    coverage: Mapping[int, float]
    novelty: Mapping[int, float]

    def as_json(self) -> dict[str, Any]:
        """Ready for `json.dump`."""
        return {
            "users": {name: figures.as_json() for name, figures in self.users.items()},
            "items": {name: figures.as_json() for name, figures in self.items.items()},
            "new_users": self.new_users.as_json(),
            "rare_items": self.rare_items.as_json(),
            "coverage": by_cutoff(self.coverage),
            "novelty": by_cutoff(self.novelty),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Segments:
        """What `as_json` wrote."""
        return cls(
            users={name: SegmentFigures.from_json(figures) for name, figures in data["users"].items()},
            items={name: SegmentFigures.from_json(figures) for name, figures in data["items"].items()},
            new_users=SegmentFigures.from_json(data["new_users"]),
            rare_items=SegmentFigures.from_json(data["rare_items"]),
            coverage=from_cutoffs(data["coverage"]),
            novelty=from_cutoffs(data["novelty"]),
        )


@dataclass(frozen=True, slots=True)
class Kinds:
    """Which segment each user and each item is in.

    Attributes:
        users: [U] int64, a place in `USER_SEGMENTS`.
        items: [M] int64, the decile from 0, the most popular.
        surprise: [M] float64, -log2 of each item's share of the training interactions.
    """

    users: Ids
    items: Ids
    surprise: npt.NDArray[np.float64]

    @classmethod
    def of(cls, user_counts: Ids, item_counts: Ids) -> Kinds:
        """By [U] and [M] int64, training interactions of each."""
        ordered = np.sort(item_counts)
        more = len(ordered) - np.searchsorted(ordered, item_counts, side="right")
        equal = len(ordered) - more - np.searchsorted(ordered, item_counts, side="left")
        shares = np.maximum(item_counts, 1) / max(1, int(item_counts.sum()))
        return cls(
            users=np.searchsorted(_FIRST_OF_SEGMENT, user_counts, side="right").astype(np.int64),
            items=(2 * more + equal - 1) * DECILES // (2 * len(ordered)),
            surprise=-np.log2(shares),
        )


class SegmentTally:
    """Counts hits by segment, block of users by block of users."""

    def __init__(self, kinds: Kinds, cutoffs: Sequence[int]) -> None:
        self._kinds, self._cutoffs = kinds, tuple(cutoffs)
        self._users = Tally(cutoffs, len(USER_SEGMENTS))
        self._items = Tally(cutoffs, DECILES)
        self._new, self._rare = Tally(cutoffs), Tally(cutoffs)
        self._shown = np.zeros((len(self._cutoffs), len(kinds.items)), np.bool_)
        self._surprise = np.zeros(len(self._cutoffs))
        self._places = np.zeros(len(self._cutoffs), np.int64)

    def add(self, users: slice, best: Ids, found: npt.NDArray[np.bool_], owners: Ids, wanted: Ids) -> None:
        """Takes in a block of users.

        Args:
            best: [U, K] int64 catalogue positions, best first; -1 where there are fewer.
            found: [U, K] whether they are held out.
            owners, wanted: [P] int64, the user's row within the block and the position of each held-out pair.
        """
        asked = np.zeros(users.stop - users.start, np.bool_)
        asked[owners] = True
        self._add_shown(best[asked])
        rows, places = np.nonzero(found)
        user_kinds, item_kinds = self._kinds.users[users], self._kinds.items
        hit_users, hit_items = user_kinds[rows], item_kinds[best[rows, places]]
        pair_users, pair_items = user_kinds[owners], item_kinds[wanted]

        def counted(segments: Ids, of_pairs: Ids, count: int, kept: Any, kept_pairs: Any) -> Hits:
            cells = owners[kept_pairs] * count + of_pairs[kept_pairs]
            sizes = np.bincount(cells, minlength=len(asked) * count).reshape(-1, count)
            return Hits(rows[kept], places[kept], segments[kept], sizes)

        everything = slice(None)
        self._users.add(counted(hit_users, pair_users, len(USER_SEGMENTS), everything, everything))
        self._items.add(counted(hit_items, pair_items, DECILES, everything, everything))
        none, no_pair = np.zeros_like(rows), np.zeros_like(owners)
        self._new.add(counted(none, no_pair, 1, hit_users < _NEW_SEGMENTS, pair_users < _NEW_SEGMENTS))
        self._rare.add(counted(none, no_pair, 1, hit_items >= _FIRST_RARE_DECILE, pair_items >= _FIRST_RARE_DECILE))

    def _add_shown(self, best: Ids) -> None:
        for at, k in enumerate(self._cutoffs):
            items = best[:, :k][best[:, :k] >= 0]
            self._shown[at, items] = True
            self._surprise[at] += self._kinds.surprise[items].sum()
            self._places[at] += len(items)

    def segments(self) -> Segments:
        """The figures of all that was taken in."""
        means = self._surprise / np.maximum(self._places, 1)
        return Segments(
            users={name: SegmentFigures.of(self._users, at) for at, name in enumerate(USER_SEGMENTS)},
            items={str(at + 1): SegmentFigures.of(self._items, at) for at in range(DECILES)},
            new_users=SegmentFigures.of(self._new, 0),
            rare_items=SegmentFigures.of(self._rare, 0),
            coverage=dict(zip(self._cutoffs, self._shown.mean(axis=1).tolist(), strict=True)),
            novelty=dict(zip(self._cutoffs, means.tolist(), strict=True)),
        )
