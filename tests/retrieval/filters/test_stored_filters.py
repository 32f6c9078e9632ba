"""What stands for the names of stored filters."""

from __future__ import annotations

import pytest
from tests.retrieval.filters.test_filter_json import FIELDS

from rowbank.errors import InvalidRequest
from rowbank_server.features import FeatureType
from rowbank_server.retrieval.filters.fields import FilterFields
from rowbank_server.retrieval.filters.json import filter_from_json
from rowbank_server.retrieval.filters.stored import StoredFilters, storable_from_json
from rowbank_server.retrieval.filters.words import And, AnyOf, Condition, Not, Or

NEW = {"feature": "year", "any": [2026]}
NEW_WORDS = Condition("year", AnyOf((2026,)))


def test_names_resolve_wherever_they_stand() -> None:
    """A filter without names stays the same object."""
    stored = StoredFilters({"new": NEW}, FIELDS)
    given = filter_from_json({"and": [{"not": {"named": "new"}}, {"or": [{"named": "new"}]}, NEW]}, FIELDS)
    assert stored.resolve(given) == And((Not(NEW_WORDS), Or((NEW_WORDS,)), NEW_WORDS))
    plain = filter_from_json(NEW, FIELDS)
    assert stored.resolve(plain) is plain


def test_unknown_name_is_refused_with_those_there_are() -> None:
    """The closest first."""
    stored = StoredFilters({"cheap": NEW, "new": NEW}, FIELDS)
    with pytest.raises(InvalidRequest, match=r"no filter 'news' is stored with the model; stored: new, cheap$"):
        stored.get("news")
    with pytest.raises(InvalidRequest, match=r"stored: none$"):
        StoredFilters({}, FIELDS).get("new")


def test_filter_that_does_not_fit_the_version_is_refused_where_it_is_used() -> None:
    """Others stay usable."""
    stored = StoredFilters(
        {"new": NEW, "drama": {"feature": "genres", "any": ["Drama"]}}, FilterFields({"year": FeatureType.INT64})
    )
    assert stored.get("new") == NEW_WORDS
    for _ in range(2):
        with pytest.raises(
            InvalidRequest, match=r"^stored filter 'drama'\.feature: the items have no feature 'genres'.*store it anew"
        ):
            stored.get("drama")


def test_stored_filter_names_no_other() -> None:
    """So there is no circle."""
    assert storable_from_json(NEW, FIELDS) == NEW_WORDS
    with pytest.raises(InvalidRequest, match=r"^filter: a stored filter names no other, got 'new'"):
        storable_from_json({"not": {"named": "new"}}, FIELDS)
