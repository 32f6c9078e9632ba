"""Probabilities of items by how often they are met."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LogProbabilities = npt.NDArray[np.float32]
COUNT_FLOOR = 0.1  # As which an item counts that nobody met.


def log_probabilities(counts: npt.ArrayLike, *, floor: float) -> LogProbabilities:
    """Logarithms of each item's share, [M] float32, from [M] counts; what was met less than `floor` counts as that."""
    floored = np.maximum(np.asarray(counts, dtype=np.float64), floor)
    return np.log(floored / floored.sum()).astype(np.float32)
