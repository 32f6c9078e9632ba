"""Related items, against their formula over dense matrices."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank.related import most_related


def by_formula(users: np.ndarray, items: np.ndarray, catalogue: int, length: int) -> np.ndarray:
    """R is [users, items] of 0 and 1; scores are D_i^-1/2 R^T D_u^-1 R D_i^-1/2, where the D count."""
    met = np.zeros((users.max() + 1, catalogue))
    met[users, items] = 1.0
    by_user, by_item = np.maximum(met.sum(axis=1), 1), np.maximum(met.sum(axis=0), 1)
    scores = (met / by_user[:, None]).T @ met / np.sqrt(by_item[:, None] * by_item[None, :])
    np.fill_diagonal(scores, 0.0)
    found = np.full((catalogue, length), -1)
    for item, line in enumerate(scores):
        # Products of floats differ in the last digits, where sums would be equal.
        order = np.lexsort((np.arange(catalogue), -np.round(line, 9)))[:length]
        related = order[line[order] > 0.0]
        found[item, : len(related)] = related
    return found


@pytest.mark.parametrize("length", [1, 3, 30])
def test_it_is_the_formula(length: int) -> None:
    rng = np.random.default_rng(3)
    users, items = rng.integers(0, 40, 300), np.minimum(rng.geometric(0.1, 300), 25) - 1
    repeated = np.concatenate([items, items[:50]]), np.concatenate([users, users[:50]])
    found = most_related(repeated[1], repeated[0], catalogue=26, length=length)
    expected = by_formula(users, items, 26, length)
    differ = np.argwhere(found != expected)
    assert not len(differ), (differ, found[differ[0][0]], expected[differ[0][0]])


def test_by_hand() -> None:
    # User 0 met items 0, 1, 2; user 1 met 0, 1; user 2 met 2, 3. Item 4 nobody; item 0 and 1 share most.
    users, items = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([0, 1, 2, 1, 0, 3, 2])
    assert most_related(users, items, catalogue=5, length=3).tolist() == [
        [1, 2, -1],  # (1/3 + 1/2) / sqrt(2 2) and 1/3 / sqrt(2 2)
        [0, 2, -1],
        [3, 0, 1],  # 1/2 / sqrt(2 1), and twice 1/3 / sqrt(2 2)
        [2, -1, -1],
        [-1, -1, -1],
    ]


def test_blocks_fit_together() -> None:
    """A catalogue of several calls: pairs of neighbours, each related to the other."""
    items = np.arange(10_000)
    found = most_related(items // 2, items, catalogue=10_001, length=2)
    assert (found[:-1, 0] == items ^ 1).all()
    assert (found[:-1, 1] == -1).all()
    assert (found[-1] == -1).all()


def test_nothing_met() -> None:
    nobody = np.zeros(0, np.int64)
    assert most_related(nobody, nobody, catalogue=2, length=2).tolist() == [[-1, -1], [-1, -1]]
    assert most_related(nobody, nobody, catalogue=0, length=2).shape == (0, 2)


@pytest.mark.parametrize(
    ("users", "items", "length", "message"),
    [
        ([0], [3], 1, "items: expected positions from 0 to 2"),
        ([0], [-1], 1, "items: expected positions from 0 to 2"),
        ([-1], [0], 1, "users: expected positions from 0, got -1"),
        ([0], [0], 0, "length: expected at least 1, got 0"),
    ],
)
def test_what_is_refused(users: list[int], items: list[int], length: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        most_related(np.array(users), np.array(items), catalogue=3, length=length)
