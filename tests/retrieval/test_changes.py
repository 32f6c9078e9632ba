"""The change feed: what was written is noted for those who follow, and what was missed is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import redis

from rowbank_protos.v1 import features_pb2
from rowbank_server.features import FeatureField, FeatureStore, FeatureType, FeatureView, LayeredView, layout
from rowbank_server.features.changes import ENTRY_KEYS, ChangeFeed
from rowbank_server.features.columns import columns_from_message

ITEMS = FeatureView(
    name="items",
    entity="item_id",
    fields=(
        FeatureField(name="year", type=FeatureType.INT64),
        FeatureField(name="history", type=FeatureType.INT64_LIST),
        FeatureField(name="_removed", type=FeatureType.BOOL),
    ),
)


@pytest.fixture
def feed(store: FeatureStore) -> ChangeFeed:
    store.put_view(ITEMS)
    return store.changes


def test_a_view_that_nobody_follows_has_no_stream(
    store: FeatureStore, feed: ChangeFeed, connection: redis.Redis, namespace: str
) -> None:
    store.write("items", [(1, {"year": 1990})])
    store.remove("items", 1)
    assert not connection.exists(layout.changes_key(namespace, "items"))


def columns(entities: list[int]) -> Any:
    message = features_pb2.WriteColumnsRequest(entities=np.array(entities, "<i8").tobytes())
    message.columns.add(
        name="year", type=features_pb2.FEATURE_TYPE_INT64, numbers=np.zeros(len(entities), "<i8").tobytes()
    )
    return columns_from_message(ITEMS, message, 10**15)


def write(store: FeatureStore) -> None:
    store.write("items", [(1, {"year": 1990}), (3, {"year": 1}), (1, {"year": 2})])


def write_columns(store: FeatureStore) -> None:
    store.write_columns(ITEMS, columns([7, -(2**63), 7, 2**63 - 1]))


def remove(store: FeatureStore) -> None:
    write(store)
    store.remove("items", 1)


def remove_what_is_not_there(store: FeatureStore) -> None:
    store.remove("items", 5)


def remove_from_a_layer(store: FeatureStore) -> None:
    store.put_view(FeatureView(name="base", entity="item_id", fields=ITEMS.fields))
    store.write("base", [(9, {"year": 1})])
    LayeredView(store, "base", "items").remove(9)


def append(store: FeatureStore) -> None:
    store.append("items", "history", 1, [1], limit=5)


@pytest.mark.parametrize(
    ("change", "noted"),
    [
        (write, [1, 3]),
        (write_columns, [-(2**63), 7, 2**63 - 1]),
        (remove, [1, 3]),
        (remove_what_is_not_there, [5]),
        (remove_from_a_layer, [9]),
        (append, []),
    ],
)
def test_what_is_written_and_removed_is_noted(
    store: FeatureStore, feed: ChangeFeed, change: Callable[[FeatureStore], None], noted: list[int]
) -> None:
    positions = feed.follow(["items"])
    change(store)
    found = feed.read(positions)
    assert (found.entities.tolist(), found.missed) == (noted, ())
    assert (found.oldest_s > 0) is bool(noted)
    again = feed.read(found.positions)
    assert (again.entities.tolist(), again.missed, again.oldest_s) == ([], (), 0.0)


def test_a_write_that_a_later_event_outdates_is_not_noted(store: FeatureStore, feed: ChangeFeed) -> None:
    store.write("items", [(1, {"year": 1})], 2000.0)
    positions = feed.follow(["items"])
    store.write("items", [(1, {"year": 2}), (2, {"year": 2})], 1000.0)
    assert feed.read(positions).entities.tolist() == [2]


def test_many_changes_are_read_page_by_page(store: FeatureStore, feed: ChangeFeed) -> None:
    positions = feed.follow(["items"])
    for start in range(0, 300_000, 100_000):
        feed.note("items", np.arange(start, start + 100_000))
    found = feed.read(positions)
    assert np.array_equal(found.entities, np.arange(300_000))
    assert found.missed == ()


def test_several_views_are_followed_together(store: FeatureStore, feed: ChangeFeed) -> None:
    store.put_view(FeatureView(name="base", entity="item_id", fields=ITEMS.fields))
    positions = feed.follow(["base", "items"])
    feed.note("items", [4, 5])
    feed.note("base", [5, 1])
    assert feed.read(positions).entities.tolist() == [1, 4, 5]


def test_what_was_trimmed_is_missed_and_later_changes_are_not(
    connection: redis.Redis, store: FeatureStore, feed: ChangeFeed, namespace: str
) -> None:
    small = ChangeFeed(connection, namespace, max_entries=100)
    positions = small.follow(["items"])
    for key in range(1000):
        small.note("items", [key])
    found = small.read(positions)
    assert found.missed == ("items",)
    small.note("items", [2000])
    found = small.read(found.positions)
    assert (found.entities.tolist(), found.missed) == ([2000], ())
    assert connection.xlen(layout.changes_key(namespace, "items")) < 1000


def drop(store: FeatureStore, connection: redis.Redis, namespace: str) -> None:
    store.drop_view("items")


def lose(store: FeatureStore, connection: redis.Redis, namespace: str) -> None:
    connection.delete(layout.changes_key(namespace, "items"))


def lose_and_go_on(store: FeatureStore, connection: redis.Redis, namespace: str) -> None:
    """As after a Redis that came back empty, to which another process wrote before this one looked."""
    other = ChangeFeed(connection, namespace)
    before = other.follow(["items"])
    while other.follow(["items"]) == before:  # Within one millisecond of Redis's clock the first entry has the same id.
        lose(store, connection, namespace)
    other.note("items", [1])


@pytest.mark.parametrize("happens", [drop, lose, lose_and_go_on])
def test_a_stream_that_is_gone_says_that_something_was_missed(
    store: FeatureStore, feed: ChangeFeed, connection: redis.Redis, namespace: str, happens: Any
) -> None:
    positions = feed.follow(["items"])
    happens(store, connection, namespace)
    assert feed.read(positions).missed == ("items",)


def test_a_view_that_was_dropped_gets_no_stream_by_being_followed(
    store: FeatureStore, feed: ChangeFeed, connection: redis.Redis, namespace: str
) -> None:
    positions = feed.follow(["items"])
    store.drop_view("items")
    for _ in range(3):
        found = feed.read(positions)
        assert found.missed == ("items",)
        positions = dict(found.positions)
    assert not connection.exists(layout.changes_key(namespace, "items"))
    store.put_view(ITEMS)
    found = feed.read(feed.read(positions).positions)
    assert found.missed == ()


def test_an_entry_holds_few_keys_so_that_a_stream_stays_small(
    store: FeatureStore, feed: ChangeFeed, connection: redis.Redis, namespace: str
) -> None:
    feed.follow(["items"])
    feed.note("items", np.arange(3 * ENTRY_KEYS + 1))
    entries: Any = connection.xrange(layout.changes_key(namespace, "items"))
    sizes = [len(fields[b"k"]) // 8 for _, fields in entries]
    assert sizes == [0, ENTRY_KEYS, ENTRY_KEYS, ENTRY_KEYS, 1]
    keys = itertools.chain.from_iterable(np.frombuffer(fields[b"k"], "<i8").tolist() for _, fields in entries)
    assert list(keys) == list(range(3 * ENTRY_KEYS + 1))
