"""One value for each entity, out of rows that may repeat it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank_trainer.data.dataset import Ids, KeyLists


@dataclass(frozen=True, slots=True)
class Merge:
    """The first value of each of N entities, among R rows of all files.

    Attributes:
        first: [N] int64: the row with an entity's value; -1: none.
        starts: [R + 1] int64: row r has `values[starts[r] : starts[r + 1]]`.
        values: [F].
        differing: how many entities have another value in another row, and two such rows; None: no entity.
    """

    first: Ids
    starts: Ids
    values: npt.NDArray[Any]
    differing: tuple[int, int, int] | None

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """[N] whether there is a value."""
        return self.first >= 0

    @property
    def count(self) -> int:
        """How many entities have a value."""
        return int(self.known.sum())

    def lists(self, length: int | None, default: Sequence[int]) -> KeyLists:
        """Each entity's values, cut to `length`; `default` where it has none."""
        begins = np.r_[self.starts[:-1], len(self.values)]  # The last row is the default's.
        values = np.r_[self.values, np.array(default, np.int64)].astype(np.int64)
        sizes = np.r_[np.diff(self.starts), len(default)]
        taken = sizes[self.first]  # -1 is the last.
        if length is not None:
            taken = np.minimum(taken, length)
        ends = np.cumsum(taken)
        places = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - taken, taken)
        return KeyLists(values[np.repeat(begins[self.first], taken) + places], np.r_[0, ends].astype(np.int64))


def merge(entities: Sequence[Ids], starts: Sequence[Ids], values: Sequence[npt.NDArray[Any]], count: int) -> Merge:
    """Finds the first value of each entity.

    Args:
        entities: for each file [R] int64 positions; -1: the row is left out.
        starts: for each file [R + 1] int64 into its `values`.
        values: for each file [F].
        count: of entities.
    """
    of_row = np.concatenate(entities)
    flat = np.concatenate(values)
    offsets = np.cumsum([0, *(len(part) for part in values)])
    begins = np.concatenate([part[:-1] + offset for part, offset in zip(starts, offsets, strict=False)])
    bounds = np.r_[begins, len(flat)].astype(np.int64)
    rows = np.flatnonzero(of_row >= 0)
    found, at = np.unique(of_row[rows], return_index=True)
    first = np.full(count, -1, np.int64)
    first[found] = rows[at]
    differing = _differing(of_row, rows, first, bounds, flat) if len(found) < len(rows) else None
    return Merge(first, bounds, flat, differing)


def _differing(of_row: Ids, rows: Ids, first: Ids, bounds: Ids, flat: npt.NDArray[Any]) -> tuple[int, int, int] | None:
    mates = first[of_row[rows]]
    sizes = np.diff(bounds)
    differs = sizes[rows] != sizes[mates]
    alike = np.flatnonzero(~differs)
    counts = sizes[rows[alike]]
    steps = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    unequal = (
        flat[np.repeat(bounds[rows[alike]], counts) + steps] != flat[np.repeat(bounds[mates[alike]], counts) + steps]
    )
    differs[np.repeat(alike, counts)[unequal]] = True
    other = rows[differs]
    if not len(other):
        return None
    return len(np.unique(of_row[other])), int(first[of_row[other[0]]]), int(other[0])
