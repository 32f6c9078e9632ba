"""Packed bitmaps of positions."""

from __future__ import annotations

import numpy as np

from rowbank_server.retrieval.index import bitmap


def test_bitmap_sets_each_position_once_or_more() -> None:
    bits = bitmap(np.array([0, 9, 9, 15, 16]), 17)
    assert np.flatnonzero(np.unpackbits(bits, bitorder="little")).tolist() == [0, 9, 15, 16]
