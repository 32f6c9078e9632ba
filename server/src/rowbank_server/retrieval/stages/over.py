"""Filters and boosts over all positions of a generation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rowbank_server.retrieval.filters import evaluate
from rowbank_server.retrieval.filters.words import Boost, Filter
from rowbank_server.retrieval.generation import Bitmap, Generation


def allowed(generation: Generation, given: Filter) -> Bitmap:
    """[span / 8] uint8: the positions of the items that a filter lets through; those that are gone may be among them.

    Args:
        given: without names, and with the time put in.
    """
    made = np.zeros(generation.span // 8, np.uint8)
    for part in generation.parts:
        bits = evaluate.mask(part.segment, given)
        made[part.start // 8 : part.start // 8 + len(bits)] = bits
    return made


def bonus(generation: Generation, boosts: Sequence[Boost], scale: float) -> npt.NDArray[np.float32]:
    """[span] float32: what boosts add to the dot product of each position's item, so that it is added to the score
    that is `scale` times as large; read-only."""
    if len(generation.parts) == 1:
        return evaluate.bonus(generation.parts[0].segment, boosts, scale)  # Padding is never searched.
    made = np.zeros(generation.span, np.float32)
    for part in generation.parts:
        made[part.start : part.start + len(part.segment)] = evaluate.bonus(part.segment, boosts, scale)
    return made
