"""Packed bitmaps of positions: uint8, least significant bit first."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def bitmap(positions: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.uint8]:
    """[ceil(size / 8)] uint8 with the bits of `positions` set, least significant bit first."""
    bits = np.zeros((size + 7) // 8, dtype=np.uint8)
    np.bitwise_or.at(bits, positions >> 3, (1 << (positions & 7)).astype(np.uint8))
    return bits
