"""Packed bitmaps of positions."""

from __future__ import annotations

import numpy as np

from rowbank_server.retrieval.index.bitmaps import bits_at, with_bits


def test_bitmap_sets_each_position_once_or_more() -> None:
    bits = with_bits(np.zeros(3, np.uint8), np.array([0, 9, 9, 15, 16]))
    assert np.flatnonzero(np.unpackbits(bits, bitorder="little")).tolist() == [0, 9, 15, 16]
    assert bits_at(bits, np.array([16, 1, 9])).tolist() == [True, False, True]
