"""Events of one user in the lists of a view."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import redis

from rowbank_server.features import FeatureField, FeatureStore, FeatureType, FeatureView, LayeredView
from rowbank_server.retrieval.events.kinds import EventRules
from rowbank_server.retrieval.events.recording import TIMED, Event, placed, record

RULES = EventRules.of(("view", "click", "purchase"), (), ())
VIEWLESS = EventRules.of(("view", "click", "purchase"), ("click", "purchase"), ())
HISTORY = FeatureField(name="history", type=FeatureType.INT64_LIST)
ALL = ["history", "_seen_view", "_seen_purchase"]


@pytest.fixture
def users(store: FeatureStore) -> LayeredView:
    for name in ("base", "over"):
        store.put_view(FeatureView(name=name, entity="user_id", fields=(HISTORY,)))
    return LayeredView(store, "base", "over", united=("history",))


def event(item: int, time_s: float, kind: str = "view") -> Event:
    return Event(1, item, kind, 1.0, time_s)


def lists(users: LayeredView, names: list[str] = ALL) -> list[Any]:
    read = users.read([1], names)[0]
    return [read.values[name] for name in names]


def test_a_history_and_a_list_per_kind(users: LayeredView) -> None:
    record(users, RULES, 1, [event(5, 10.0), event(6, 11.0, "purchase"), event(5, 12.0)], limit=10)
    assert lists(users) == [[5, 6, 5], [5], [6]]
    record(users, RULES, 1, [event(6, 13.0), event(7, 14.0, "purchase"), event(6, 15.0, "purchase")], limit=10)
    assert lists(users) == [[5, 6, 5, 6, 7, 6], [5, 6], [7, 6]]


def test_the_lists_keep_the_latest(users: LayeredView) -> None:
    record(users, RULES, 1, [event(item, float(item)) for item in range(100, 110)], limit=4)
    assert lists(users, ["history", "_seen_view"]) == [[106, 107, 108, 109], [106, 107, 108, 109]]


def test_a_kind_may_be_kept_out_of_histories(users: LayeredView) -> None:
    record(users, VIEWLESS, 1, [event(5, 1.0), event(6, 2.0, "purchase")], limit=10)
    assert lists(users) == [[6], [5], [6]]
    record(users, VIEWLESS, 1, [event(7, 3.0)], limit=10)
    assert lists(users) == [[6], [5, 7], [6]]


def test_events_are_in_the_order_of_their_times(users: LayeredView) -> None:
    record(users, RULES, 1, [event(7, 30.0), event(5, 10.0)], limit=10)
    record(users, RULES, 1, [event(6, 20.0), event(8, 40.0), event(4, 5.0)], limit=10)
    assert lists(users, ["history"]) == [[4, 5, 6, 7, 8]]


def test_what_the_model_was_trained_on_is_older(users: LayeredView) -> None:
    users.store.write("base", [(1, {"history": [1, 2, 3]})])
    record(users, RULES, 1, [event(5, 10.0)], limit=10)
    record(users, RULES, 1, [event(4, 5.0)], limit=10)
    assert lists(users, ["history"]) == [[1, 2, 3, 4, 5]]


def test_a_late_event_among_and_before_the_timed_items() -> None:
    history = list(range(100))
    times = [item * 1000 for item in range(100 - TIMED, 100)]
    assert placed(history, times, 777, 98_500)[0] == [*range(99), 777, 99]
    early, kept = placed(history, times, 777, 5)
    assert early == [*range(100 - TIMED), 777, *range(100 - TIMED, 100)]
    assert kept == times  # As many as before; the earliest went.
    assert placed([], [], 1, 5) == ([1], [5])
    assert placed([1], [5], 2, 5) == ([1, 2], [5, 5])  # Of one time, as they came.
    assert placed([9], [1, 2, 3], 4, 2) == ([4, 9], [2, 3])  # Times of a longer history that was.


def test_writers_at_the_same_moment_lose_nothing(users: LayeredView, redis_url: str, namespace: str) -> None:
    record(users, RULES, 1, [event(1, 1.0)], limit=1000)  # The lists exist.
    writers = 4

    def own_view() -> LayeredView:
        own_store = FeatureStore(redis.Redis.from_url(redis_url), namespace)
        return LayeredView(own_store, "base", "over", united=("history",))

    def write(number: int) -> None:
        own = own_view()
        for turn in range(10):
            record(own, RULES, 1, [event(number * 100 + turn, 2.0 + turn, "purchase")], limit=1000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 1 + writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {number * 100 + turn for number in range(1, 1 + writers) for turn in range(10)}
    history, _, bought = lists(own_view())
    assert sorted(history) == sorted([1, *expected])
    assert sorted(bought) == sorted(expected)
