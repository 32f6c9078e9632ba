"""How gradients become narrower on their way: to nearest, or at random so that their mean stays what it is."""

from __future__ import annotations

import itertools
import secrets

import numpy as np

from rowbank import _kernels
from rowbank._checks import at_least
from rowbank.calls import arrays
from rowbank.errors import InvalidRequest
from rowbank_protos import columns

_WAYS = ("nearest", "stochastic")
_WORDS = 2**64


class Rounding:
    """Rounds at random; each call with other random numbers, all of them of one seed. Thread-safe.

    Args:
        seed: at least 0; None: one that nobody knows.
    """

    def __init__(self, seed: int | None) -> None:
        first = secrets.randbits(64) if seed is None else seed
        self._seeds = itertools.count(first)

    def narrow(self, values: arrays.Floats, wire_dtype: int) -> arrays.Array:
        """Finite contiguous float32 of any shape in the storage dtype of the wire; float32 itself is not copied."""
        if columns.storage_dtype(wire_dtype).itemsize != 2:
            return arrays.narrow(values, wire_dtype)
        half = wire_dtype == columns.FLOAT16
        bits = np.empty(values.shape, np.uint16)
        _kernels.round_at_random(values, bits, half, _mixed(next(self._seeds)))
        return bits.view(np.float16) if half else bits


def rounding_of(gradient_rounding: str, seed: int | None) -> Rounding | None:
    """What a client's arguments ask for; None: to nearest. Raises `InvalidRequest`."""
    if gradient_rounding not in _WAYS:
        raise InvalidRequest(f"gradient_rounding: expected one of {', '.join(_WAYS)}, got {gradient_rounding!r}")
    if seed is not None:
        seed = at_least("rounding_seed", seed, 0, also=", or None")
    return Rounding(seed) if gradient_rounding == "stochastic" else None


def _mixed(seed: int) -> int:
    """64 bits that a seed stands for (the finalizer of SplitMix64)."""
    z = (seed + 0x9E3779B97F4A7C15) % _WORDS
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % _WORDS
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % _WORDS
    return z ^ (z >> 31)
