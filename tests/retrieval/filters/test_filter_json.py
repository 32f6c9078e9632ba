"""Filters of JSON: what is taken, and that every mistake is named with its place."""

from __future__ import annotations

from typing import Any

import pytest

from rowbank.errors import InvalidRequest
from rowbank.text import token_key
from rowbank_server.features import FeatureType
from rowbank_server.retrieval.filters.fields import FilterFields
from rowbank_server.retrieval.filters.json import boosts_from_json, diversity_from_json, filter_from_json
from rowbank_server.retrieval.filters.words import (
    AllOf,
    And,
    AnyOf,
    Boost,
    Condition,
    Diversity,
    Exists,
    Named,
    NoneOf,
    Not,
    Now,
    Or,
    Range,
)

TYPES = {
    "year": FeatureType.INT64,
    "price": FeatureType.DOUBLE,
    "title": FeatureType.STRING,
    "own_brand": FeatureType.BOOL,
    "genres": FeatureType.STRING_LIST,
    "related": FeatureType.INT64_LIST,
    "embedding": FeatureType.FLOAT_LIST,
    "_id": FeatureType.STRING,
    "title_tokens": FeatureType.INT64_LIST,
}
FIELDS = FilterFields(TYPES, hidden=["title_tokens"])
DEEP: Any = {"feature": "year", "any": [1]}
for _ in range(8):
    DEEP = {"not": DEEP}


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"feature": "genres", "any": ["Drama", "War", "Drama"]}, Condition("genres", AnyOf(("Drama", "War")))),
        ({"feature": "genres", "all": ["Drama", "War"]}, Condition("genres", AllOf(("Drama", "War")))),
        ({"feature": "title", "none": [""]}, Condition("title", NoneOf(("",)))),
        ({"feature": "year", "gte": 1990, "lt": 2000}, Condition("year", Range(gte=1990, lt=2000))),
        ({"feature": "year", "gte": 7, "lte": 7}, Condition("year", Range(gte=7, lte=7))),
        ({"feature": "year", "any": [2**53 + 1]}, Condition("year", AnyOf((2**53 + 1,)))),
        ({"feature": "year", "any": ["9007199254740993"]}, Condition("year", AnyOf((2**53 + 1,)))),
        ({"feature": "year", "lte": "now-7d"}, Condition("year", Range(lte=Now(-604800.0)))),
        ({"feature": "price", "gt": "now", "lt": "now+12h"}, Condition("price", Range(gt=Now(0.0), lt=Now(43200.0)))),
        ({"feature": "price", "any": [1, 2.5]}, Condition("price", AnyOf((1.0, 2.5)))),
        ({"feature": "own_brand", "any": [True]}, Condition("own_brand", AnyOf((True,)))),
        ({"feature": "embedding", "gte": 0.1}, Condition("embedding", Range(gte=0.10000000149011612))),
        ({"feature": "title", "gte": "a", "lt": "b"}, Condition("title", Range(gte="a", lt="b"))),
        ({"feature": "title", "exists": False}, Condition("title", Exists(False))),
        ({"named": "in_stock"}, Named("in_stock")),
        (
            {"and": [{"not": {"feature": "year", "any": [1]}}, {"or": [{"named": "x"}]}]},
            And((Not(Condition("year", AnyOf((1,)))), Or((Named("x"),)))),
        ),
    ],
)
def test_filter_is_what_it_says(given: Any, made: Any) -> None:
    """Values are of the feature's type: whole numbers are doubles where the feature is one, floats of lists float32."""
    assert filter_from_json(given, FIELDS) == made


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "filter: expected an object, such as"),
        ({}, "filter: expected one of 'and', 'or', 'not', 'named' and 'feature', got none of them"),
        (
            {"and": [], "or": []},
            "filter: expected one of 'and', 'or', 'not', 'named' and 'feature', got 'and' and 'or'",
        ),
        ({"und": []}, "filter.und: is unknown; did you mean and? known: and, or, not"),
        ({"not": {}, "any": [1]}, "filter: 'any' cannot stand beside 'not'"),
        ({"and": []}, "filter.and: expected at least one of the filters, got an empty list"),
        ({"or": {"named": "x"}}, "filter.or: expected a list of filters, got"),
        ({"feature": "yeer", "any": [1]}, "filter.feature: the items have no feature 'yeer'; they have: year, "),
        ({"feature": "_id", "any": ["x"]}, "filter.feature: the items have no feature '_id'"),
        ({"feature": "title_tokens", "any": [1]}, "filter.feature: the items have no feature 'title_tokens'"),
        ({"feature": 7, "any": [1]}, "filter.feature: expected the name of a feature of the items, got 7"),
        ({"feature": "year"}, "filter: expected a test of feature 'year': any, all, none, exists, gte, gt, lte, lt"),
        ({"feature": "year", "any": [1], "gte": 2}, "filter: a condition has one test, got 'any' and 'gte'"),
        ({"feature": "year", "any": 1}, "filter.any: expected a list of values, got 1"),
        ({"feature": "year", "any": []}, "filter.any: expected at least one of the values, got an empty list"),
        (
            {"and": [{"named": "x"}, {"feature": "year", "any": ["1990"]}]},
            "filter.and.1.any.0: expected an integer of 64 bits, as feature 'year' is int64, got str '1990'",
        ),
        ({"feature": "year", "any": [1990.0]}, "filter.any.0: expected an integer of 64 bits, as feature 'year'"),
        ({"feature": "year", "any": [True]}, "filter.any.0: expected an integer of 64 bits"),
        ({"feature": "year", "any": [2**63]}, "filter.any.0: expected an integer of 64 bits"),
        (
            {"feature": "year", "any": [None]},
            "filter.any.0: expected an integer of 64 bits, as feature 'year' is int64, got null",
        ),
        (
            {"feature": "price", "gte": float("nan")},
            "filter.gte: expected a finite number, as feature 'price' is double",
        ),
        ({"feature": "price", "lt": float("inf")}, "filter.lt: expected a finite number"),
        ({"feature": "price", "any": [True]}, "filter.any.0: expected a finite number"),
        ({"feature": "price", "gte": "1"}, "filter.gte: expected a finite number"),
        ({"feature": "price", "gte": "now-7y"}, "filter.gte: expected a number, 'now', or as 'now-7d'"),
        (
            {"feature": "embedding", "any": [1e39]},
            "filter.any.0: expected a finite float32, as feature 'embedding' is a list of double",
        ),
        (
            {"feature": "own_brand", "any": [1]},
            "filter.any.0: expected true or false, as feature 'own_brand' is bool, got int 1",
        ),
        ({"feature": "own_brand", "gte": True}, "filter: feature 'own_brand' is bool, which has no order"),
        (
            {"feature": "genres", "any": [7]},
            "filter.any.0: expected a text, as feature 'genres' is a list of string, got int 7",
        ),
        ({"feature": "title", "any": ["\ud800"]}, "filter.any.0: the text has half of a surrogate pair"),
        (
            {"feature": "title", "lte": "now"},
            "filter.lte: 'now' is a time in Unix seconds, and feature 'title' is string",
        ),
        ({"feature": "title", "exists": 1}, "filter.exists: expected true or false, got 1"),
        ({"feature": "year", "gte": 1, "gt": 1}, "filter: 'gte' and 'gt' are given; give one of the two"),
        ({"feature": "year", "lte": 1, "lt": 1}, "filter: 'lte' and 'lt' are given"),
        ({"feature": "year", "gte": 2, "lte": 1}, "filter: nothing lies between gte 2 and lte 1"),
        ({"feature": "year", "gt": 1, "lte": 1}, "filter: nothing lies between gt 1 and lte 1"),
        (
            {"feature": "year", "gte": "now", "lt": "now-1d"},
            "filter: nothing lies between gte now+0s and lt now-86400s",
        ),
        (
            {"feature": "title", "all": ["a", "b"]},
            "filter.all: feature 'title' has one value, which cannot be all of 2",
        ),
        ({"feature": "related", "all": list(range(65))}, "filter.all: expected at most 64 values"),
        ({"feature": "year", "any": list(range(1001))}, "filter.any: a filter may name 1000 values, got 1001"),
        ({"and": [{"named": "x"}] * 65}, "filter.and.64: a filter may have 64 conditions"),
        (DEEP, "filter.not.not.not.not.not.not.not.not: filters may be nested 8 deep"),
        ({"named": "in stock"}, "filter.named: expected the name of a stored filter"),
        ({"named": None}, "filter.named: expected the name of a stored filter"),
    ],
)
def test_mistake_is_refused_with_its_place(given: Any, message: str) -> None:
    """What was wrong, what was got, and what was expected; the metadata has the place."""
    with pytest.raises(InvalidRequest) as refused:
        filter_from_json(given, FIELDS)
    assert refused.value.message.startswith(message)
    assert refused.value.metadata["field"] == message.split(": ")[0]


def test_item_ids_that_are_texts_stand_for_their_keys() -> None:
    """In lists of integers alone, where the model's ids are texts."""
    fields = FilterFields(TYPES, item_texts=True)
    made = filter_from_json({"feature": "related", "any": ["lamp-7", 9]}, fields)
    assert made == Condition("related", AnyOf((token_key("lamp-7"), 9)))
    with pytest.raises(InvalidRequest, match=r"^filter\.any\.0: the id "):
        filter_from_json({"feature": "related", "any": [""]}, fields)


def test_boosts_have_names() -> None:
    """Those that were given none are numbered."""
    condition = {"feature": "own_brand", "any": [True]}
    own = Condition("own_brand", AnyOf((True,)))
    given = [{"filter": condition, "add": 1, "name": "own"}, {"filter": condition, "add": -0.5}]
    assert boosts_from_json(given, FIELDS) == (Boost(own, 1.0, "own"), Boost(own, -0.5, "boost 1"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "boosts: expected a list of boosts"),
        ([{}] * 17, "boosts: expected at most 16 boosts, got 17"),
        ([{"add": 1}], "boosts.0.filter: is missing"),
        ([{"filter": {"named": "x"}}], "boosts.0.add: is missing"),
        ([{"filter": {"named": "x"}, "add": float("nan")}], "boosts.0.add: expected a number from -1000 to 1000"),
        ([{"filter": {"named": "x"}, "add": 1001}], "boosts.0.add: expected a number from -1000 to 1000, got 1001"),
        ([{"filter": {"named": "x"}, "add": True}], "boosts.0.add: expected a number"),
        ([{"filter": {"named": "x"}, "add": 1, "name": 7}], "boosts.0.name: expected a text"),
        ([{"filter": {"feature": "x"}, "add": 1}], "boosts.0.filter.feature: the items have no feature 'x'"),
        ([{"filter": {"named": "x"}, "add": 1, "name": "a"}] * 2, "boosts.1.name: two boosts are called 'a'"),
    ],
)
def test_mistakes_in_boosts_are_refused(given: Any, message: str) -> None:
    """With their place, as in filters."""
    with pytest.raises(InvalidRequest) as refused:
        boosts_from_json(given, FIELDS)
    assert refused.value.message.startswith(message)


def test_diversity() -> None:
    """A feature of the items and a number."""
    assert diversity_from_json({"feature": "genres", "max_per_value": 2}, FIELDS) == Diversity("genres", 2)
    for given, message in [
        ([], "diversity: expected an object"),
        ({"feature": "genres"}, "diversity.max_per_value: is missing"),
        ({"feature": "genre", "max_per_value": 1}, "diversity.feature: the items have no feature 'genre'"),
        (
            {"feature": "genres", "max_per_value": 0},
            "diversity.max_per_value: expected an integer from 1 to 1000, got 0",
        ),
        ({"feature": "genres", "max_per_value": 2.0}, "diversity.max_per_value: expected an integer from 1 to 1000"),
    ]:
        with pytest.raises(InvalidRequest) as refused:
            diversity_from_json(given, FIELDS)
        assert refused.value.message.startswith(message)
