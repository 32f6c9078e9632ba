"""Filters of messages: they are those of JSON, both ways."""

from __future__ import annotations

from typing import Any

import pytest
from tests.retrieval.filters.test_filter_json import FIELDS

from rowbank.errors import InvalidRequest
from rowbank_protos.v1 import features_pb2, retrieval_pb2
from rowbank_server.retrieval.filters.json import filter_from_json
from rowbank_server.retrieval.filters.proto import (
    boosts_from_proto,
    diversity_from_proto,
    filter_from_proto,
    filter_to_json,
    filter_to_proto,
)
from rowbank_server.retrieval.filters.words import AnyOf, Boost, Condition, Diversity

GIVEN: list[Any] = [
    {"feature": "genres", "any": ["Drama", "War"]},
    {"feature": "related", "all": [1, 2**60]},
    {"feature": "own_brand", "none": [True]},
    {"feature": "price", "any": [2.5]},
    {"feature": "year", "gte": 1990, "lt": "now-7d"},
    {"feature": "price", "gt": 0.0, "lte": 2.5},
    {"feature": "title", "exists": False},
    {"and": [{"or": [{"named": "a"}, {"not": {"named": "b"}}]}, {"feature": "title", "any": [""]}]},
]


@pytest.mark.parametrize("given", GIVEN, ids=str)
def test_message_says_what_json_says(given: Any) -> None:
    """There and back, and as words."""
    message = filter_to_proto(given)
    read = retrieval_pb2.Filter.FromString(message.SerializeToString())
    assert filter_to_json(read) == given
    assert filter_from_proto(read, FIELDS) == filter_from_json(given, FIELDS)


def _deep() -> retrieval_pb2.Filter:
    message = retrieval_pb2.Filter(named="x")
    for _ in range(8):
        message = retrieval_pb2.Filter(not_filter=message)
    return message


_VALUE = features_pb2.FeatureValue
_LIST = _VALUE(int64_list=features_pb2.Int64List(values=[1]))


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (retrieval_pb2.Filter(), "filter: expected and_filters, or_filters, not_filter, named or a condition"),
        (retrieval_pb2.Filter(and_filters={}), "filter.and: expected at least one of the filters, got an empty list"),
        (retrieval_pb2.Filter(condition={"feature": "year"}), "filter: expected a test of feature 'year'"),
        (retrieval_pb2.Filter(condition={"feature": "year", "range": {}}), "filter: expected a test of feature 'year'"),
        (retrieval_pb2.Filter(condition={"feature": "year", "range": {"gte": {}}}), "filter.gte: expected integer"),
        (
            retrieval_pb2.Filter(condition={"feature": "year", "any": {"values": [_LIST]}}),
            "filter.any.0: expected a single",
        ),
        (
            retrieval_pb2.Filter(condition={"feature": "year", "any": {"values": [_VALUE()]}}),
            "filter.any.0: expected a single",
        ),
        (_deep(), "filter.not.not.not.not.not.not.not.not: filters may be nested 8 deep"),
    ],
)
def test_mistake_is_refused_with_its_place(message: retrieval_pb2.Filter, text: str) -> None:
    """As those in JSON."""
    with pytest.raises(InvalidRequest) as refused:
        filter_from_proto(message, FIELDS)
    assert refused.value.message.startswith(text)


def test_boosts_and_diversity() -> None:
    """Empty names are given numbers."""
    boost = retrieval_pb2.Boost(filter=filter_to_proto({"feature": "year", "any": [1]}), add=2.0)
    assert boosts_from_proto([boost], FIELDS) == (Boost(Condition("year", AnyOf((1,))), 2.0, "boost 0"),)
    diversity = retrieval_pb2.Diversity(feature="year", max_per_value=3)
    assert diversity_from_proto(diversity, FIELDS) == Diversity("year", 3)
    with pytest.raises(InvalidRequest, match=r"^boosts\.0\.filter: expected and_filters"):
        boosts_from_proto([retrieval_pb2.Boost(add=1.0)], FIELDS)
