"""The arithmetic of batches: by the native part where it was installed, else in NumPy."""

from __future__ import annotations

import warnings

NATIVE = True

try:
    from rowbank._native import (
        converts_half,
        distinct,
        expand,
        keep_best,
        related_items,
        round_to_half,
        sum_per_key,
        widen_half,
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
        round_to_half,
        sum_per_key,
        widen_half,
    )

__all__ = [
    "NATIVE",
    "converts_half",
    "distinct",
    "expand",
    "keep_best",
    "related_items",
    "round_to_half",
    "sum_per_key",
    "widen_half",
]
