"""How often each item was met, what is older counting less.

What people meet next follows what was met lately more than what was met a year ago. An interaction counts half for each
half-life that it is older than the newest one; the newest counts 1. Nothing but the interactions given is looked at, so
a count of those until a moment knows nothing of what came after it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rowbank_trainer.data.dataset import Ids, Interactions

DAY_S = 86_400
Counts = npt.NDArray[np.float64]


def decayed_counts(positions: Ids, interactions: Interactions, *, catalogue: int, half_life_days: float) -> Counts:
    """[catalogue] float64.

    Args:
        positions: [N] int64 catalogue positions of the items of the `interactions`.
        half_life_days: 0: an interaction counts 1, however old it is.
    """
    if not half_life_days or not len(positions):
        return np.bincount(positions, minlength=catalogue).astype(np.float64)
    # Differences of whole ticks first: nanoseconds since 1970 do not fit into a float exactly.
    ages = (interactions.times.max() - interactions.times) / (interactions.ticks_per_s * DAY_S)
    return np.bincount(positions, weights=0.5 ** (ages / half_life_days), minlength=catalogue).astype(np.float64)
