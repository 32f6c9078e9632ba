"""Items with features of every type, and the plain judge of filters: one item and one condition after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rowbank_server.features import FeatureField, FeatureType
from rowbank_server.retrieval.columns import Texts, made_column
from rowbank_server.retrieval.filters.words import (
    AllOf,
    And,
    AnyOf,
    Condition,
    Exists,
    Filter,
    Named,
    NoneOf,
    Not,
    Now,
    Or,
    Range,
)
from rowbank_server.retrieval.index.exact import ExactIndex
from rowbank_server.retrieval.segments import Items, Segment

FIELDS = (
    FeatureField(name="year", type=FeatureType.INT64),
    FeatureField(name="price", type=FeatureType.DOUBLE, default=9.5),
    FeatureField(name="brand", type=FeatureType.STRING),
    FeatureField(name="own", type=FeatureType.BOOL, default=False),
    FeatureField(name="genres", type=FeatureType.STRING_LIST),
    FeatureField(name="related", type=FeatureType.INT64_LIST, default=[7]),
    FeatureField(name="sizes", type=FeatureType.FLOAT_LIST),
)
WORDS = (
    "",
    "a",
    "a\0",
    "ab",
    "abcdefgh",
    "abcdefghi",
    "abcdefghj",
    "zebra",
    "Ünder",
    "日本",
    "\U0001f600",
    "Drama",
    "War",
)
INTEGERS = (-(2**63), -5, 0, 3, 7, 1990, 1999, 2**53 + 1, 2**63 - 1)
NUMBERS = (-1.5, 0.0, 2.25, 9.5, 1e300)
FLOATS = tuple(float(np.float32(x)) for x in (0.1, 0.25, -3.0, 1e30))


def draw_items(rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
    """Items of which each lacks some features; lists may be empty and have repeats."""

    def some(values: Sequence[Any]) -> list[Any]:
        return [values[i] for i in rng.integers(0, len(values), rng.integers(0, 4))]

    def one(values: Sequence[Any]) -> Any:
        return values[int(rng.integers(0, len(values)))]

    made = []
    for _ in range(count):
        full = {
            "year": one(INTEGERS),
            "price": one(NUMBERS),
            "brand": one(WORDS),
            "own": bool(rng.integers(0, 2)),
            "genres": some(WORDS),
            "related": some(INTEGERS),
            "sizes": some(FLOATS),
        }
        made.append({name: value for name, value in full.items() if rng.random() < 0.8})
    return made


def segment_of(items: Sequence[Mapping[str, Any]], *, fields: Sequence[FeatureField] = FIELDS, dim: int = 4) -> Segment:
    """A segment of items whose ids are their places."""
    columns = {
        field.name: made_column(
            field,
            [item.get(field.name, field.absent) for item in items],
            np.array([field.name in item for item in items], np.bool_),
        )
        for field in fields
    }
    count = len(items)
    vectors = np.random.default_rng(1).normal(size=(count, dim)).astype(np.float32)
    titles = Texts.of([f"item {i}" for i in range(count)])
    standing = np.zeros(count, np.uint8)
    digests = np.arange(count, dtype=np.uint64)
    read = Items(np.arange(count, dtype=np.int64), titles, None, vectors, standing, columns, digests, digests)
    return Segment.of(read, ExactIndex(vectors))


def passes(item: Mapping[str, Any], given: Filter, *, now_s: float = 0.0) -> bool:
    """Whether an item passes a filter, by the words alone."""
    if isinstance(given, And):
        return all(passes(item, one, now_s=now_s) for one in given.filters)
    if isinstance(given, Or):
        return any(passes(item, one, now_s=now_s) for one in given.filters)
    if isinstance(given, Not):
        return not passes(item, given.filter, now_s=now_s)
    assert not isinstance(given, Named)
    return _condition(item, given, now_s)


def _condition(item: Mapping[str, Any], given: Condition, now_s: float) -> bool:
    field = next((field for field in FIELDS if field.name == given.feature), None)
    value = item.get(given.feature, None if field is None else field.default)
    values = [] if value is None else value if isinstance(value, list) else [value]
    test = given.test
    if isinstance(test, Exists):
        return (given.feature in item) is test.wanted
    if isinstance(test, AnyOf):
        return any(one in test.values for one in values)
    if isinstance(test, NoneOf):
        return all(one not in test.values for one in values)
    if isinstance(test, AllOf):
        return value is not None and all(one in values for one in test.values)
    return any(_within(one, test, now_s) for one in values)


def _within(value: Any, test: Range, now_s: float) -> bool:
    def at(bound: Any) -> Any:
        return now_s + bound.offset_s if isinstance(bound, Now) else bound

    return (
        (test.gte is None or value >= at(test.gte))
        and (test.gt is None or value > at(test.gt))
        and (test.lte is None or value <= at(test.lte))
        and (test.lt is None or value < at(test.lt))
    )
