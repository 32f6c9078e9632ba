"""The best items of a block of users, by an exact scan of the catalogue in native code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank.ranking import Best
from rowbank_trainer.data.dataset import Ids

_MEMORY_BYTES = 256 << 20
_BYTES_PER_SCORE = 8  # A score, and room for the multiplication.


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The items that can be recommended.

    Attributes:
        ids: [M] int64, ascending.
        vectors: [M, D] float32.
        texts: M texts, where ids are keys of texts; None: ids are what callers call them.
    """

    ids: Ids
    vectors: npt.NDArray[np.float32]
    texts: npt.NDArray[np.object_] | None = None

    def positions(self, items: Sequence[int]) -> Ids:
        """Positions of those of `items` that are there, in their order."""
        wanted = np.asarray(items, np.int64)
        at = np.minimum(np.searchsorted(self.ids, wanted), len(self.ids) - 1)
        found: Ids = at[self.ids[at] == wanted]
        return found

    def of(self, positions: Ids) -> npt.NDArray[np.int64] | npt.NDArray[np.object_]:
        """The ids at positions, as callers know them."""
        return self.ids[positions] if self.texts is None else self.texts[positions]

    def best(self, users: npt.NDArray[np.float32], size: int, excluded: Sequence[Ids]) -> Best:
        """The best `size` items of each of [U, D] users.

        Args:
            excluded: per user, positions that are left out.
        """
        rows = np.repeat(np.arange(len(users)), [len(positions) for positions in excluded])
        columns = np.concatenate([np.empty(0, np.int64), *excluded])
        best = Best(len(users), size)
        step = max(1, _MEMORY_BYTES // (max(1, len(users)) * _BYTES_PER_SCORE))
        for first in range(0, len(self.ids), step):
            scores = np.ascontiguousarray(users @ self.vectors[first : first + step].T)
            inside = (columns >= first) & (columns < first + step)
            scores[rows[inside], columns[inside] - first] = -np.inf
            best.add(scores, first)
        return best
