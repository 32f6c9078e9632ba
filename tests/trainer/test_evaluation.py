"""Hit rates, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank_trainer.data import Catalogue, Interactions
from rowbank_trainer.evaluation import Evaluator, popularity_scorer, ranks, vector_scorer

CATALOGUE = Catalogue(np.array([10, 20, 30, 40]), ("a", "b", "c", "d"), ((),) * 4, (0,) * 4)


def interactions(*pairs: tuple[int, int]) -> Interactions:
    users, items = np.array(pairs, dtype=np.int64).T
    return Interactions(users, items, np.ones(len(pairs), np.float32), np.zeros(len(pairs), np.int64))


def test_rank_counts_better_items_and_breaks_ties_by_position() -> None:
    scores = np.float32([[5, 7, 7, 1], [0, 0, 0, 0]])
    rows, columns = np.array([0, 0, 0, 1, 1]), np.array([1, 2, 3, 0, 3])
    np.testing.assert_array_equal(ranks(scores, rows, columns), [0, 1, 3, 0, 3])


def test_hit_rates_over_all_and_over_unseen_items() -> None:
    # User 1 has met 10 and 20. Its scores put them first: 10, 20, 30, 40.
    # User 2 has met 40; order 40, 30, 20, 10.
    train = interactions((1, 10), (1, 20), (2, 40))
    held_out = interactions((1, 30), (1, 40), (2, 20))
    by_user = {1: [4.0, 3.0, 2.0, 1.0], 2: [1.0, 2.0, 3.0, 4.0]}
    accuracy = Evaluator(CATALOGUE, train, held_out).evaluate(
        lambda users: np.array([by_user[user] for user in users], np.float32), cutoffs=(1, 2, 3)
    )
    # Ranks over all items: 30 -> 2, 40 -> 3, 20 -> 2. Over unseen ones: 30 -> 0, 40 -> 1, 20 -> 1 (after 30).
    assert accuracy.all_items == pytest.approx({1: 0.0, 2: 0.0, 3: 2 / 3})
    assert accuracy.unseen == pytest.approx({1: 1 / 3, 2: 1.0, 3: 1.0})


def test_popularity_is_the_count_in_training() -> None:
    train = interactions((1, 10), (1, 20), (2, 20), (3, 20), (2, 40), (3, 40))
    scorer = popularity_scorer(CATALOGUE, train)
    np.testing.assert_array_equal(scorer(np.array([1, 9])), np.float32([[1, 3, 0, 2]] * 2))
    # User 1 has met 10 and 20: of what is left, 40 leads and 30 follows.
    accuracy = Evaluator(CATALOGUE, train, interactions((1, 40), (1, 30))).evaluate(scorer, cutoffs=(1, 2))
    assert accuracy.unseen == {1: 0.5, 2: 1.0}
    # Over all items 40 is second and 30 last.
    assert accuracy.all_items == {1: 0.0, 2: 0.5}


def test_users_with_nothing_in_training_are_judged_too() -> None:
    accuracy = Evaluator(CATALOGUE, interactions((1, 10)), interactions((5, 30))).evaluate(
        lambda users: np.array([[0, 0, 1, 0]] * len(users), np.float32), cutoffs=(1,)
    )
    assert accuracy.unseen == {1: 1.0}


def test_many_users_in_blocks_equal_one_by_one() -> None:
    rng = np.random.default_rng(5)
    users, dim = 700, 8
    user_vectors = rng.normal(size=(users, dim)).astype(np.float32)
    item_vectors = rng.normal(size=(4, dim)).astype(np.float32)
    held_out = interactions(*((user, int(rng.choice([10, 20, 30, 40]))) for user in range(users)))
    train = interactions(*((user, 10) for user in range(0, users, 2)))
    scorer = vector_scorer(np.arange(users), user_vectors, item_vectors)
    found = Evaluator(CATALOGUE, train, held_out).evaluate(scorer, cutoffs=(2,)).all_items[2]
    hits = 0
    for user, item in zip(held_out.user_ids, held_out.item_ids, strict=True):
        best = np.argsort(-(item_vectors @ user_vectors[user]))[:2]
        hits += (item // 10 - 1) in best
    assert found == pytest.approx(hits / users)
