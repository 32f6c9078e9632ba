"""The best of many scores: against a whole sort by NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank.ranking import Best


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("users", "items", "size", "block"), [(3, 1000, 10, 64), (2, 257, 100, 50), (4, 5, 8, 2)])
def test_blocks_give_what_a_whole_sort_gives(seed, users, items, size, block):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 50, (users, items)).astype(np.float32)  # Many ties.
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    best = Best(users, size)
    for start in range(0, items, block):
        best.add(np.ascontiguousarray(scores[:, start : start + block]), start)
    for user in range(users):
        order = [i for i in np.argsort(-scores[user], kind="stable") if np.isfinite(scores[user, i])][:size]
        padded = order + [-1] * (size - len(order))
        assert best.items[user].tolist() == padded
        assert best.scores[user, : len(order)].tolist() == scores[user, order].tolist()
        assert (best.scores[user, len(order) :] == -np.inf).all()


def test_nan_is_never_taken():
    best = Best(1, 2)
    best.add(np.array([[np.nan, 1.0, np.nan]], np.float32), 10)
    assert best.items.tolist() == [[11, -1]]


def test_negative_scores_are_taken():
    best = Best(1, 2)
    best.add(np.array([[-3.0, -1.0, -2.0]], np.float32), 0)
    assert best.items.tolist() == [[1, 2]]


def test_other_shapes_and_types_are_refused():
    best = Best(2, 3)
    with pytest.raises(ValueError, match="shapes"):
        best.add(np.zeros((3, 4), np.float32), 0)
    with pytest.raises(TypeError):
        best.add(np.zeros((2, 4)), 0)
