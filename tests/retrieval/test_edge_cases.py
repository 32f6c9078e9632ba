"""What callers rarely ask and services rarely answer well: over HTTP, with items that have features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import redis
from tests.retrieval.support import MODEL, World, get, post, until

import rowbank
from rowbank.features import FeatureField, FeatureView
from rowbank_server.registry.filters import FilterStore

# Of the shared world's items, 100 to 139: which year and brand each has; every fifth item lacks both.
YEARS = {item: 1980 + item % 10 for item in range(100, 140) if item % 5}
BRANDS = {item: ["acme", "bolt", "core"][item % 3] for item in YEARS}


def ids(answer: Any) -> list[int]:
    return [item["id"] for item in answer["items"]]


def year(low: int, high: int) -> dict[str, Any]:
    return {"feature": "year", "gte": low, "lt": high}


@pytest.fixture(scope="module")
def shop(served: tuple[httpx.Client, rowbank.Client], world: World) -> tuple[httpx.Client, rowbank.Client, World]:
    """The shared world, whose items have years and brands; the index knows them."""
    http, client = served
    more = (FeatureField("year", "int64"), FeatureField("brand", "string"), FeatureField("sizes", "float_list"))
    view = next(view for view in client.features.list_views() if view.name == "items")
    client.features.put_view(FeatureView("items", "item_id", (*view.fields, *more)))

    def written(item: int) -> bool:
        features = {"year": YEARS[item], "brand": BRANDS[item]}
        return http.put(f"/v1/items/{item}", json={"features": features}).status_code == 200

    for item in YEARS:
        until(lambda item=item: written(item))
    body = {"k": 100, "filter": year(0, 3000)}

    def known() -> bool:
        answer = http.post("/v1/popular", json=body)
        return answer.status_code == 200 and ids(answer.json()) == list(YEARS)

    until(known)
    return http, client, world


def scores(world: World, user: int) -> dict[int, float]:
    vector = world.user_vector(user).astype(np.float64)
    return dict(zip(world.items.tolist(), (world.vectors().astype(np.float64) @ vector).tolist(), strict=True))


def best(scored: dict[int, float], eligible: Any) -> list[int]:
    return sorted(eligible, key=lambda item: (-scored[item], item))


def test_fewer_candidates_than_k_after_a_filter(shop: tuple[httpx.Client, rowbank.Client, World]) -> None:
    """The answer is shorter, and nothing is degraded: not one item that does not pass fills it up."""
    http, _, world = shop
    passing = [item for item, y in YEARS.items() if 1981 <= y < 1983]
    answer = post(http, "/v1/recommend", {"user_id": 5, "k": 30, "filter": year(1981, 1983), "explain": True})
    assert ids(answer) == best(scores(world, 5), passing)
    assert (answer["source"], answer["degraded"], answer["next_cursor"]) == ("personal", [], "")
    steps = {one["step"]: one["after"] for one in answer["explanation"]["candidates"]}
    assert steps["filter"] == len(passing)
    nothing = post(http, "/v1/recommend", {"user_id": 5, "filter": year(1, 2)})
    assert (nothing["items"], nothing["degraded"]) == ([], [])


def test_a_filter_holds_whatever_the_answer_is_based_on(shop: tuple[httpx.Client, rowbank.Client, World]) -> None:
    """For a user who is missing, a session of unknown items, what is popular, and a vector."""
    http, _, world = shop
    passing = [item for item, brand in BRANDS.items() if brand == "bolt"]
    only = {"feature": "brand", "any": ["bolt"]}
    for body in ({"user_id": 777_777}, {"session_items": [31337]}):
        answer = post(http, "/v1/recommend", {**body, "k": 40, "filter": only})
        assert (ids(answer), answer["source"]) == (passing, "popular")
    assert ids(post(http, "/v1/popular", {"k": 40, "filter": only})) == passing
    vector = world.user_vector(3).tolist()
    answer = post(http, "/v1/recommend", {"vector": vector, "k": 40, "filter": only})
    assert (ids(answer), answer["source"]) == (best(scores(world, 3), passing), "vector")


def test_items_that_lack_a_feature(shop: tuple[httpx.Client, rowbank.Client, World]) -> None:
    """They pass what nothing is said against, and not what asks for a value."""
    http, _, _ = shop
    lacking = [item for item in range(100, 140) if item not in YEARS]

    def popular(given: Any) -> list[int]:
        return ids(post(http, "/v1/popular", {"k": 100, "filter": given}))

    assert popular({"feature": "year", "exists": False}) == lacking
    assert popular({"and": [{"not": year(0, 3000)}, {"feature": "brand", "none": ["acme"]}]}) == lacking
    assert popular({"feature": "sizes", "exists": True}) == []


def test_repeated_ids_count_once(shop: tuple[httpx.Client, rowbank.Client, World]) -> None:
    """In exclusions, sessions, similar items and candidates."""
    http, client, world = shop
    first = best(scores(world, 4), world.items.tolist())
    answer = post(http, "/v1/recommend", {"user_id": 4, "k": 3, "exclude": [first[0]] * 5 + [first[1], 999_999] * 3})
    assert ids(answer) == first[2:5]
    again = post(http, "/v1/score", {"user_id": 4, "item_ids": [105, 101, 105, 31337, 31337, 101]})
    assert ids(again) == best(scores(world, 4), [101, 105])
    assert [(one["id"], one["reason"]) for one in again["unscored"]] == [(31337, "the catalogue has no such item")]
    similar = post(http, "/v1/similar", {"item_ids": [107, 107], "k": 40})
    assert len(ids(similar)) == len(set(ids(similar))) == 39
    client.features.write("users", {901: {"history": [101, 101, 102, 101]}})
    seen = post(http, "/v1/recommend", {"user_id": 901, "k": 40, "exclude_seen": True})
    assert sorted(ids(seen)) == [item for item in range(100, 140) if item not in (101, 102)]


def test_everything_excluded(shop: tuple[httpx.Client, rowbank.Client, World]) -> None:
    """An empty answer is a true one."""
    http, _, world = shop
    for body in ({"user_id": 4}, {"user_id": 777_777}):
        answer = post(http, "/v1/recommend", {**body, "exclude": world.items.tolist()})
        assert (answer["items"], answer["next_cursor"]) == ([], "")
        assert "filled:popular" not in answer["degraded"]


def test_a_history_longer_than_its_limit(shop: tuple[httpx.Client, rowbank.Client, World]) -> None:
    """Stored by somebody else; all of it counts as seen."""
    http, client, _ = shop
    client.features.write("users", {902: {"history": [*range(200_000, 212_000), *range(100, 138)]}})
    answer = post(http, "/v1/recommend", {"user_id": 902, "k": 10, "exclude_seen": True})
    assert sorted(ids(answer)) == [138, 139]


def test_kinds_of_events_say_what_was_seen(shop: tuple[httpx.Client, rowbank.Client, World]) -> None:
    """Besides what nobody recorded as an event; a filter and exclusions come on top."""
    http, client, world = shop
    client.features.write("users", {5: {"history": world.histories[5]}})
    events = [
        {"user_id": 5, "item_id": item, "kind": kind}
        for item, kind in ((110, "view"), (111, "view"), (112, "purchase"), (111, "purchase"), (777_777, "purchase"))
    ]
    assert http.post("/v1/events", json={"events": events}).status_code == 200
    for seen, gone in (
        (True, {110, 111, 112}),
        (["purchase"], {111, 112}),
        (["view"], {110, 111}),
        (["click"], set()),
        (False, None),
    ):
        answer = post(http, "/v1/recommend", {"user_id": 5, "k": 100, "exclude_seen": seen, "exclude": [120]})
        left_out = {120} if gone is None else {120, *world.histories[5], *gone}
        assert sorted(ids(answer)) == [item for item in range(100, 140) if item not in left_out], seen


def test_an_item_without_a_row_fills_up_only_where_it_passes(shop: tuple[httpx.Client, rowbank.Client, World]) -> None:
    """No search finds it; a score call says why."""
    http, client, _world = shop
    client.features.write("items", {300: {"title": "No row", "title_tokens": [5000], "year": 1700, "brand": "acme"}})
    http.put("/v1/items/300", json={"features": {"year": 1700}})
    answer = until(
        lambda: (got := post(http, "/v1/recommend", {"user_id": 5, "filter": year(1600, 1800)}))["items"] and got
    )
    assert [(one["id"], one["score"]) for one in answer["items"]] == [(300, None)]
    assert (answer["source"], answer["degraded"]) == ("personal", ["filled:popular"])
    assert 300 not in ids(post(http, "/v1/recommend", {"user_id": 5, "k": 100, "filter": year(1800, 3000)}))
    scored = post(http, "/v1/score", {"user_id": 5, "item_ids": [300, 101]})
    assert ids(scored) == [101]
    assert "none of its keys has a row" in scored["unscored"][0]["reason"]
    assert http.delete("/v1/items/300").status_code == 200
    until(lambda: get(http, "/v1/popular?k=100")["items"][-1]["id"] != 300)


def test_equal_scores_are_in_the_order_of_ids(shop: tuple[httpx.Client, rowbank.Client, World]) -> None:
    """Twins of an item, written in another order, over pages."""
    http, _, world = shop
    tokens = world.item_tokens[107]
    for item in (403, 401, 402):
        features = {"title": "Twin", "title_tokens": tokens, "year": 1650}
        assert http.put(f"/v1/items/{item}", json={"features": features}).status_code == 200
    body: dict[str, Any] = {"user_id": 2, "k": 1, "filter": year(1600, 1700)}
    until(lambda: sorted(ids(post(http, "/v1/recommend", {**body, "k": 9}))) == [401, 402, 403])
    found, cursor = [], None
    for _ in range(3):
        page = post(http, "/v1/recommend", {**body, **({"cursor": cursor} if cursor else {})})
        found += ids(page)
        cursor = page["next_cursor"]
    assert (found, cursor) == ([401, 402, 403], "")
    for item in (401, 402, 403):
        assert http.delete(f"/v1/items/{item}").status_code == 200
    until(lambda: post(http, "/v1/recommend", body)["items"] == [])


def test_pages_while_items_come_and_go(shop: tuple[httpx.Client, rowbank.Client, World]) -> None:
    """Deleted, written again and changed between the pages: nothing is shown twice, and what stays is shown."""
    http, _, world = shop
    body = {"user_id": 6, "k": 8, "diversity": {"feature": "brand", "max_per_value": 12}}
    first = post(http, "/v1/recommend", body)
    shown = ids(first)
    gone, again = shown[0], shown[1]
    was = get(http, f"/v1/items/{again}")["features"]
    assert http.delete(f"/v1/items/{gone}").status_code == 200
    assert http.delete(f"/v1/items/{again}").status_code == 200
    until(lambda: not {gone, again} & set(ids(post(http, "/v1/recommend", {"user_id": 6, "k": 100}))))
    assert http.put(f"/v1/items/{again}", json={"features": was}).status_code == 200
    until(lambda: again in ids(post(http, "/v1/recommend", {"user_id": 6, "k": 100})))
    page = first
    while page["next_cursor"]:
        page = post(http, "/v1/recommend", {**body, "cursor": page["next_cursor"]})
        shown += ids(page)
    assert len(shown) == len(set(shown))
    assert set(shown) == set(world.items.tolist())
    back = {"title": world.title(gone), "title_tokens": world.item_tokens[gone]}
    if gone in YEARS:
        back |= {"year": YEARS[gone], "brand": BRANDS[gone]}
    assert http.put(f"/v1/items/{gone}", json={"features": back}).status_code == 200
    until(lambda: sorted(ids(post(http, "/v1/recommend", {"user_id": 6, "k": 100}))) == world.items.tolist())


def test_an_item_whose_vector_is_zero(shop: tuple[httpx.Client, rowbank.Client, World]) -> None:
    """Its score is 0, and it ranks between others."""
    http, client, world = shop
    client.table(world.token_table).upsert(np.array([6000]), np.zeros((1, 8), np.float32))
    assert http.put("/v1/items/500", json={"features": {"title": "Zero", "title_tokens": [6000]}}).status_code == 200
    answer = until(lambda: 500 in ids(got := post(http, "/v1/recommend", {"user_id": 7, "k": 100})) and got)
    scored = {**scores(world, 7), 500: 0.0}
    assert ids(answer) == best(scored, scored)
    assert http.delete("/v1/items/500").status_code == 200
    until(lambda: 500 not in ids(post(http, "/v1/recommend", {"user_id": 7, "k": 100})))


def test_a_vector_of_zeros(shop: tuple[httpx.Client, rowbank.Client, World]) -> None:
    """All scores are 0, so ids say the order."""
    http, _, _ = shop
    answer = post(http, "/v1/recommend", {"vector": [0.0] * 5, "k": 6, "explain": True})
    assert ids(answer) == [100, 101, 102, 103, 104, 105]
    assert {item["score"] for item in answer["items"]} == {0.0}


def test_stored_filters_are_named(
    shop: tuple[httpx.Client, rowbank.Client, World], connection: redis.Redis, served_folder: Path
) -> None:
    """What another process stored counts within a second; unknown names and filters that do not fit are errors."""
    http, _, _ = shop
    filters = FilterStore(connection, served_folder.name)
    filters.put(MODEL, "old", year(0, 1983))
    filters.put(MODEL, "odd", {"feature": "colour", "any": ["red"]})
    body = {"k": 100, "filter": {"and": [{"named": "old"}, {"feature": "brand", "any": ["acme"]}]}}
    until(lambda: http.post("/v1/popular", json=body).status_code == 200)
    expected = [item for item, y in YEARS.items() if y < 1983 and BRANDS[item] == "acme"]
    assert ids(post(http, "/v1/popular", body)) == expected
    for name, text in (
        ("olt", "no filter 'olt' is stored with the model; stored: old, odd"),
        ("odd", "stored filter 'odd'.feature: the items have no feature 'colour'"),
    ):
        answer = http.post("/v1/recommend", json={"user_id": 1, "filter": {"named": name}})
        assert (answer.status_code, text in answer.json()["detail"]) == (422, True), answer.text
    filters.delete(MODEL, "old")
    until(lambda: http.post("/v1/popular", json=body).status_code == 422)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"filter": []}, "filter"),
        ({"filter": {"feature": "yeer", "gte": 1}}, "the items have no feature 'yeer'; they have: year"),
        ({"filter": {"feature": "year", "gte": "1980"}}, "filter.gte: expected an integer of 64 bits"),
        ({"filter": {"feature": "brand", "lte": "now"}}, "is a time in Unix seconds, and feature 'brand' is string"),
        ({"filter": {"feature": "year", "gte": 5, "lt": 5}}, "nothing lies between gte 5 and lt 5"),
        ({"boosts": [{"filter": {"feature": "year", "gte": 1}, "add": 1001}]}, "boosts.0.add"),
        ({"diversity": {"feature": "yeer", "max_per_value": 2}}, "diversity.feature: the items have no feature 'yeer'"),
    ],
    ids=str,
)
def test_mistakes_are_named(shop: tuple[httpx.Client, rowbank.Client, World], given: Any, text: str) -> None:
    """With their place."""
    answer = shop[0].post("/v1/recommend", json={"user_id": 1, **given})
    assert answer.status_code == 422
    assert text in answer.text
