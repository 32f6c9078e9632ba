"""Counters of events by hour and kind, in Redis."""

from __future__ import annotations

import time

import pytest
import redis

from rowbank_server.retrieval.events.popularity import HOUR_S, Bucket, PopularityStore
from rowbank_server.retrieval.events.recording import Event

NOW = 500_000 * HOUR_S + 1800.0


@pytest.fixture
def counters(connection: redis.Redis, namespace: str) -> PopularityStore:
    return PopularityStore(connection, namespace, 24, clock=lambda: NOW)


def event(item: int, time_s: float = NOW, kind: str = "view", weight: float = 1.0) -> Event:
    return Event(1, item, kind, weight, time_s)


def counted(counters: PopularityStore, bucket: Bucket) -> dict[int, float]:
    items, weights = counters.read("items", bucket)
    return dict(zip(items.tolist(), weights.tolist(), strict=True))


def test_weights_are_summed_by_hour_and_kind(counters: PopularityStore) -> None:
    counters.add("items", [event(5), event(5, weight=2.5), event(-6), event(5, kind="click"), event(7, NOW - HOUR_S)])
    counters.add("items", [event(5, weight=0.25)])
    assert counters.buckets("items") == {
        Bucket(500_000, "view"): 2,
        Bucket(500_000, "click"): 1,
        Bucket(499_999, "view"): 1,
    }
    assert counted(counters, Bucket(500_000, "view")) == {5: 3.75, -6: 1.0}
    assert counted(counters, Bucket(500_000, "click")) == {5: 1.0}
    assert counted(counters, Bucket(499_999, "view")) == {7: 1.0}
    assert counters.buckets("others") == {}


def test_what_is_older_than_is_kept_is_not_counted(counters: PopularityStore) -> None:
    counters.add("items", [event(5, NOW - 24 * HOUR_S - 1), event(6, 0.0)])
    assert counters.buckets("items") == {}
    counters.add("items", [event(5, NOW - 23 * HOUR_S)])
    assert set(counters.buckets("items")) == {Bucket(499_977, "view")}


def test_counters_expire(connection: redis.Redis, namespace: str) -> None:
    counters = PopularityStore(connection, namespace, 24)
    counters.add("items", [event(5, time.time())])
    keys = list(connection.scan_iter(f"{namespace}:events:*"))
    assert len(keys) == 2
    assert all(0 < connection.ttl(key) <= 26 * HOUR_S for key in keys)


def test_what_has_expired_is_forgotten(connection: redis.Redis, namespace: str, counters: PopularityStore) -> None:
    counters.add("items", [event(5)])
    later = PopularityStore(connection, namespace, 24, clock=lambda: NOW + 25 * HOUR_S)
    assert later.buckets("items") == {}
    assert counters.buckets("items") == {}  # It was cleared away for all.


def test_many_items_at_once(counters: PopularityStore) -> None:
    counters.add("items", [event(item, weight=item + 1.0) for item in range(2500)])
    assert counted(counters, Bucket(500_000, "view")) == {item: item + 1.0 for item in range(2500)}
