"""Which of a user's interactions say what is related."""

from __future__ import annotations

import numpy as np

from rowbank_trainer.two_tower.related import related_items


def test_users_are_told_apart_by_id_and_repeats_count_once() -> None:
    # User 70 met 0, 1 and 0 again; user -5 met 1, 2.
    users, items = np.array([70, -5, 70, -5, 70]), np.array([0, 1, 1, 2, 0])
    found = related_items(users, items, np.zeros(5, np.int64), catalogue=3, length=2)
    assert found.tolist() == [[1, -1], [0, 2], [1, -1]]


def test_of_a_user_with_more_the_last_items_count() -> None:
    users, items, times = np.array([1, 1, 1, 1]), np.array([0, 1, 2, 3]), np.array([40, 20, 10, 30])
    found = related_items(users, items, times, catalogue=4, length=3, most=3)
    assert found.tolist() == [[1, 3, -1], [0, 3, -1], [-1, -1, -1], [0, 1, -1]]


def test_nothing_to_go_by() -> None:
    nobody = np.zeros(0, np.int64)
    assert related_items(nobody, nobody, nobody, catalogue=2, length=1).tolist() == [[-1], [-1]]
