"""Exact search beside NumPy."""

from __future__ import annotations

import numpy as np

from rowbank_server import _core

from .arrays import Array
from .report import Figure, Settings, speedup
from .timing import take_turns

_ITEMS = 100_000
_TOP = 100


def exact_top_k(settings: Settings) -> list[Figure]:
    """One query's exact top 100 of 100,000 unit vectors, one thread."""
    random = np.random.default_rng(settings.seed)
    vectors = random.standard_normal((_ITEMS, settings.dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = random.standard_normal((64, settings.dim), dtype=np.float32)
    index = _core.FlatIndex(vectors)

    def search_numpy(number: int) -> Array:
        scores = vectors @ queries[number % 64]
        best = np.argpartition(scores, -_TOP)[-_TOP:]
        ordered: Array = best[np.argsort(-scores[best])]
        return ordered

    for number in range(64):
        positions, _ = index.search(queries[number : number + 1], _TOP)
        if set(positions[0].tolist()) != set(search_numpy(number).tolist()):
            raise RuntimeError(f"query {number}: the index and NumPy disagree")
    timings = take_turns(
        {
            "rowbank index": lambda number: index.search(queries[number % 64 : number % 64 + 1], _TOP),
            "NumPy matmul + argpartition": search_numpy,
        },
        rounds=settings.rounds,
        calls_per_round=settings.calls_per_round,
    )
    ours, theirs = timings["rowbank index"], timings["NumPy matmul + argpartition"]
    return [speedup("exact_top_k", ours, theirs, at_least=4.0, rows=_ITEMS)]
