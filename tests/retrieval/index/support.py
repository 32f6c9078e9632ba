"""Vectors, queries and exact answers for tests of indexes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


def clustered(rng: np.random.Generator, size: int, dim: int, queries: int = 8) -> tuple[Vectors, Vectors]:
    """Items of 40 clusters, of different lengths, some twice and some zero; queries near the clusters."""
    centres = rng.standard_normal((40, dim))
    items = centres[rng.integers(0, 40, size)] + 0.4 * rng.standard_normal((size, dim))
    items *= rng.lognormal(0, 0.3, (size, 1))
    if size:
        items[rng.integers(0, size, size // 20)] = items[rng.integers(0, size, size // 20)]
        items[rng.integers(0, size, size // 50)] = 0
    asked = centres[rng.integers(0, 40, queries)] + 0.5 * rng.standard_normal((queries, dim))
    return items.astype(np.float32), asked.astype(np.float32)


def reference(vectors: Any, queries: Any, k: int, excluded: Any = None, bonus: Any = None) -> tuple[Any, Any]:
    """Positions [B, k] and scores in double precision, -1 and -inf where fewer are eligible; equal ones by position."""
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    for row, added in zip(scores, bonus or [], strict=False):
        row += 0 if added is None else added.astype(np.float64)
    if excluded is not None:
        scores[excluded] = -np.inf
    positions = np.full((len(queries), k), -1, np.int64)
    best = np.full((len(queries), k), -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    sorted_scores = np.take_along_axis(scores, order, axis=1)
    positions[:, : order.shape[1]] = np.where(np.isfinite(sorted_scores), order, -1)
    best[:, : order.shape[1]] = sorted_scores
    return positions, best


def packed(excluded: Any) -> npt.NDArray[np.uint8]:
    """[B, ceil(size / 8)] uint8 of [B, size] truth values."""
    return np.packbits(excluded, axis=1, bitorder="little")
