"""The keys and rows that every candidate of a workload is given."""

from __future__ import annotations

import numpy as np

from .arrays import Array
from .report import Settings

BATCHES = 64  # Distinct batches, so that no candidate lives off a warm cache of one batch.


def table_keys(settings: Settings) -> Array:
    """[rows] int64, distinct, spread over the whole positive range."""
    generator = np.random.default_rng(settings.seed)
    keys = np.unique(generator.integers(0, 2**62, int(settings.rows * 1.01) + 16))[: settings.rows]
    return generator.permutation(keys)


def query_batches(settings: Settings, keys: Array) -> list[Array]:
    """BATCHES arrays of [batch] stored keys, without repeats within a batch, as a client sends them.

    Uniform, or with Zipf's popularity (exponent 1.05).
    """
    generator = np.random.default_rng(settings.seed + 1)
    weights = None
    if settings.keys == "zipf":
        weights = 1.0 / np.arange(1, len(keys) + 1) ** 1.05
        weights /= weights.sum()
    return [generator.choice(keys, settings.batch, replace=False, p=weights) for _ in range(BATCHES)]


def random_rows(settings: Settings, count: int) -> Array:
    """[count, dim] float32."""
    return np.random.default_rng(settings.seed + 2).standard_normal((count, settings.dim), dtype=np.float32)
