"""Items in their order, the best first, however they are ranked: by a search, or by how popular they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from rowbank.errors import InvalidRequest
from rowbank_server.retrieval.generation import Bitmap, Generation, Positions
from rowbank_server.retrieval.index.bitmaps import bits_at, set_bits
from rowbank_server.retrieval.queries import Popularity

_FEW = 64  # So many items, or one of so many, are few.


class Ranked(NamedTuple):
    """Positions best first: [M] int64, and [M] float64 scores."""

    positions: Positions
    scores: npt.NDArray[np.float64]


# The best so many of those whose bit in [span / 8] is not set.
Rank = Callable[[Bitmap, int], Ranked]


class Trends(Protocol):
    """How popular items are in windows of time."""

    def scores(self, generation: Generation, popularity: Popularity) -> npt.NDArray[np.float64]:
        """[span] float64, by position."""


def by_search(generation: Generation, vector: npt.NDArray[np.float32], bonus: npt.NDArray[np.float32] | None) -> Rank:
    """Ranks by the score that a query's vector gives."""
    scale = generation.model.logit_scale
    queries = directed(vector, scale)[None]

    def rank(refused: Bitmap, count: int) -> Ranked:
        positions, scores = generation.search(queries, count, refused[None], None if bonus is None else [bonus])
        return Ranked(*scored(positions[0], scores[0], scale))

    return rank


def by_popularity(generation: Generation, popularity: Popularity | None, trends: Trends | None) -> Rank:
    """Ranks by how often histories name an item; or, in a window of time, by events, then by histories with score 0."""
    if popularity is None:

        def overall(refused: Bitmap, count: int) -> Ranked:
            positions = _most_popular(generation, ~refused, count)
            return Ranked(positions, generation.interactions_at(positions).astype(np.float64))

        return overall
    if trends is None:
        raise InvalidRequest("window_s: this service counts no events in windows of time; leave it out")
    scores = trends.scores(generation, popularity)

    def trending(refused: Bitmap, count: int) -> Ranked:
        met = np.flatnonzero(scores > 0)
        met = met[~bits_at(refused, met)]
        best = _best(generation, met, scores[met], count)
        if len(best) == count:
            return Ranked(best, scores[best])
        others = refused.copy()
        set_bits(others, met)
        rest = _most_popular(generation, ~others, count - len(best))
        return Ranked(np.concatenate([best, rest]), np.concatenate([scores[best], np.zeros(len(rest))]))

    return trending


def _best(generation: Generation, positions: Positions, scores: npt.NDArray[np.float64], count: int) -> Positions:
    """The `count` of [M] positions with the highest of [M] scores, equal ones by item id."""
    if 0 < count < len(positions):
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        above, equal = scores > least, np.flatnonzero(scores == least)
        ids, missing = generation.ids_at(positions[equal]), count - np.count_nonzero(above)
        above[equal[np.argpartition(ids, missing - 1)[:missing]]] = True
        positions, scores = positions[above], scores[above]
    order = np.lexsort((generation.ids_at(positions), -scores))[:count]
    best: Positions = positions[order]
    return best


def _most_popular(generation: Generation, allowed: Bitmap, count: int) -> Positions:
    """As `Generation.most_popular`, which goes down the whole list where too few are allowed: those few are sorted."""
    held = np.flatnonzero(allowed)
    if 8 * len(held) > max(_FEW, generation.span // _FEW):
        return generation.most_popular(allowed, count)
    places, bits = np.nonzero(np.unpackbits(allowed[held, None], axis=1, bitorder="little"))
    positions = 8 * held[places] + bits
    order = np.lexsort((generation.ids_at(positions), -generation.interactions_at(positions)))
    best: Positions = positions[order[:count]]
    return best


def directed(vectors: npt.NDArray[np.float32], scale: float) -> npt.NDArray[np.float32]:
    """Vectors under which the largest dot product is the best score, also where the scale is negative."""
    return -vectors if scale < 0 else vectors


def scored_all(
    positions: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], sizes: Sequence[int], scale: float
) -> list[Ranked]:
    """`scored` of a search of several queries, [B, k] each, of which each wants so many."""
    counts = np.count_nonzero(positions >= 0, axis=1).tolist()
    scaled = scores.astype(np.float64) * abs(scale)
    ends = map(min, sizes, counts)
    return [Ranked(positions[row, :end], scaled[row, :end]) for row, end in enumerate(ends)]


def scored(
    positions: Positions, scores: npt.NDArray[np.float32], scale: float
) -> tuple[Positions, npt.NDArray[np.float64]]:
    """What a search of one query found, without the places that stayed empty, and scores as callers know them."""
    count = int(np.count_nonzero(positions >= 0))
    return positions[:count], scores[:count].astype(np.float64) * abs(scale)
