"""The shape every source of interactions is brought into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interactions:
    """Who met what, when: parallel columns of one length.

    Attributes:
        user_ids: [N] int64.
        item_ids: [N] int64.
        ratings: [N] float32, one to five stars.
        times: [N] int64, Unix seconds.
    """

    user_ids: Ids
    item_ids: Ids
    ratings: npt.NDArray[np.float32]
    times: Ids

    def __len__(self) -> int:
        return len(self.user_ids)

    def take(self, rows: Ids) -> Interactions:
        """The interactions at `rows` ([M] int64 positions), in that order."""
        return Interactions(self.user_ids[rows], self.item_ids[rows], self.ratings[rows], self.times[rows])


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every item that can be recommended, whether or not anybody met it.

    Attributes:
        item_ids: [M] int64, ascending and distinct.
        titles: M titles.
        genres: M tuples of genre names.
        years: M years of release; 0 where unknown.
    """

    item_ids: Ids
    titles: tuple[str, ...]
    genres: tuple[tuple[str, ...], ...]
    years: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.titles)

    def positions(self, item_ids: Ids) -> Ids:
        """Positions of known `item_ids` ([N] int64) in the catalogue: [N] int64."""
        return np.searchsorted(self.item_ids, item_ids).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A catalogue and the interactions with it; `name` tells people where they come from."""

    name: str
    interactions: Interactions
    catalogue: Catalogue


@dataclass(frozen=True, slots=True)
class Split:
    """Two disjoint parts of one set of interactions."""

    train: Interactions
    held_out: Interactions


def split(interactions: Interactions, *, held_out_fraction: float, seed: int) -> Split:
    """Parts interactions at random: the same `seed` gives the same parts.

    Args:
        interactions: at least two.
        held_out_fraction: in (0, 1); the held-out part is rounded down, but never empty.
        seed: of the shuffle.
    """
    if not 0.0 < held_out_fraction < 1.0:
        raise ValueError(f"held_out_fraction must be in (0, 1), got {held_out_fraction}")
    if len(interactions) < 2:
        raise ValueError(f"expected at least 2 interactions to split, got {len(interactions)}")
    order = np.random.default_rng(seed).permutation(len(interactions)).astype(np.int64)
    held_out = max(1, int(len(order) * held_out_fraction))
    return Split(train=interactions.take(order[held_out:]), held_out=interactions.take(order[:held_out]))
