"""The arithmetic of batches: by the native part where it was installed, else in NumPy."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rowbank._native import NearCache

NATIVE = True

try:
    from rowbank._native import (
        converts_half,
        distinct,
        expand,
        keep_best,
        related_items,
        round_at_random,
        round_to_half,
        sum_per_key,
        widen_half,
        widen_int8,
    )
except ImportError as error:
    NATIVE = False
    if not isinstance(error, ModuleNotFoundError):  # It is there and cannot be loaded, which somebody should know.
        warnings.warn(f"rowbank works without its native part, slower: {error}", RuntimeWarning, stacklevel=2)
    from rowbank._without_native import (
        converts_half,
        distinct,
        expand,
        keep_best,
        related_items,
        round_at_random,
        round_to_half,
        sum_per_key,
        widen_half,
        widen_int8,
    )

__all__ = [
    "NATIVE",
    "NearCache",
    "converts_half",
    "distinct",
    "expand",
    "keep_best",
    "near_cache",
    "related_items",
    "round_at_random",
    "round_to_half",
    "sum_per_key",
    "widen_half",
    "widen_int8",
]


def near_cache(dim: int, max_bytes: int, max_staleness_steps: int) -> NearCache:
    """A cache of one table's rows, which only the native part has."""
    from rowbank import _native

    return _native.NearCache(dim, max_bytes, max_staleness_steps)
