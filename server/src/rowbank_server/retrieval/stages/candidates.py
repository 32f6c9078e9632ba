"""Ranks items that the caller names, and no others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rowbank_server.retrieval.generation import Bitmap, Generation, Positions
from rowbank_server.retrieval.index.bitmaps import bits_at
from rowbank_server.retrieval.queries import Answer, Source
from rowbank_server.retrieval.stages import explain
from rowbank_server.retrieval.stages.work import Work

UNKNOWN = "the catalogue has no such item"
REFUSED = "the filter does not let it through, or the query excludes it"


def rank_candidates(
    generation: Generation,
    work: Work,
    candidates: Sequence[int],
    refused: Bitmap,
    bonus: npt.NDArray[np.float32] | None,
) -> Answer:
    """All candidates that can be scored, each once, best first, equal scores by id; and why the others cannot.

    Without a vector the score is how often histories name an item, and the source says it.

    Args:
        refused: [span / 8]: what the query may not have, such as what it excludes.
        bonus: [span] what is added to dot products.
    """
    distinct = np.array(list(dict.fromkeys(candidates)), np.int64)
    positions = generation.positions_or_none(distinct)
    unscored = [(item, UNKNOWN) for item in distinct[positions < 0].tolist()]
    positions = positions[positions >= 0]
    out = bits_at(refused, positions)
    unscored += [(item, REFUSED) for item in generation.ids_at(positions[out]).tolist()]
    positions = positions[~out]
    if work.vector is not None:
        there = generation.are_indexed(positions)
        for position in positions[~there].tolist():
            unscored.append((generation.id_at(position), generation.standing_at(position).text))
        positions = positions[there]
    scores = _scores(generation, work, positions, bonus)
    order = np.lexsort((generation.ids_at(positions), -scores))
    order = order if work.query.min_score is None else order[scores[order] >= work.query.min_score]
    positions, listed = positions[order], scores[order].tolist()
    parts = explain.score_parts(generation, work, positions, listed)
    if work.explanation is not None:
        explain.features(generation, work)
        explain.named(work, len(distinct), len(positions))
    return Answer(
        generation.found_all(positions, listed, parts),
        work.source if work.vector is not None else Source.POPULAR,
        generation.model.version,
        generation.index_version,
        work.degraded,
        work.defaulted,
        unscored=unscored,
        explanation=work.explanation,
    )


def _scores(
    generation: Generation, work: Work, positions: Positions, bonus: npt.NDArray[np.float32] | None
) -> npt.NDArray[np.float64]:
    """[M] float64, as a search scores: summed in double precision, rounded to float32, times the scale."""
    if work.vector is None:
        return generation.interactions_at(positions).astype(np.float64)
    scale = generation.model.logit_scale
    dots = generation.vectors_at(positions).astype(np.float64) @ work.vector.astype(np.float64)
    if scale < 0:
        dots = -dots
    if bonus is not None:
        dots = dots + bonus[positions]
    return dots.astype(np.float32).astype(np.float64) * abs(scale)
