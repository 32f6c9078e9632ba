"""Filters as Python writes them, as JSON has them and as the wire carries them."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank.errors import InvalidRequest
from rowbank.retrieval import F, Filter, named
from rowbank.retrieval.filters import filter_from_proto, filter_to_proto

YEAR = {"feature": "year", "gte": 1990}
DRAMA = {"feature": "genres", "any": ["Drama"]}


@pytest.mark.parametrize(
    ("written", "json"),
    [
        (F("year") >= 1990, YEAR),
        (F("year") > 1.5, {"feature": "year", "gt": 1.5}),
        (F("available_from") <= "now", {"feature": "available_from", "lte": "now"}),
        (F("available_from") < "now-7d", {"feature": "available_from", "lt": "now-7d"}),
        (F("year").between(1990, 2000), {"feature": "year", "gte": 1990, "lt": 2000}),
        (F("genres").any("Drama"), DRAMA),
        (F("genres").all("Drama", "War"), {"feature": "genres", "all": ["Drama", "War"]}),
        (F("genres").none(), {"feature": "genres", "none": []}),
        (F("brand") == "acme", {"feature": "brand", "any": ["acme"]}),
        (F("brand") != "acme", {"feature": "brand", "none": ["acme"]}),
        (F("sale").any(True, False), {"feature": "sale", "any": [True, False]}),
        (F("year").exists(), {"feature": "year", "exists": True}),
        (F("year").exists(False), {"feature": "year", "exists": False}),
        (named("in_stock"), {"named": "in_stock"}),
        (~named("in_stock"), {"not": {"named": "in_stock"}}),
        ((F("year") >= 1990) & F("genres").any("Drama"), {"and": [YEAR, DRAMA]}),
        (Filter(YEAR) & Filter(DRAMA) & named("a"), {"and": [YEAR, DRAMA, {"named": "a"}]}),
        (Filter(YEAR) | ~(Filter(DRAMA) & named("a")), {"or": [YEAR, {"not": {"and": [DRAMA, {"named": "a"}]}}]}),
    ],
)
def test_forms_agree(written, json):
    assert written.json == json
    assert filter_from_proto(filter_to_proto(written)).json == json
    assert filter_to_proto(json) == filter_to_proto(written)


def test_numbers_of_numpy_are_numbers():
    assert filter_to_proto(F("year") >= np.int32(1990)) == filter_to_proto(YEAR)
    assert filter_to_proto(F("genres").any(np.str_("Drama"))) == filter_to_proto(DRAMA)
    assert filter_to_proto({"feature": "year", "any": np.array([1, 2])}).condition.any.values[1].int64_value == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("genres", r"filter: expected a filter such as .*, got 'genres'"),
        (F("genres"), r"filter: expected a filter, such as F\('genres'\) == \"a\""),
        ({}, "filter: expected one of feature, and, or, not, named, got none"),
        ({"and": [], "or": []}, "filter: expected one of feature, and, or, not, named, got and, or"),
        ({"feature": "year"}, "filter: expected one of any, all, none, exists, or bounds .*, got none"),
        ({"feature": "year", "gte": 1, "any": [1]}, "got gte, any"),
        ({"feature": "year", "gt_": 1}, "'gt_' is no test; did you mean gt"),
        ({"feature": "", "gte": 1}, "filter.feature: expected the name of a feature, got ''"),
        ({"feature": "year", "gte": True}, "filter.gte: expected a number"),
        ({"feature": "year", "gte": None}, "filter.gte: expected a number"),
        ({"feature": "year", "gte": 2**63}, "filter.gte: expected a number"),
        ({"feature": "year", "any": "Drama"}, "filter.any: expected a list of values, got 'Drama'"),
        ({"feature": "year", "any": [None]}, r"filter.any.0: expected a text, an integer"),
        ({"feature": "year", "any": [[1]]}, r"filter.any.0: expected"),
        ({"feature": "year", "exists": 1}, "filter.exists: expected true or false, got 1"),
        ({"and": {"named": "a"}}, "filter.and: expected a list of filters"),
        ({"and": [YEAR, {"nott": 1}]}, "filter.and.1: expected one of"),
        ({"named": ""}, "filter.named: expected the name of a stored filter"),
        ({"named": "a", "k": 1}, "filter: expected nothing beside 'named', got 'k'"),
        ({"feature": "x", "any": ["\ud800"]}, "filter.any.0: expected a text that UTF-8 can hold"),
    ],
)
def test_what_is_no_filter_is_refused_in_words(given, said):
    with pytest.raises(InvalidRequest, match=said):
        filter_to_proto(given)


def test_nesting_ends_somewhere():
    deep: dict = YEAR
    for _ in range(1000):
        deep = {"not": deep}
    with pytest.raises(InvalidRequest, match="nested more than 32 deep"):
        filter_to_proto(deep)


def test_words_of_python_are_not_taken_for_ours():
    with pytest.raises(TypeError, match="combine filters by &"):
        (F("year") >= 1990) and (F("year") < 2000)
    with pytest.raises(TypeError, match="combine filters by &"):
        assert 1990 <= F("year") < 2000
    with pytest.raises(TypeError, match="compare it"):
        not F("year")
    with pytest.raises(TypeError):
        Filter(YEAR) & DRAMA  # type: ignore[operator]
