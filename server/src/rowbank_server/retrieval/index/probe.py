"""How much of the exact answers what is served finds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rowbank_server._core import search_vectors
from rowbank_server.retrieval.index.protocol import Index
from rowbank_server.retrieval.index.tuning import made_queries, recall_of

Vectors = npt.NDArray[np.float32]
Bitmap = npt.NDArray[np.uint8]

MAX_PROBE_S = 10.0
_FEWEST = 10  # Queries that are asked, however long they take.
_SAMPLED = 3000  # Vectors that queries are made of, at most.


class Served(Protocol):
    """What answers: an index, or a generation of several."""

    def search(self, queries: Vectors, k: int, exclude: Bitmap) -> tuple[npt.NDArray[np.int64], Vectors]: ...


@dataclass(frozen=True, slots=True)
class Probe:
    """What was measured.

    Attributes:
        queries: that were asked; fewer than wanted where they took too long.
        wanted: items of the exact answers; found: those of them that were served.
        recall: found by wanted, 1 where nothing was wanted; worst_recall: of one query.
        served_p50_ms, exact_p50_ms: of one query alone.
        items: positions with an item; eligible: those that the search may find.
    """

    index: str
    queries: int
    k: int
    wanted: int
    found: int
    worst_recall: float
    served_p50_ms: float
    exact_p50_ms: float
    items: int
    eligible: int

    @property
    def recall(self) -> float:
        return self.found / self.wanted if self.wanted else 1.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of the positions: those from `start` on lie in an index. `start` is a multiple of 8."""

    start: int
    index: Index


def probe(
    served: Served,
    pieces: Sequence[Piece],
    exclude: Bitmap,
    *,
    k: int,
    queries: int,
    given: Vectors | None = None,
    seed: int = 0,
    items: int | None = None,
    max_s: float = MAX_PROBE_S,
) -> Probe:
    """Asks the same of what is served and of its float vectors, one query after the other, in the caller's thread.

    Args:
        pieces: all that `served` searches.
        exclude: [ceil(span / 8)] uint8: positions that are left out.
        given: [Q, dim]: queries that were really asked; without them, queries are made of vectors.
        items: how many there are; None: all positions of the pieces.
    """
    asked = _queries(pieces, exclude, given, queries, seed)
    shares: list[float] = []
    found = wanted = 0
    times: list[tuple[float, float]] = []
    ends = time.monotonic() + max_s
    for query in asked:
        if len(shares) >= _FEWEST and time.monotonic() >= ends:
            break
        begun = time.perf_counter()
        got = served.search(query[None], k, exclude[None])[1]
        between = time.perf_counter()
        exact = _exact(pieces, query[None], k, exclude)
        times.append((between - begun, time.perf_counter() - between))
        share, many = float(recall_of(got, exact)[0]), int(np.isfinite(exact).sum())
        shares.append(share)
        wanted += many
        found += round(share * many)
    served_s, exact_s = np.median(np.array(times), axis=0) if times else (0.0, 0.0)
    return Probe(
        index=", ".join(dict.fromkeys(piece.index.describe() for piece in pieces)) or "exact",
        queries=len(shares),
        k=k,
        wanted=wanted,
        found=found,
        worst_recall=min(shares, default=1.0),
        served_p50_ms=1000 * float(served_s),
        exact_p50_ms=1000 * float(exact_s),
        items=sum(piece.index.size for piece in pieces) if items is None else items,
        eligible=sum(piece.index.size - _ones(_cut(exclude, piece), piece.index.size) for piece in pieces),
    )


def _queries(
    pieces: Sequence[Piece], exclude: Bitmap, given: Vectors | None, count: int, seed: int
) -> npt.NDArray[np.float32]:
    """[up to count, dim]: those given, or made of vectors that are not zero; none where all are."""
    random = np.random.default_rng(seed)
    if given is not None and len(given):
        return np.ascontiguousarray(given[random.permutation(len(given))[:count]], dtype=np.float32)
    drawn = [
        piece.index.vectors[np.sort(random.integers(0, piece.index.size, min(piece.index.size, _SAMPLED)))]
        for piece in pieces
        if piece.index.size
    ]
    vectors = np.concatenate(drawn) if drawn else np.empty((0, 1), np.float32)
    vectors = vectors[vectors.any(axis=1)]
    return made_queries(vectors, count, random) if len(vectors) else vectors


def _exact(pieces: Sequence[Piece], query: Vectors, k: int, exclude: Bitmap) -> Vectors:
    """[1, k] scores, best first, -inf where fewer are eligible."""
    scores = [search_vectors(piece.index.vectors, query, k, _cut(exclude, piece)[None])[1] for piece in pieces]
    best: Vectors = -np.sort(-np.hstack([*scores, np.full((1, k), -np.inf, np.float32)]), axis=1)[:, :k]
    return best


def _cut(exclude: Bitmap, piece: Piece) -> Bitmap:
    return np.ascontiguousarray(exclude[piece.start // 8 : piece.start // 8 + (piece.index.size + 7) // 8])


def _ones(bits: Bitmap, count: int) -> int:
    return int(np.count_nonzero(np.unpackbits(bits, count=count, bitorder="little")))
