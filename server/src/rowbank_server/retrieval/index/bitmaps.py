"""Packed bitmaps of positions: uint8, least significant bit first."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def bits_at(bits: npt.NDArray[np.uint8], positions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """[M] bool: the bits at [M] positions of a bitmap."""
    found: npt.NDArray[np.bool_] = (bits[positions >> 3] >> (positions & 7).astype(np.uint8)) & 1 == 1
    return found


def set_bits(bits: npt.NDArray[np.uint8], positions: npt.NDArray[np.int64]) -> None:
    """Sets those of some positions; any may come twice."""
    if len(positions):
        np.bitwise_or.at(bits, positions >> 3, (1 << (positions & 7)).astype(np.uint8))


def with_bits(bits: npt.NDArray[np.uint8], positions: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """A bitmap with those of some positions set, too."""
    made = bits.copy()
    set_bits(made, positions)
    return made
