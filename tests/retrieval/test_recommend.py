"""Queries against a real service; what is expected is computed by NumPy."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from tests.retrieval.support import World, get, post


def ids(answer: Any) -> list[int]:
    return [item["id"] for item in answer["items"]]


@pytest.mark.parametrize("user", [1, 5, 12])
def test_a_known_user_gets_the_exact_best(http: httpx.Client, world: World, user: int) -> None:
    answer = post(http, "/v1/recommend", {"user_id": user, "k": 7, "explain": True})
    items, scores = world.expected(world.user_vector(user), 7)
    assert ids(answer) == items
    assert np.allclose([item["score"] for item in answer["items"]], scores, rtol=1e-5, atol=1e-5)
    assert [item["rank"] for item in answer["items"]] == [1, 2, 3, 4, 5, 6, 7]
    assert [item["title"] for item in answer["items"]] == [world.title(item) for item in items]
    assert (answer["source"], answer["degraded"], answer["model_version"]) == ("personal", [], "v1")
    assert answer["index_version"].startswith("v1.")
    assert set(answer["timings_ms"]) == {"queue", "features", "rows_and_tower", "search"}


def test_seen_and_excluded_items_are_left_out(http: httpx.Client, world: World) -> None:
    best, _ = world.expected(world.user_vector(5), 3)
    body = {"user_id": 5, "k": 10, "exclude": [best[0], 999_999], "exclude_seen": True}
    without = {best[0], *world.histories[5]}
    assert ids(post(http, "/v1/recommend", body)) == world.expected(world.user_vector(5), 10, without)[0]


def test_more_than_there_are_gives_all(http: httpx.Client, world: World) -> None:
    answer = post(http, "/v1/recommend", {"user_id": 3, "k": 1000})
    assert ids(answer) == world.expected(world.user_vector(3), 1000)[0]
    assert len(ids(answer)) == world.item_count


def test_min_score_shortens_the_answer(http: httpx.Client, world: World) -> None:
    items, scores = world.expected(world.user_vector(3), 40)
    cut = (scores[4] + scores[5]) / 2
    assert ids(post(http, "/v1/recommend", {"user_id": 3, "k": 40, "min_score": cut})) == items[:5]


def test_an_unknown_user_gets_what_is_popular_and_is_told(http: httpx.Client, world: World) -> None:
    answer = post(http, "/v1/recommend", {"user_id": 777_777, "k": 5})
    assert ids(answer) == [100, 101, 102, 103, 104]  # Named by 12, 11, 10, ... histories.
    assert [item["score"] for item in answer["items"]] == [12, 11, 10, 9, 8]
    assert (answer["source"], answer["degraded"]) == ("popular", ["user:unknown"])
    everything = post(http, "/v1/recommend", {"user_id": 777_777, "k": 1000, "exclude": [100]})
    assert sorted(ids(everything)) == [i for i in world.items.tolist() if i != 100]


def test_a_session_is_answered_near_its_items(http: httpx.Client, world: World) -> None:
    session = [105, 110, 31337]
    query = world.vectors([105, 110]).mean(axis=0)
    answer = post(http, "/v1/recommend", {"session_items": session, "k": 6, "exclude_seen": True})
    assert ids(answer) == world.expected(query, 6, session)[0]
    assert answer["source"] == "session"
    unknown = post(http, "/v1/recommend", {"session_items": [31337], "k": 2})
    assert (ids(unknown), unknown["source"], unknown["degraded"]) == ([100, 101], "popular", ["session:unknown_items"])


def test_given_features_stand_in_for_a_stored_user(http: httpx.Client, world: World) -> None:
    answer = post(http, "/v1/recommend", {"features": {"user_id": 4}, "k": 5})
    assert ids(answer) == world.expected(world.user_vector(4), 5)[0]
    assert answer["source"] == "personal"


def test_seen_items_are_left_out_where_features_come_with_a_user(http: httpx.Client, world: World) -> None:
    """The given features make the vector, the user's history says what was seen."""
    seen = world.histories[4]
    for features in ({"user_id": 4}, {}):
        body = {"user_id": 4, "features": features, "k": 6, "exclude_seen": True}
        answer = post(http, "/v1/recommend", body)
        assert ids(answer) == world.expected(world.user_vector(4), 6, seen)[0]
        assert (answer["source"], answer["degraded"]) == ("personal", [])


def test_similar_items(http: httpx.Client, world: World) -> None:
    answer = post(http, "/v1/similar", {"item_ids": [107], "k": 4})
    assert ids(answer) == world.expected(world.vectors([107])[0], 4, [107])[0]


def test_popular(http: httpx.Client) -> None:
    assert ids(get(http, "/v1/popular?k=3")) == [100, 101, 102]
    assert len(ids(get(http, "/v1/popular"))) == 10


def test_a_batch_is_answered_in_order(http: httpx.Client, world: World) -> None:
    requests = [{"user_id": 1, "k": 3}, {"session_items": [107], "k": 2}, {"user_id": 777_777, "k": 1}]
    answers = post(http, "/v1/recommend:batch", {"requests": requests})["answers"]
    assert [ids(answer) for answer in answers] == [
        world.expected(world.user_vector(1), 3)[0],
        world.expected(world.vectors([107])[0], 2)[0],
        [100],
    ]


BAD: list[tuple[str, str, bytes, int, str]] = [
    ("POST", "/v1/recommend", b"{", 400, "not JSON"),
    ("POST", "/v1/recommend", b" ", 400, "the body is empty; expected JSON with user_id, "),
    (
        "POST",
        "/v1/recommend",
        b"{}",
        422,
        "give user_id, features or both, or session_items alone, or vector alone; got none of them",
    ),
    ("POST", "/v1/recommend", b'{"user_id": 1, "session_items": [1]}', 422, "got user_id, session_items"),
    ("POST", "/v1/recommend", b'{"user_id": "u1"}', 422, "user_id: expected an integer of 64 bits, such as 42 or"),
    (
        "POST",
        "/v1/recommend",
        b'{"user_id": 9223372036854775808}',
        422,
        "expected an integer of 64 bits or a text, got 92233",
    ),
    ("POST", "/v1/recommend", b'{"user_id": null}', 422, "got none of them"),
    (
        "POST",
        "/v1/recommend",
        b'{"session_items": [1], "features": {"user_id": 1}}',
        422,
        "got session_items, features",
    ),
    ("POST", "/v1/recommend", b'{"features": {"user_id": 4}, "exclude_seen": true}', 422, "give user_id as well"),
    ("POST", "/v1/recommend", b'{"features": {"user_id": 4}, "user_id": 5}', 422, "'user_id' is 4, but user_id is 5"),
    (
        "POST",
        "/v1/recommend:batch",
        b'{"requests": [{"user_id": 1}, {"features": {"user_id": 4}, "exclude_seen": true}]}',
        422,
        "requests.1: exclude_seen: nobody's history is known",
    ),
    ("GET", "/v1/popular?exclude_seen=true", b"", 422, "POST /v1/recommend with a user_id"),
    ("POST", "/v1/recommend", b'{"user_id": 1, "k": 0}', 422, "k: expected an integer from 1 to 1000, got 0"),
    ("POST", "/v1/recommend", b'{"user_id": 1, "k": 1001}', 422, "k: expected an integer from 1 to 1000, got 1001"),
    ("POST", "/v1/recommend", b'{"user_id": 1, "top": 5}', 422, "top: is unknown; known: user_id, "),
    ("POST", "/v1/recommend", b'{"user_id": 1, "min_score": NaN}', 422, "expected a finite number, got NaN"),
    (
        "POST",
        "/v1/recommend",
        b'{"features": {}}',
        422,
        "features: expected at least one; the query tower takes user_id",
    ),
    ("POST", "/v1/recommend", b'{"features": {"user_id": 1, "age": 3}}', 422, "features: 'age' is unknown"),
    (
        "POST",
        "/v1/recommend",
        b'{"features": {"user_id": "a"}}',
        422,
        "features: user_id: expected an integer of 64 bits",
    ),
    ("POST", "/v1/recommend", b'{"session_items": []}', 422, "session_items"),
    ("POST", "/v1/similar", b'{"item_ids": [100, 31337]}', 404, "the catalogue has no item 31337"),
    (
        "POST",
        "/v1/recommend",
        b'{"user_id": 1, "exclud": [5]}',
        422,
        "exclud: is unknown; did you mean exclude? known: ",
    ),
    (
        "POST",
        "/v1/recommend:batch",
        b'{"requests": [{"user_id": 1, "k": null}]}',
        422,
        "requests.0.k: expected an integer",
    ),
    ("GET", "/v1/popular?K=3", b"", 422, "query parameter 'K' is unknown; did you mean k? known: k"),
    ("GET", "/v1/models?k=3", b"", 422, "query parameter 'k' is unknown; known: model"),
    ("GET", "/v1/popular?k=3&k=4", b"", 422, "query parameter 'k': expected one, got several"),
    ("POST", "/v1/recommend", b'{"user_id": 1, "exclud": [5]}', 422, "exclud: is unknown; did you mean exclude?"),
    ("POST", "/v1/recommend:batch", b'{"requests": [{"k": null}]}', 422, "requests.0.k: expected an integer from"),
    ("GET", "/v1/popular?K=3", b"", 422, "query parameter 'K' is unknown; did you mean k? known: k"),
    ("GET", "/v1/models?k=3", b"", 422, "query parameter 'k' is unknown; known: model"),
    ("GET", "/v1/popular?k=3&k=4", b"", 422, "query parameter 'k': expected one, got several"),
    ("GET", "/v1/popular?k=0", b"", 422, "k: expected an integer from 1 to 1000, got 0"),
    ("GET", "/v1/items/31337", b"", 404, "item 31337 has no features"),
    ("GET", "/v1/items/abc", b"", 422, "id: expected an integer of 64 bits"),
    ("DELETE", "/v1/items/31337", b"", 404, "item 31337 has no features"),
    ("PUT", "/v1/items/5", b'{"features": {"name": "x"}}', 422, "view 'items' has no feature 'name'"),
    ("PUT", "/v1/items/5", b'{"features": {"title": 5}}', 422, "expected string, got int"),
    ("GET", "/v1/users/31337", b"", 404, "user 31337 has no features"),
    ("POST", "/v1/models/v9/activate", b"", 404, "has no version v9"),
    ("GET", "/v1/nothing", b"", 404, "/openapi.json lists what there is"),
    ("GET", "/v1/recommend", b"", 405, "GET /v1/recommend: this path takes POST"),
    ("POST", "/v1/recommend", b" " * (4 << 20) + b"{}", 413, "at most 4194304"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "text"), BAD)
def test_bad_input_is_a_problem_that_says_what_is_wrong(
    http: httpx.Client, method: str, path: str, body: bytes, status: int, text: str
) -> None:
    answer = http.request(method, path, content=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert text in problem["detail"]
    assert problem["type"].startswith("urn:rowbank:problem:")
    assert "Traceback" not in answer.text
