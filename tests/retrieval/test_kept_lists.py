"""Lists that the recording of events keeps in a view beside what callers defined, and writes of rows one by one."""

from __future__ import annotations

import threading

import pytest
import redis

from rowbank.errors import InvalidFeature, ViewNotFound
from rowbank_server.features import FeatureField, FeatureStore, FeatureType, FeatureView, LayeredView

HISTORY = FeatureField(name="history", type=FeatureType.INT64_LIST)
AGE = FeatureField(name="age", type=FeatureType.INT64)


def view(name: str, *fields: FeatureField) -> FeatureView:
    return FeatureView(name=name, entity="user_id", fields=fields or (HISTORY, AGE))


def test_kept_lists_are_added_once_and_survive_a_new_definition(store: FeatureStore) -> None:
    store.put_view(view("users"))
    store.keep_lists("users", ["_seen_purchase", "_history_times"])
    store.keep_lists("users", ["_seen_purchase"])
    assert store.view("users").has == {"history", "age", "_seen_purchase", "_history_times"}
    assert store.put_view(view("users", HISTORY)) is True
    assert store.view("users").has == {"history", "_seen_purchase", "_history_times"}
    assert store.put_view(view("users", HISTORY)) is False
    with pytest.raises(ViewNotFound):
        store.keep_lists("nobody", ["_seen_purchase"])
    with pytest.raises(InvalidFeature, match=r"it has: history$"):
        store.view("users").field("nothing")


def test_many_definers_at_once_lose_nothing(
    store: FeatureStore, connection: redis.Redis, namespace: str, redis_url: str
) -> None:
    store.put_view(view("users"))
    kinds = [f"_seen_kind{number}" for number in range(8)]
    stores = [FeatureStore(redis.Redis.from_url(redis_url), namespace) for _ in kinds]
    start = threading.Barrier(len(kinds))

    def define(mine: FeatureStore, name: str) -> None:
        start.wait()
        mine.keep_lists("users", [name])

    threads = [threading.Thread(target=define, args=pair) for pair in zip(stores, kinds, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert FeatureStore(connection, namespace).view("users").has == {"history", "age", *kinds}


def test_callers_do_not_see_them(store: FeatureStore) -> None:
    store.put_view(view("users"))
    layers = LayeredView(store, "users")
    layers.write([(1, {"history": [5], "age": 30})])
    store.keep_lists("users", ["_seen_purchase"])
    layers.change_lists(1, ["history"], lambda lists: {"history": [*lists["history"], 6], "_seen_purchase": [6]})
    assert layers.read([1])[0].values == {"history": [5, 6], "age": 30}
    assert store.read("users", [1])[0].values == {"history": [5, 6], "age": 30}
    assert layers.read([1], ["_seen_purchase"])[0].values == {"_seen_purchase": [6]}


def test_a_read_says_what_the_version_alone_has(store: FeatureStore) -> None:
    store.put_view(view("base", HISTORY))
    store.put_view(view("over", HISTORY))
    layers = LayeredView(store, "base", "over", united=("history",))
    store.write("base", [(1, {"history": [5]})])
    layers.append("history", 1, [6], limit=10)
    read = layers.read([1], ["history"])[0]
    assert read.values == {"history": [5, 6]}
    assert read.base == {"history": [5]}
    assert layers.read([2], ["history"])[0].base == {}


def test_times_go_with_the_history_that_they_are_of(store: FeatureStore) -> None:
    store.put_view(view("users"))
    store.keep_lists("users", ["_history_times"])
    layers = LayeredView(store, "users")
    layers.change_lists(1, ["history"], lambda lists: {"history": [5], "_history_times": [1000]})
    assert layers.read([1], ["_history_times"])[0].values == {"_history_times": [1000]}
    layers.write([(1, {"age": 3})])
    assert layers.read([1], ["_history_times"])[0].values == {"_history_times": [1000]}
    layers.write([(1, {"history": [7, 8]})])
    assert layers.read([1], ["history", "_history_times"])[0].values == {"history": [7, 8], "_history_times": []}


def test_rows_are_written_each_for_itself(connection: redis.Redis, namespace: str) -> None:
    store = FeatureStore(connection, namespace, clock=lambda: 1000.0)
    store.put_view(view("users"))
    store.write("users", [(3, {"age": 1})], event_time_s=2000.0)
    good, wrong_type, outdated, unknown, empty = LayeredView(store, "users").write_each(
        [(1, {"age": 7}), (2, {"age": "old"}), (3, {"age": 9}), (4, {"size": 3}), (5, {})]
    )
    assert (good, outdated) == (True, False)
    assert "expected int64" in str(wrong_type)
    assert "has no feature 'size'; it has: history, age" in str(unknown)
    assert "holds no feature" in str(empty)
    reads = store.read("users", [1, 2, 3, 4, 5], ["age"])
    assert [read.values["age"] for read in reads] == [7, 0, 1, 0, 0]
