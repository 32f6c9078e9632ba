"""Events as callers see them: what is seen, what is popular, and in which order."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.retrieval.api.conftest import Both
from tests.retrieval.support import World, get, post, until


@pytest.fixture(scope="module")
def options() -> tuple[str, ...]:
    return ("--event-kinds", "view,buy,return", "--history-kinds", "view,buy", "--popularity-interval-s", "0.5")


def record(both: Both, *events: dict[str, Any]) -> Any:
    return post(both.http, "/v1/events", {"events": list(events)})


def event(user: int, item: int, kind: str = "", **more: Any) -> dict[str, Any]:
    return {"user_id": user, "item_id": item, **({"kind": kind} if kind else {}), **more}


def recommended(both: Both, user: int, seen: Any) -> set[int]:
    answer = post(both.http, "/v1/recommend", {"user_id": user, "k": 40, "exclude_seen": seen})
    return {item["id"] for item in answer["items"]}


def test_kinds_say_what_is_seen(both: Both, world: World) -> None:
    """The users' only view is the callers', so what stands in a history without a kind counts whatever is named."""
    everything = {int(item) for item in world.items}
    record(both, event(3, 110), event(3, 111, "buy"), event(3, 112, "return"))
    first = set(world.histories[3])
    assert recommended(both, 3, False) == everything
    assert recommended(both, 3, True) == everything - first - {110, 111}
    assert recommended(both, 3, ["buy"]) == everything - first - {111}
    assert recommended(both, 3, ["return"]) == everything - first - {112}
    assert recommended(both, 3, ["view", "return"]) == everything - first - {110, 112}
    assert get(both.http, "/v1/users/3")["features"]["history"] == [*world.histories[3], 110, 111]


def test_histories_are_in_the_order_of_the_events(both: Both) -> None:
    record(both, event(700, 120, time_s=3000), event(700, 118, time_s=1000))
    record(both, event(700, 119, time_s=2000.5), event(700, 121))
    assert get(both.http, "/v1/users/700")["features"] == {"history": [118, 119, 120, 121]}


def test_events_sent_again_count_once(both: Both) -> None:
    sent = [event(701, 120, id="a"), event(701, 121, id="b"), event(701, 120, id="a"), event(701, 122)]
    assert record(both, *sent) == {"written": 1, "users": 1, "events": 3, "repeats": 1}
    assert record(both, *sent) == {"written": 1, "users": 1, "events": 1, "repeats": 3}
    assert get(both.http, "/v1/users/701")["features"]["history"] == [120, 121, 122, 122]


def test_what_is_popular_in_windows_of_time(both: Both) -> None:
    now = time.time()
    record(
        both,
        event(800, 130, weight=2.5),
        event(801, 131, "buy"),
        event(801, 130, "buy", weight=10, time_s=now - 3 * 3600),
        event(802, 132, "return", weight=3, time_s=now - 40 * 86400),  # Longer ago than is counted.
    )

    def scores(query: str) -> dict[int, float]:
        found = get(both.http, f"/v1/popular?k=40&{query}")["items"]
        return {item["id"]: item["score"] for item in found if item["id"] in (130, 131, 132) and item["score"]}

    until(lambda: scores("window=1h") == {130: 2.5, 131: 1.0})
    assert scores("window=1d") == {130: 12.5, 131: 1.0}
    assert scores("window=1d&kind=buy") == {130: 10.0, 131: 1.0}
    assert scores("window=1d&kind=buy,view") == {130: 12.5, 131: 1.0}
    assert scores("window=720h&kind=return") == {}
    first = get(both.http, "/v1/popular?window=1d&k=1")
    assert [item["id"] for item in first["items"]] == [130]
    assert first["source"] == "popular"


def test_an_item_that_nobody_wrote_may_be_met(both: Both) -> None:
    record(both, event(702, 999_999))
    assert get(both.http, "/v1/users/702")["features"]["history"] == [999_999]


def test_lists_of_events_are_nobodys_features(both: Both) -> None:
    views = {view.name: [field.name for field in view.fields] for view in both.client.features.list_views()}
    assert views["users"] == ["history"]
    read = both.client.features.read("users", [3])
    assert list(read[0].values) == ["history"]
