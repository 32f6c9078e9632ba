"""Sums over windows of time, over a real generation's positions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import redis
from tests.retrieval.support import until

from rowbank_server.retrieval.events.popularity import HOUR_S, PopularityStore
from rowbank_server.retrieval.events.recording import Event
from rowbank_server.retrieval.events.trends import Trends
from rowbank_server.retrieval.queries import Popularity

NOW = 500_000 * HOUR_S + 1800.0
ITEMS = np.array([5, 7, 9], np.int64)


def generation(version: str = "v1.1", span: int = 64) -> Any:
    """What trends ask of a generation: items 5, 7 and 9 at positions 0, 1 and 2."""
    known = {5: 0, 7: 1, 9: 2}
    return SimpleNamespace(
        model=SimpleNamespace(items=SimpleNamespace(written="items"), manifest=SimpleNamespace(name="shop")),
        index_version=version,
        span=span,
        positions_or_none=lambda items: np.array([known.get(int(item), -1) for item in items], np.int64),
    )


def event(item: int, hours_ago: float, kind: str = "view", weight: float = 1.0) -> Event:
    return Event(1, item, kind, weight, NOW - hours_ago * HOUR_S)


@pytest.fixture
def counters(connection: redis.Redis, namespace: str) -> PopularityStore:
    return PopularityStore(connection, namespace, 72, clock=lambda: NOW)


@pytest.fixture
def trends(counters: PopularityStore) -> Trends:
    return Trends(counters, lambda: ["items"], clock=lambda: NOW)


def scores(trends: Trends, hours: float, *kinds: str) -> list[float]:
    made = trends.scores(generation(), Popularity(hours * HOUR_S, kinds))
    assert made.shape == (64,)
    assert made.dtype == np.float64
    assert not made[3:].any()
    return [float(score) for score in made[:3]]


def test_windows_and_kinds(trends: Trends, counters: PopularityStore) -> None:
    assert scores(trends, 24) == [0.0, 0.0, 0.0]  # Nothing was read yet.
    counters.add("items", [event(5, 0.1), event(7, 3, "click", 2.0), event(5, 30), event(11, 0)])
    trends.refresh()
    assert scores(trends, 1) == [1.0, 0.0, 0.0]
    assert scores(trends, 24) == [1.0, 2.0, 0.0]
    assert scores(trends, 48) == [2.0, 2.0, 0.0]
    assert scores(trends, 48, "view") == [2.0, 0.0, 0.0]
    assert scores(trends, 48, "click") == [0.0, 2.0, 0.0]
    assert scores(trends, 48, "click", "view") == [2.0, 2.0, 0.0]


def test_it_learns_what_others_count(trends: Trends, counters: PopularityStore) -> None:
    counters.add("items", [event(5, 0)])
    trends.refresh()
    assert scores(trends, 24) == [1.0, 0.0, 0.0]
    counters.add("items", [event(9, 0, weight=4.0), event(9, 10)])
    assert scores(trends, 24) == [1.0, 0.0, 0.0]
    trends.refresh()
    assert scores(trends, 24) == [1.0, 0.0, 5.0]


def test_a_window_begins_with_a_whole_hour(trends: Trends, counters: PopularityStore) -> None:
    """Now is half past; an hour back reaches into the hour before, which counts from its start."""
    counters.add("items", [event(5, 1.4), event(7, 1.6)])
    trends.refresh()
    assert scores(trends, 1) == [1.0, 0.0, 0.0]


def test_what_is_kept_is_of_the_generation_that_asks(trends: Trends, counters: PopularityStore) -> None:
    counters.add("items", [event(9, 0)])
    trends.refresh()
    first = trends.scores(generation(), Popularity(HOUR_S))
    assert trends.scores(generation(), Popularity(HOUR_S)) is first
    assert trends.scores(generation("v1.2", span=128), Popularity(HOUR_S)).shape == (128,)


def test_in_the_background(trends: Trends, counters: PopularityStore) -> None:
    counters.add("items", [event(7, 0)])
    trends.start()
    try:
        until(lambda: scores(trends, 24) == [0.0, 1.0, 0.0])
    finally:
        trends.stop()
