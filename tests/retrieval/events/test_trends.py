"""Sums over windows of time, over a real generation's positions."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import redis
from tests.retrieval.support import until

from rowbank_server.retrieval.columns import Texts
from rowbank_server.retrieval.events.popularity import HOUR_S, PopularityStore
from rowbank_server.retrieval.events.recording import Event
from rowbank_server.retrieval.events.trends import Trends
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.index import ExactIndex
from rowbank_server.retrieval.parts import Part
from rowbank_server.retrieval.queries import Popularity
from rowbank_server.retrieval.segments import Segment

NOW = 500_000 * HOUR_S + 1800.0
ITEMS = (5, 7, 9)


def generation(version: str = "v1.1", items: Sequence[int] = ITEMS, *others: Sequence[int]) -> Generation:
    """A part of some items, and another of each of the others."""
    model: Any = SimpleNamespace(items=SimpleNamespace(written="items"), manifest=SimpleNamespace(name="shop"))
    parts: list[Part] = []
    for ids in (items, *others):
        count = len(ids)
        nothing, numbers = Texts.of([""] * count), np.zeros(count, np.uint64)
        index = ExactIndex(np.zeros((count, 1), np.float32))
        standing = np.zeros(count, np.uint8)
        segment = Segment(np.array(ids, np.int64), nothing, None, standing, {}, numbers, numbers, (), index)
        parts.append(Part.whole(segment, parts[-1].end if parts else 0, np.zeros(count, np.int64)))
    return Generation(model, version, tuple(parts), {})


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
    """Whatever it is called: the numbers of a model that went and came back begin anew."""
    counters.add("items", [event(9, 0)])
    trends.refresh()
    asking = generation()
    first = trends.scores(asking, Popularity(HOUR_S))
    assert trends.scores(asking, Popularity(HOUR_S)) is first
    other = trends.scores(generation("v1.1", (2, 3, 9), range(100, 170)), Popularity(HOUR_S))
    assert (other.shape, np.flatnonzero(other).tolist()) == ((192,), [2])


def test_hours_that_are_over_are_summed_once_for_a_segment(trends: Trends, counters: PopularityStore) -> None:
    """A change of the catalogue makes a small part anew, and new events concern the last hours alone."""
    counters.add("items", [event(5, hours) for hours in range(40)] + [event(11, 20), event(9, 0)])
    trends.refresh()
    before = generation("v1.1", ITEMS, (11,))
    assert trends.scores(before, Popularity(48 * HOUR_S))[[0, 1, 2, 64]].tolist() == [40.0, 0.0, 1.0, 1.0]
    kept = before.parts[0].segment.masks["trends"]
    assert len(kept) == 1
    counters.add("items", [event(7, 0), event(5, 1)])
    trends.refresh()
    after = Generation(before.model, "v1.2", (before.parts[0],), {})
    assert trends.scores(after, Popularity(48 * HOUR_S))[:3].tolist() == [41.0, 1.0, 1.0]
    assert len(kept) == 1
    counters.add("items", [event(7, 30)])  # One that comes late.
    trends.refresh()
    assert trends.scores(after, Popularity(48 * HOUR_S))[:3].tolist() == [41.0, 2.0, 1.0]


def test_in_the_background(trends: Trends, counters: PopularityStore) -> None:
    counters.add("items", [event(7, 0)])
    trends.start()
    try:
        until(lambda: scores(trends, 24) == [0.0, 1.0, 0.0])
    finally:
        trends.stop()
