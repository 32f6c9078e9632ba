"""The best items of many users, out of scores that come in blocks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rowbank import _kernels


class Best:
    """The best `size` items of each of `users` users so far, best first; of equal scores the lower item.

    Attributes:
        items: [users, size] int64, -1 where there are fewer.
        scores: [users, size] float32, -infinity there.
    """

    def __init__(self, users: int, size: int) -> None:
        self.items: npt.NDArray[np.int64] = np.full((users, size), -1, np.int64)
        self.scores: npt.NDArray[np.float32] = np.full((users, size), -np.inf, np.float32)

    def add(self, scores: npt.NDArray[np.float32], first_item: int) -> None:
        """Takes in a block.

        Args:
            scores: [users, B] float32 of the items from `first_item` on, which is above every item of the calls
                before. -infinity and NaN are never taken.
        Raises:
            ValueError, TypeError: another shape or dtype.
        """
        _kernels.keep_best(scores, first_item, self.scores, self.items)
