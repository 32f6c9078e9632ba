"""Keys and numbers that towers take of features; what is expected is worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rowbank.manifests import BucketKey, QuotientKey, RemainderKey, TowerInput
from rowbank.text import token_key
from rowbank.tower_keys import input_keys, input_numbers


def made(values: list[Any], **changes: Any) -> list[Any]:
    """The keys, with None for what is padding."""
    part = TowerInput(**{"name": "rows", "table": "t", "feature": "items:f", "dim": 2, **changes})
    keys = input_keys(part, values)
    assert keys.keys.dtype == np.int64
    assert keys.there.shape == keys.keys.shape
    assert (keys.keys[~keys.there] == part.pad_key).all()
    shown = keys.keys.astype(object)
    shown[~keys.there] = None
    return list(shown.tolist())


def test_single_keys() -> None:
    assert made([5, None, 0, -3]) == [5, None, None, -3]  # 0 is the pad key.
    assert made([5, None, 0, -3], kind="") == [5, None, 0, -3]  # Versions of before knew none for single keys.
    assert made([5, None, 0], pad_key=-1) == [5, None, 0]
    assert made([0, 7], feature="user_id") == [0, 7]  # An id is an id.
    assert made([-(2**63), 25], pad_key=-(2**63), rule=RemainderKey(10)) == [None, 11]
    assert made([]) == []


def test_lists_are_padded_and_cut() -> None:
    lists = [[1, 2, 3, 4], [5], [], None, [0, 6]]
    assert made(lists, length=3) == [[1, 2, 3], [5, None, None], [None] * 3, [None] * 3, [None, 6, None]]
    newest = [[2, 3, 4], [5, None, None], [None] * 3, [None] * 3, [None, 6, None]]
    assert made(lists, length=3, newest=True) == newest
    assert made(lists, length=3, feature="users:history") == newest
    assert made([np.array([1, 2]), (3,)], length=2) == [[1, 2], [3, None]]
    assert made([], length=2) == []


def test_texts_have_keys_and_empty_ones_have_none() -> None:
    a, b = token_key("a"), token_key("b")
    assert made(["a", "", None, "b", "a"], kind="text_keys") == [a, None, None, b, a]
    assert made([["a", "", "b", "a"], None, []], kind="text_keys", length=3) == [[a, None, b], [None] * 3, [None] * 3]
    assert made([["a", "b"]], kind="text_keys", length=1, newest=True) == [[b]]


def test_words() -> None:
    toy, story = token_key("toy"), token_key("story")
    assert made(["Toy Story!", "toy", "...", None], kind="words", length=2) == [
        [toy, story],
        [toy, None],
        [None, None],
        [None, None],
    ]
    assert made(["Toy Story 2"], kind="words", length=2) == [[toy, story]]


def test_a_rule_leaves_padding_padding() -> None:
    """Quotient 0 is a key like any other, although the pad key is 0: padding is told before the rule."""
    lists = [[0, 7, 25], [-1]]
    assert made(lists, length=3, rule=QuotientKey(10)) == [[None, 0, 4], [-2, None, None]]
    assert made(lists, length=3, rule=RemainderKey(10)) == [[None, 15, 11], [19, None, None]]
    bucket = made([[0, 7]], length=3, rule=BucketKey((1, 2), 1, first=40))  # One bucket: no hash to work out.
    assert bucket == [[None, 40, None]]
    assert made(["a", "", None], kind="text_keys", rule=BucketKey((1, 2), 1, first=0)) == [0, None, None]
    key = token_key("a")
    assert made(["a"], kind="text_keys", rule=QuotientKey(1000)) == [2 * (key // 1000)]


def test_numbers() -> None:
    part = TowerInput("x", "", "users:age", 1, kind="numbers")
    got = input_numbers(part, [1, None, 2.5, True, math.nan, -math.inf, 1e39, [4.0], [1.0, 2.0]])
    assert got.values.dtype == np.float32
    assert got.values.tolist() == [[1], [0], [2.5], [1], [0], [0], [0], [4], [0]]
    assert got.there.tolist() == [True, False, True, True, False, False, False, True, False]
    assert got.unusable.tolist() == [False, False, False, False, True, True, True, False, True]


def test_lists_of_numbers() -> None:
    part = TowerInput("x", "", "users:taste", 2, kind="numbers")
    got = input_numbers(part, [[1, 2], None, [1], [], [1, math.nan], np.array([3, 4], np.float32)])
    assert got.values.tolist() == [[1, 2], [0, 0], [0, 0], [0, 0], [0, 0], [3, 4]]
    assert got.there.tolist() == [True, False, False, False, False, True]
    assert got.unusable.tolist() == [False, False, True, True, True, False]
    assert input_numbers(part, []).values.shape == (0, 2)


@pytest.mark.parametrize("count", [0, 1, 500])
def test_many_values_are_those_of_one_by_one(count: int) -> None:
    rng = np.random.default_rng(5)
    values = [rng.integers(-(2**62), 2**62, rng.integers(0, 6)).tolist() for _ in range(count)]
    for rule in (None, QuotientKey(1000), RemainderKey(1000), BucketKey((4, 5), 997, 3)):
        together = made(values, length=4, rule=rule)
        assert together == [made([value], length=4, rule=rule)[0] for value in values]
