"""What callers do wrong: refused alike by both protocols, with the same words, and nothing is done."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from tests.retrieval.api.conftest import Both

from rowbank.errors import InvalidRequest, from_rpc_error
from rowbank_protos.v1 import features_pb2
from rowbank_protos.v1 import retrieval_pb2 as pb

Value = features_pb2.FeatureValue
SESSION = pb.SessionItems(item_ids=[107])
INF, NAN = float("inf"), float("nan")


def ask(**fields: Any) -> Any:
    return pb.RecommendRequest(**{"user_id": 1, **fields})


BOTH: list[tuple[str, dict[str, Any], str, Any, str]] = [
    ("/v1/recommend", {}, "Recommend", pb.RecommendRequest(), "got none of them"),
    (
        "/v1/recommend",
        {"session_items": [107], "features": {"user_id": 1}},
        "Recommend",
        pb.RecommendRequest(session=SESSION, features={"user_id": Value(int64_value=1)}),
        "got session_items, features",
    ),
    (
        "/v1/recommend",
        {"vector": [1.0] * 5, "features": {"user_id": 1}},
        "Recommend",
        pb.RecommendRequest(vector=pb.Vector(values=[1.0] * 5), features={"user_id": Value(int64_value=1)}),
        "got features, vector",
    ),
    (
        "/v1/recommend",
        {"vector": [1.0] * 5, "exclude_seen": True},
        "Recommend",
        pb.RecommendRequest(vector=pb.Vector(values=[1.0] * 5), exclude_seen=True),
        "exclude_seen: nobody's history is known without a user_id",
    ),
    (
        "/v1/recommend",
        {"session_items": [107], "exclude_seen": ["view"]},
        "Recommend",
        pb.RecommendRequest(session=SESSION, exclude_seen=True, seen_rule=pb.SeenRule(kinds=["view"])),
        "exclude_seen: a session's items are of no kind",
    ),
    (
        "/v1/recommend",
        {"user_id": 1, "exclude_seen": ["view", "clik"]},
        "Recommend",
        ask(exclude_seen=True, seen_rule=pb.SeenRule(kinds=["view", "clik"])),
        "exclude_seen.1: there are no events of kind 'clik'; did you mean click? kinds: view, click, purchase",
    ),
    ("/v1/recommend", {"user_id": 1, "k": 1001}, "Recommend", ask(k=1001), "k: expected an integer from 1 to 1000"),
    (
        "/v1/recommend",
        {"user_id": 1, "offset": 10_001},
        "Recommend",
        ask(offset=10_001),
        "offset: expected an integer from 0 to 10000, got 10001",
    ),
    (
        "/v1/recommend",
        {"user_id": 1, "offset": 1, "cursor": "x"},
        "Recommend",
        ask(offset=1, cursor="x"),
        "offset and cursor are given",
    ),
    ("/v1/recommend", {"user_id": 1, "cursor": "x"}, "Recommend", ask(cursor="x"), "cursor: expected the next_cursor"),
    (
        "/v1/recommend",
        {"user_id": "x"},
        "Recommend",
        pb.RecommendRequest(user_text="x"),
        "user_id: expected an integer of 64 bits",
    ),
    (
        "/v1/recommend",
        {"user_id": 1, "exclude": [107, "x y"]},
        "Recommend",
        ask(exclude=[107], exclude_texts=["x y"]),
        "exclude.1: expected an integer of 64 bits",
    ),
    (
        "/v1/recommend",
        {"vector": [1.0, 2.0]},
        "Recommend",
        pb.RecommendRequest(vector=pb.Vector(values=[1.0, 2.0])),
        "vector: expected 5 numbers",
    ),
    (
        "/v1/recommend",
        {"vector": []},
        "Recommend",
        pb.RecommendRequest(vector=pb.Vector()),
        "vector: expected a list of 1 to 4096 numbers, got []",
    ),
    (
        "/v1/recommend",
        {"user_id": 1, "model": "nothing"},
        "Recommend",
        ask(model="nothing"),
        "model 'nothing' is not served here",
    ),
    ("/v1/recommend", {"user_id": 1, "version": "v9"}, "Recommend", ask(version="v9"), "version 'v9' is not loaded"),
    (
        "/v1/recommend",
        {"user_id": 1, "model": "m" * 257},
        "Recommend",
        ask(model="m" * 257),
        "model: expected a text of at most 256 characters, got 'mmm",
    ),
    (
        "/v1/recommend",
        {"user_id": 1, "filter": {"feature": "brnd", "any": ["a"]}},
        "Recommend",
        ask(
            filter=pb.Filter(
                condition=pb.Condition(feature="brnd", any=pb.FeatureValues(values=[Value(string_value="a")]))
            )
        ),
        "filter.feature: the items have no feature 'brnd'; they have: brand",
    ),
    (
        "/v1/recommend",
        {"user_id": 1, "boosts": [{"filter": {"feature": "year", "exists": True}, "add": 1001.0}]},
        "Recommend",
        ask(boosts=[pb.Boost(filter=pb.Filter(condition=pb.Condition(feature="year", exists=True)), add=1001)]),
        "boosts.0.add: expected a number from -1000 to 1000, got 1001",
    ),
    (
        "/v1/recommend",
        {"user_id": 1, "diversity": {"feature": "brand", "max_per_value": 0}},
        "Recommend",
        ask(diversity=pb.Diversity(feature="brand")),
        "diversity.max_per_value: expected an integer from 1 to 1000, got 0",
    ),
    ("/v1/similar", {"item_ids": []}, "SimilarItems", pb.SimilarItemsRequest(), "item_ids: expected a list of 1 to"),
    (
        "/v1/similar",
        {"item_ids": [31337]},
        "SimilarItems",
        pb.SimilarItemsRequest(item_ids=[31337]),
        "the catalogue has no item 31337",
    ),
    ("/v1/score", {"user_id": 1, "item_ids": []}, "Score", pb.ScoreRequest(user_id=1), "item_ids: expected a list"),
    ("/v1/score", {"item_ids": [107]}, "Score", pb.ScoreRequest(item_ids=[107]), "got none of them"),
    ("/v1/embed", {}, "Embed", pb.EmbedRequest(), "give user_ids, features or both, or item_ids alone; got none"),
    (
        "/v1/embed",
        {"user_ids": [1], "item_ids": [107]},
        "Embed",
        pb.EmbedRequest(user_ids=[1], item_ids=[107]),
        "got user_ids, item_ids",
    ),
    (
        "/v1/embed",
        {"user_ids": list(range(1001))},
        "Embed",
        pb.EmbedRequest(user_ids=range(1001)),
        "user_ids: expected a list of",
    ),
    (
        "/v1/embed",
        {"features": {"size": 1}},
        "Embed",
        pb.EmbedRequest(features={"size": Value(int64_value=1)}),
        "features: 'size' is unknown",
    ),
    ("/v1/popular", {"kinds": ["view"]}, "Popular", pb.PopularRequest(kinds=["view"]), "give a window as well"),
    (
        "/v1/popular",
        {"window": 3_000_000},
        "Popular",
        pb.PopularRequest(window_s=3_000_000),
        "window: events are counted for 720 hours (setting popular_retention_h)",
    ),
    (
        "/v1/popular",
        {"window": -1.0},
        "Popular",
        pb.PopularRequest(window_s=-1),
        'window: expected a time such as "24h"',
    ),
    (
        "/v1/popular",
        {"window": 60, "kinds": ["x"]},
        "Popular",
        pb.PopularRequest(window_s=60, kinds=["x"]),
        "kinds.0: there are no events of kind 'x'",
    ),
    ("/v1/events", {"events": []}, "RecordEvents", pb.RecordEventsRequest(), "events: expected a list of 1 to 10000"),
    (
        "/v1/events",
        {"events": [{"user_id": 1, "item_id": 1}, {"user_id": 1, "item_id": 1, "weight": 0.0}]},
        "RecordEvents",
        pb.RecordEventsRequest(events=[pb.Event(user_id=1, item_id=1), pb.Event(user_id=1, item_id=1, weight=0)]),
        "events.1.weight: expected a number above 0 and at most 1000000, got 0",
    ),
    (
        "/v1/events",
        {"events": [{"user_id": 1, "item_id": 1, "time_s": 9e10}]},
        "RecordEvents",
        pb.RecordEventsRequest(events=[pb.Event(user_id=1, item_id=1, time_s=9e10)]),
        "events.0.time_s: expected Unix seconds that are not in the future",
    ),
    (
        "/v1/events",
        {"events": [{"user_id": 1, "item_id": 1, "kind": "buy"}]},
        "RecordEvents",
        pb.RecordEventsRequest(events=[pb.Event(user_id=1, item_id=1, kind="buy")]),
        "events.0.kind: there are no events of kind 'buy'",
    ),
    (
        "/v1/events",
        {"events": [{"user_id": 1, "item_id": 1, "id": "i" * 129}]},
        "RecordEvents",
        pb.RecordEventsRequest(events=[pb.Event(user_id=1, item_id=1, id="i" * 129)]),
        "events.0.id: expected a text of 1 to 128 characters, got 'iii",
    ),
    (
        "/v1/index:probe",
        {"queries": 1001},
        "ProbeIndex",
        pb.ProbeIndexRequest(queries=1001),
        "queries: expected an integer from 1 to 1000, got 1001",
    ),
]


@pytest.mark.parametrize(
    ("path", "body", "method", "request_", "text"), BOTH, ids=[f"{one[0]}-{one[4][:40]}" for one in BOTH]
)
def test_both_refuse_it_alike(
    both: Both, path: str, body: dict[str, Any], method: str, request_: Any, text: str
) -> None:
    answer = both.http.post(path, json=body)
    problem = answer.json()
    assert answer.status_code in (404, 422), answer.text
    assert text in problem["detail"]
    error = both.rpc_error(method, request_)
    assert error.message.split("; it is ")[0] == problem["detail"].split("; it is ")[0]
    assert error.reason.lower().replace("_", "-") == problem["type"].rpartition(":")[2]


ONLY_HTTP = [
    ("POST", "/v1/recommend", b'{"user_id": 1, "k": true}', 422, "k: expected an integer from 1 to 1000, got true"),
    ("POST", "/v1/recommend", b'{"user_id": 1, "k": "5"}', 422, "k: expected an integer"),
    ("POST", "/v1/recommend", b'{"user_id": 1, "explain": "yes"}', 422, "explain: expected true or false, got 'yes'"),
    ("POST", "/v1/recommend", b'{"user_id": 1, "exclude_seen": "yes"}', 422, "exclude_seen: expected true, false or"),
    ("POST", "/v1/recommend", b'{"user_id": 1, "exclude_seen": []}', 422, "expected a list of 1 to 16 kinds"),
    ("POST", "/v1/recommend", b'{"user_id": 1, "min_score": 1e999}', 422, "min_score: expected a finite number"),
    ("POST", "/v1/recommend", b'{"vector": [1, 2, 3, 4, "5"]}', 422, "finite as float32, got '5' at place 4"),
    ("POST", "/v1/recommend", b'{"vector": [1e39]}', 422, "finite as float32"),
    ("POST", "/v1/recommend", b'{"user_id": 1, "filter": []}', 422, "filter: expected an object, such as"),
    ("POST", "/v1/recommend", b'{"user_id": 1, "boosts": {}}', 422, "boosts: expected a list of at most 16"),
    ("POST", "/v1/recommend", b'{"user_id": 1, "boosts": [{"add": 1}]}', 422, "boosts.0.filter: is missing"),
    ("POST", "/v1/recommend", b'{"user_id": 1, "cursor": 5}', 422, "cursor: expected a text"),
    ("POST", "/v1/recommend", b'{"user_id": NaN}', 422, "user_id: expected an integer of 64 bits or a text"),
    ("POST", "/v1/recommend", b"[" * 100_000, 400, "the body is not JSON"),
    ("POST", "/v1/recommend", b"\xff\xfe{}", 400, "the body is not JSON"),
    ("POST", "/v1/recommend?ids=text", b'{"user_id": 1}', 422, "query parameter 'ids': expected string, got 'text'"),
    ("GET", "/v1/popular?k=x", b"", 422, "k: expected an integer from 1 to 1000, got 'x'"),
    ("GET", "/v1/popular?window=1y", b"", 422, 'window: expected a time such as "24h"'),
    ("GET", "/v1/popular?explain=1", b"", 422, "explain: expected true or false, got '1'"),
    ("GET", "/v1/popular?kind=", b"", 422, "kinds: expected the name of a kind of events, got ''"),
    ("GET", "/v1/popular?filter=nothing", b"", 422, "no filter 'nothing' is stored with the model"),
    ("GET", "/v1/popular?k=1&k=2", b"", 422, "query parameter 'k': expected one, got several"),
    ("GET", "/v1/items/107?vector=yes", b"", 422, "vector: expected true or false, got 'yes'"),
    ("GET", "/v1/items/107?model=nothing", b"", 404, "model 'nothing' is not served here"),
    ("PUT", "/v1/items/107", b'{"features": {"_id": "x"}}', 422, "'_id' cannot be written"),
    ("PUT", "/v1/users/1", b'{"features": {"_seen_view": [1]}}', 422, "'_seen_view' cannot be written"),
    ("PUT", "/v1/users/1", b'{"features": {"_history_times": [1]}}', 422, "'_history_times' cannot be written"),
    ("PUT", "/v1/filters/a%20b", b'{"filter": {"feature": "year", "exists": true}}', 422, "name: expected the name of"),
    ("PUT", "/v1/filters/own", b'{"filter": {"named": "other"}}', 422, "a stored filter names no other"),
    ("PUT", "/v1/models:traffic", b'{"shares": {"v1": 1.5}}', 422, "expected a number from 0 to 1, got 1.5"),
    ("PUT", "/v1/models:traffic", b'{"shares": {"v1": 0.5}}', 422, "v1 is the active version"),
    ("GET", "/v1/models/", b"", 404, "there is no such path"),
    ("POST", "/v1/models:rollback?version=v1", b"", 422, "query parameter 'version' is unknown; known: model"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "text"), ONLY_HTTP)
def test_what_only_json_and_urls_can_say(
    both: Both, method: str, path: str, body: bytes, status: int, text: str
) -> None:
    answer = both.http.request(method, path, content=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert text in answer.json()["detail"]


@pytest.mark.parametrize("given", ["0", "-5", "600001", "1.5", "soon", "9" * 40])
def test_a_bad_timeout(both: Both, given: str) -> None:
    answer = both.http.post("/v1/recommend", json={"user_id": 1}, headers={"x-request-timeout-ms": given})
    assert answer.status_code == 422
    assert "header x-request-timeout-ms: expected an integer of milliseconds" in answer.json()["detail"]


ONLY_GRPC: list[tuple[str, Any, str]] = [
    ("Recommend", ask(seen_rule=pb.SeenRule(kinds=["view"])), "seen_rule: it says which items count as seen"),
    ("Recommend", ask(min_score=NAN), "min_score: expected a finite number"),
    ("Recommend", ask(features={"user_id": Value()}), "features: user_id: expected a value, got none"),
    ("Recommend", ask(filter=pb.Filter()), "filter: expected and_filters, or_filters"),
    ("Recommend", pb.RecommendRequest(vector=pb.Vector(values=[INF] * 5)), "finite as float32"),
    ("Popular", pb.PopularRequest(window_s=NAN), "window: expected a time"),
    ("GetItem", pb.GetEntityRequest(text="x"), "id: expected an integer of 64 bits"),
    ("UpsertItems", pb.UpsertEntitiesRequest(), "entities: expected 1 to 10000, got 0"),
    ("ActivateVersion", pb.ActivateVersionRequest(), "version: is missing"),
    ("PutFilter", pb.PutFilterRequest(), "filter: expected and_filters"),
    ("DeleteFilter", pb.DeleteFilterRequest(name="a b"), "name: expected the name of a stored filter"),
]


@pytest.mark.parametrize(("method", "request_", "text"), ONLY_GRPC)
def test_what_only_messages_can_say(both: Both, method: str, request_: Any, text: str) -> None:
    assert text in both.rpc_error(method, request_).message


def test_nothing_of_a_wrong_request_is_done(both: Both) -> None:
    body = {"events": [{"user_id": 4711, "item_id": 107}, {"user_id": 4711, "item_id": 107, "kind": "buy"}]}
    assert both.http.post("/v1/events", json=body).status_code == 422
    assert both.http.get("/v1/users/4711").status_code == 404


def test_a_message_that_is_none(both: Both) -> None:
    """Bytes that are no message of the call."""
    for call in ("Recommend", "RecordEvents", "PutFilter"):
        send: Any = both.channel.unary_unary(f"/rowbank.v1.RetrievalService/{call}", None, None)
        with pytest.raises(grpc.RpcError) as failure:
            send(b"\xff\xff\xff\xff", timeout=30)
        error = from_rpc_error(failure.value)
        assert isinstance(error, InvalidRequest)
        assert f"the request is no {call}" in error.message or "PutFilterRequest" in error.message
    assert json.loads(both.http.get("/healthz").content)["status"] == "alive"
