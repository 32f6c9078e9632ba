"""The towers' vectors of users and items, for callers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.queries import Vectors
from rowbank_server.retrieval.stages.candidates import UNKNOWN
from rowbank_server.retrieval.stages.work import Work

NOBODY = "nothing is known of this user: no table has a row for a key of theirs, and there is no number"


def item_vectors(generation: Generation, items: Sequence[int]) -> Vectors:
    """A vector of each item, or why there is none."""
    positions = generation.positions_or_none(np.asarray(items, np.int64))
    vectors = iter(generation.vectors_at(positions[positions >= 0]))
    made: Vectors = []
    for position in positions.tolist():
        if position < 0:
            made.append(UNKNOWN)
            continue
        vector = next(vectors)
        made.append(generation.standing_at(position).text or vector)
    return made


def user_vectors(batch: Sequence[Work]) -> Vectors:
    """The query tower's vector of each query that went through it, or why there is none."""
    return [_reason(work) if work.vector is None else work.vector for work in batch]


def _reason(work: Work) -> str:
    reasons = [reason for reason in work.degraded if reason != "user:unknown"]
    return ", ".join(reasons) or NOBODY
