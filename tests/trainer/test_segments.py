"""Figures by segment: worked out by hand, and by NumPy user by user and item by item."""

from __future__ import annotations

import json
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from rowbank_trainer.data import Catalogue, Interactions
from rowbank_trainer.evaluation import Accuracy, Evaluator, popularity_scorer, vector_scorer
from rowbank_trainer.segments import Kinds, Segments
from rowbank_trainer.two_tower.history import EpochReading, History
from rowbank_trainer.two_tower.segment_table import print_segments


def interactions(*pairs: tuple[int, int]) -> Interactions:
    users, items = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Interactions(users, items, np.ones(len(pairs), np.float32), np.zeros(len(pairs), np.int64))


def catalogue(count: int) -> Catalogue:
    return Catalogue(np.arange(count), tuple(map(str, range(count))), ((),) * count, (0,) * count)


def judged(by_user: dict[int, list[float]], train, held_out, cutoffs=(1, 2), **options) -> Segments:
    items = catalogue(len(next(iter(by_user.values()))))
    evaluator = Evaluator(items, train, held_out, **options)
    scorer = lambda users, part: np.array([by_user[user][part] for user in users], np.float32)  # noqa: E731
    found = evaluator.evaluate(scorer, cutoffs=cutoffs).segments
    assert found is not None
    return found


def test_users_are_told_apart_by_how_much_they_met() -> None:
    kinds = Kinds.of(np.array([0, 1, 5, 6, 20, 21, 400]), np.array([1]))
    assert kinds.users.tolist() == [0, 1, 1, 2, 2, 3, 3]


def test_items_are_told_apart_by_tenths_of_the_catalogue() -> None:
    assert Kinds.of(np.zeros(1, np.int64), np.arange(20)[::-1]).items.tolist() == np.repeat(np.arange(10), 2).tolist()
    # Two are met most, eight never: their places 2 to 9 have the middle 5.5, which is in the sixth tenth.
    assert Kinds.of(np.zeros(1, np.int64), np.array([0, 0, 7, 0, 0, 0, 9, 0, 0, 0])).items.tolist() == [
        5, 5, 1, 5, 5, 5, 0, 5, 5, 5
    ]  # fmt: skip
    assert Kinds.of(np.zeros(1, np.int64), np.array([3, 3, 3])).items.tolist() == [3, 3, 3]  # None of them is rare.


def test_new_users_and_rare_items_by_hand() -> None:
    # Items 0 to 3 with 3, 2, 1, 0 interactions: places 0 to 3 of 4, so deciles 1, 3, 6 and 8; 2 and 3 are rare.
    train = interactions((1, 0), (1, 1), (7, 0), (7, 1), (8, 0), (8, 2))
    # User 1 (2 interactions) wants 2 and 3, shown 2, 3. User 5 (none) wants 0 and 3, shown 1, 0.
    segments = judged({1: [9, 8, 7, 6], 5: [5, 6, 1, 0]}, train, interactions((1, 2), (1, 3), (5, 0), (5, 3)))
    assert (segments.users["0"].users, segments.users["0"].pairs) == (1, 2)
    assert segments.users["0"].recall == {1: 0.0, 2: 0.5}
    assert segments.users["1-5"].recall == {1: 0.5, 2: 1.0}
    # Second place gives 1 / log2(3), of at best 1 + 1 / log2(3).
    second = 1 / np.log2(3)
    assert segments.users["0"].ndcg == pytest.approx({1: 0.0, 2: second / (1 + second)})
    assert segments.users["6-20"].users == 0
    assert segments.users["6-20"].recall == {}
    assert segments.new_users.users == 2
    assert segments.new_users.recall == {1: 0.25, 2: 0.75}
    assert segments.new_users.hit_rate == {1: 0.5, 2: 1.0}
    # Rare: user 1's 2 and 3, both found; user 5's 3, not found. Pairs: 2 of 3; users: (1 + 0) / 2.
    assert (segments.rare_items.users, segments.rare_items.pairs) == (2, 3)
    assert segments.rare_items.unseen == pytest.approx({1: 1 / 3, 2: 2 / 3})
    assert segments.rare_items.recall == {1: 0.25, 2: 0.5}
    assert {name for name, figures in segments.items.items() if figures.users} == {"1", "6", "8"}
    assert segments.items["1"].recall == {1: 0.0, 2: 1.0}
    assert segments.items["8"].recall == {1: 0.0, 2: 0.5}


def test_coverage_and_novelty_by_hand() -> None:
    # Shares of 4 interactions: item 0 a half, item 1 a quarter, item 2 a quarter, item 3 as if met once.
    train = interactions((7, 0), (8, 0), (7, 1), (8, 2))
    segments = judged({1: [4, 3, 2, 1], 2: [1, 2, 3, 4], 3: [9, 9, 9, 9]}, train, interactions((1, 0), (2, 1)))
    assert segments.coverage == {1: 2 / 4, 2: 4 / 4}  # User 3 wants nothing and is not asked.
    assert segments.novelty == pytest.approx({1: (1 + 2) / 2, 2: (1 + 2 + 2 + 2) / 4})


def test_a_user_without_a_candidate_left_is_shown_none_and_is_new_all_the_same() -> None:
    segments = judged({1: [1, 2]}, interactions((9, 0)), interactions((1, 0)), cutoffs=(1, 100))
    assert segments.coverage == {1: 0.5, 100: 1.0}  # Beyond the catalogue there is nothing.
    assert segments.users["0"].recall == {1: 0.0, 100: 1.0}


def test_what_is_learned_says_who_is_new() -> None:
    """A part that says when to stop is met but not learned."""
    met = interactions((1, 0), (1, 1))
    segments = judged({1: [1, 2, 3]}, met, interactions((1, 2)), learned=met.take(np.array([], np.int64)))
    assert segments.users["0"].users == 1
    assert segments.users["0"].recall == {1: 1.0, 2: 1.0}


def naive(users, scores, train, held_out, item_counts, k, wants_user, wants_item) -> tuple[float, int]:
    """Mean recall at k, and the number of users: user by user, with everything sorted."""
    recalls = []
    for row, user in enumerate(users):
        met = {item for owner, item in train if owner == user}
        wanted = {item for owner, item in held_out if owner == user} - met
        wanted = {item for item in wanted if wants_item(item)}
        if not wanted or not wants_user(sum(owner == user for owner, _ in train)):
            continue
        mine = scores[row].copy()
        mine[list(met)] = -np.inf
        best = np.argsort(-mine, kind="stable")[:k]
        recalls.append(len(wanted & set(best.tolist())) / len(wanted))
    return float(np.mean(recalls)) if recalls else 0.0, len(recalls)


def test_blocks_of_users_and_items_agree_with_a_plain_ranking() -> None:
    rng = np.random.default_rng(5)
    users, items = 700, 40
    counts = rng.integers(0, 25, users)
    train = [(user, int(item)) for user in range(users) for item in rng.choice(items, counts[user] // 2, False)]
    held_out = [(user, int(item)) for user in range(users) for item in rng.choice(items, 3, False)]
    user_vectors, item_vectors = (rng.normal(size=(n, 4)).astype(np.float32) for n in (users, items))
    evaluator = Evaluator(catalogue(items), interactions(*train), interactions(*held_out), memory_bytes=512 * 16 * 7)
    found = evaluator.evaluate(vector_scorer(np.arange(users), user_vectors, item_vectors), cutoffs=(10, 20)).segments
    assert found is not None
    scores = user_vectors @ item_vectors.T
    item_counts = np.bincount([item for _, item in train], minlength=items)
    decile = Kinds.of(np.zeros(1, np.int64), item_counts).items
    ranges = {"0": (0, 0), "1-5": (1, 5), "6-20": (6, 20), "21+": (21, 99)}
    for name, (low, high) in ranges.items():
        recall, count = naive(
            range(users),
            scores,
            train,
            held_out,
            item_counts,
            20,
            lambda n, low=low, high=high: low <= n <= high,
            lambda item: True,
        )
        assert found.users[name].users == count
        assert found.users[name].recall.get(20, 0.0) == pytest.approx(recall)
    for place in (0, 9):
        recall, count = naive(
            range(users),
            scores,
            train,
            held_out,
            item_counts,
            10,
            lambda n: True,
            lambda item, place=place: decile[item] == place,
        )
        assert found.items[str(place + 1)].users == count
        assert found.items[str(place + 1)].recall[10] == pytest.approx(recall)


def test_segments_survive_being_written_down_and_are_printed() -> None:
    train, held_out = interactions((1, 0), (2, 0), (2, 1)), interactions((1, 1), (2, 2), (3, 3))
    evaluator = Evaluator(catalogue(5), train, held_out)
    accuracy = evaluator.evaluate(popularity_scorer(catalogue(5), train))
    history = History(epochs=[EpochReading(1, 0.5, accuracy), EpochReading(2, 0.4, accuracy)])
    again = History.from_json(json.loads(json.dumps(history.as_json())))
    assert again.segments == accuracy.segments
    assert isinstance(again.epochs[0].accuracy, Accuracy)
    text = StringIO()
    print_segments(Console(file=text, width=120), {"popularity": accuracy.segments, "unknown": None})
    assert "rare items" in text.getvalue()
    assert "unknown" not in text.getvalue()
    # Everybody's item is among the best 20 of 5; nobody has met more than 5.
    assert text.getvalue().count("1.0000") == 4
    assert text.getvalue().count(" - ") == 2
