"""Stored filters in a real Redis, and how queries read them."""

from __future__ import annotations

import pytest
import redis

from rowbank.errors import FilterNotFound, InvalidRequest, RedisUnavailable
from rowbank_server.guard import Guard
from rowbank_server.registry.filters import MAX_FILTERS, FilterStore
from rowbank_server.retrieval.filters.reading import FilterReader

NEW = {"feature": "year", "gte": 2**53 + 1}


@pytest.fixture
def filters(connection: redis.Redis, namespace: str) -> FilterStore:
    return FilterStore(connection, namespace)


def test_filters_are_kept_by_model_and_name(filters: FilterStore) -> None:
    """As they were written, integers beyond 2**53 too; putting one again replaces it."""
    filters.put("shop", "new", {"named": "old"})
    filters.put("shop", "new", NEW)
    filters.put("shop", "ä cheap", {"feature": "price", "lt": 0.1})
    assert filters.all("shop") == {"new": NEW, "ä cheap": {"feature": "price", "lt": 0.1}}
    assert filters.all("another") == {}
    filters.delete("shop", "new")
    assert list(filters.all("shop")) == ["ä cheap"]


def test_deleting_what_is_not_there_names_what_is(filters: FilterStore) -> None:
    """The closest first."""
    filters.put("shop", "cheap", NEW)
    filters.put("shop", "new", NEW)
    with pytest.raises(FilterNotFound, match=r"model 'shop' has no stored filter 'news'; it has: new, cheap$"):
        filters.delete("shop", "news")


def test_filters_of_a_model_are_bounded(filters: FilterStore) -> None:
    """One more is refused; those that are there can be replaced."""
    for number in range(MAX_FILTERS):
        filters.put("shop", f"f{number}", NEW)
    with pytest.raises(InvalidRequest, match="has 256 stored filters already"):
        filters.put("shop", "more", NEW)
    filters.put("shop", "f0", {"named": "x"})


def test_reader_asks_again_after_half_a_second(filters: FilterStore) -> None:
    """And answers from memory in between."""
    now = [0.0]
    reader = FilterReader(
        filters, "shop", Guard("Redis", RedisUnavailable, threads=1), within_s=5.0, clock=lambda: now[0]
    )
    assert reader() == {}
    filters.put("shop", "new", NEW)
    now[0] = 0.4
    assert reader() == {}
    now[0] = 0.5
    assert reader() == {"new": NEW}


def test_reader_keeps_what_it_has_while_redis_cannot_be_asked(filters: FilterStore, namespace: str) -> None:
    """One that has nothing says so."""
    gone = FilterStore(redis.Redis(port=1, socket_connect_timeout=0.1), namespace)
    guard = Guard("Redis", RedisUnavailable, threads=1)
    with pytest.raises(RedisUnavailable):
        FilterReader(gone, "shop", guard, within_s=5.0)()
    filters.put("shop", "new", NEW)
    now = [0.0]
    reader = FilterReader(
        filters, "shop", Guard("Redis", RedisUnavailable, threads=1), within_s=5.0, clock=lambda: now[0]
    )
    assert reader() == {"new": NEW}
    reader._store = gone
    now[0] = 1.0
    assert reader() == {"new": NEW}
