"""Filters over columns, against the plain judge that looks at one item after the other."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from tests.retrieval.filters.judge import (
    FLOATS,
    INTEGERS,
    NUMBERS,
    WORDS,
    draw_items,
    passes,
    segment_of,
)

from rowbank_server.retrieval.filters import evaluate
from rowbank_server.retrieval.filters.kept import Kept
from rowbank_server.retrieval.filters.words import (
    AllOf,
    And,
    AnyOf,
    Boost,
    Condition,
    Exists,
    Filter,
    NoneOf,
    Not,
    Now,
    Or,
    Range,
)

ITEMS = draw_items(np.random.default_rng(5), 403)
VALUES: dict[str, tuple[Any, ...]] = {
    "year": INTEGERS,
    "price": NUMBERS,
    "brand": WORDS,
    "own": (True, False),
    "genres": WORDS,
    "related": INTEGERS,
    "sizes": FLOATS,
    "unheard_of": INTEGERS,
}


def _conditions() -> list[Condition]:
    made = []
    for feature, values in VALUES.items():
        tests: list[Any] = [Exists(True), Exists(False)]
        for some in (values[:1], values[1:3], values[1:], (*values, *values)):
            tests += [AnyOf(some), NoneOf(some)]
        tests += [AllOf(values[:1]), AllOf(values[-2:]), AllOf(values)]
        if feature != "own":
            for low, high in itertools.pairwise(values):
                low, high = min(low, high), max(low, high)
                tests += [Range(gte=low, lt=high), Range(gt=low, lte=high), Range(gte=high), Range(lt=low)]
        made += [Condition(feature, test) for test in tests]
    return made


@pytest.mark.parametrize("feature", list(VALUES))
def test_every_test_of_a_feature(feature: str) -> None:
    """Of every type: with values that are there and are not, over absent features, defaults and empty lists."""
    segment = segment_of(ITEMS)
    for condition in _conditions():
        if condition.feature == feature:
            expected = [passes(item, condition) for item in ITEMS]
            assert evaluate.passing(segment, condition).tolist() == expected, condition


def test_nested_filters() -> None:
    """Joined at random, four deep."""
    rng, conditions, segment = np.random.default_rng(6), _conditions(), segment_of(ITEMS)

    def draw(depth: int) -> Filter:
        kind = rng.integers(0, 4) if depth else 0
        if kind == 0:
            return conditions[int(rng.integers(0, len(conditions)))]
        if kind == 1:
            return Not(draw(depth - 1))
        parts = tuple(draw(depth - 1) for _ in range(rng.integers(0, 4)))
        return And(parts) if kind == 2 else Or(parts)

    for _ in range(300):
        given = draw(4)
        assert evaluate.passing(segment, given).tolist() == [passes(item, given) for item in ITEMS], given


def test_many_distinct_values_far_apart_and_close() -> None:
    """More than are compared one by one: by a table where they are close, else by a search."""
    rng = np.random.default_rng(7)
    numbers = [int(x) for x in rng.integers(-(2**62), 2**62, 500)]
    items = [
        {"year": numbers[int(rng.integers(0, 500))], "related": [int(x) for x in rng.integers(0, 900, 3)]}
        for _ in range(999)
    ]
    segment = segment_of(items)
    for given in (Condition("year", AnyOf(tuple(numbers[:100]))), Condition("related", AnyOf(tuple(range(0, 600, 7))))):
        assert evaluate.passing(segment, given).tolist() == [passes(item, given) for item in items]


def test_time_is_put_in_by_whole_seconds() -> None:
    """Filters of one second are equal; those without a time stay the same object."""
    window = And((Condition("year", Range(gte=Now(-10.0), lt=Now(0.0))), Condition("own", AnyOf((True,)))))
    assert evaluate.at_time(window, 1999.2) == evaluate.at_time(window, 1999.9)
    plain = Not(Or((Condition("own", AnyOf((True,))),)))
    assert evaluate.at_time(plain, 5.0) is plain
    segment = segment_of(ITEMS)
    at = evaluate.at_time(window, 2000.7)
    assert evaluate.passing(segment, at).tolist() == [passes(item, window, now_s=2000) for item in ITEMS]
    assert (
        evaluate.passing(segment, evaluate.at_time(Not(window), 2000.0)).sum()
        == 403 - evaluate.passing(segment, at).sum()
    )


@pytest.mark.parametrize("count", [0, 1, 8, 9])
def test_small_segments(count: int) -> None:
    """Also one without items."""
    segment = segment_of(ITEMS[:count])
    for condition in _conditions():
        assert evaluate.passing(segment, condition).tolist() == [passes(item, condition) for item in ITEMS[:count]]


def test_masks_are_kept_and_cannot_be_changed() -> None:
    """A filter is computed once, its parts with it."""
    segment, given = segment_of(ITEMS), Not(Condition("own", AnyOf((True,))))
    first = evaluate.mask(segment, given)
    assert evaluate.mask(segment, Not(Condition("own", AnyOf((True,))))) is first
    assert len(segment.masks["masks"]) == 2
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1


def test_kept_forgets_what_was_not_used_longest() -> None:
    """Within its bytes; the newest stays even if it is too large."""
    kept = Kept(100)
    for key in "abc":
        kept.get(key, lambda: np.zeros(40, np.uint8))
    made: list[str] = []

    def again(key: str) -> None:
        kept.get(key, lambda: made.append(key) or np.zeros(40, np.uint8))  # type: ignore[func-returns-value]

    for key in "bca":
        again(key)
    assert made == ["a"]
    kept.get("large", lambda: np.zeros(1000, np.uint8))
    assert (len(kept), kept.bytes) == (1, 1000)


def test_boosts_add_up() -> None:
    """Divided by the scale of the scores."""
    segment = segment_of(ITEMS)
    own, old = Condition("own", AnyOf((True,))), Condition("year", Range(lt=1999))
    made = evaluate.bonus(segment, [Boost(own, 3.0, "own"), Boost(old, -1.0, "old")], 2.0)
    expected = [1.5 * passes(item, own) - 0.5 * passes(item, old) for item in ITEMS]
    np.testing.assert_allclose(made, expected, rtol=1e-6)
    large = evaluate.bonus(segment, [Boost(own, 1000.0, "own")], 1e-20)
    assert np.abs(large).max() == np.float32(1e18)
    against = [Boost(own, 1000.0, "up"), Boost(own, -1000.0, "down")]
    assert not evaluate.bonus(segment, against, 1e-300).any()
