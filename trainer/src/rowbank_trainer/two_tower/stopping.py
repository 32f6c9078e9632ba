"""When a training ends before its last epoch: when a validation part gets no better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CUTOFF = 20


def best_epoch(recalls: Sequence[float]) -> int:
    """The epoch, from 1, with the highest recall; the first of equal ones; 0 if there is none yet."""
    return int(np.argmax(recalls)) + 1 if len(recalls) else 0


def has_stopped(recalls: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` epochs are all no better than the best before them; never with a patience of 0."""
    return 0 < patience <= len(recalls) - best_epoch(recalls)
