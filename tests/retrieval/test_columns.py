"""A model of many columns, served; what is expected is computed by NumPy, column by column."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import redis
from tests.processes import PsProcess
from tests.retrieval.columns import MODEL, PAD, Columns
from tests.retrieval.support import ApiProcess, get, post, serving, until
from tests.retrieval.versions import look_again

import rowbank
from rowbank.errors import InvalidRequest, from_rpc_error
from rowbank_protos.v1 import features_pb2, retrieval_pb2_grpc
from rowbank_protos.v1 import retrieval_pb2 as pb
from rowbank_server.features import FeatureType, layout
from rowbank_server.features.values import encode

K = 7
COLD = (31, 40)  # Users without a row of their own, with features.


@pytest.fixture(scope="module")
def columns() -> Columns:
    return Columns("columns")


@pytest.fixture(scope="module")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("columns").name)


@pytest.fixture(scope="module")
def http(
    columns: Columns, namespace: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("columns-logs")
    ps = PsProcess("--namespace", namespace, redis_url=redis_url, log=folder / "ps.log")
    arguments = ("--model", MODEL, "--popularity-interval-s", "0.2", "--grpc-bind", "127.0.0.1:0")
    try:
        with rowbank.Client(ps.wait_ready().target) as client:
            columns.create_tables(client)
            columns.write_features(client)
            columns.publish(client, "v1")
        api = ApiProcess(*arguments, redis_url=redis_url, target=ps.target, namespace=namespace, log=folder / "api.log")
        try:
            with httpx.Client(base_url=api.wait_ready().url, timeout=30) as http:
                serving(http, "v1")
                port = re.search(r"gRPC at 127\.0\.0\.1:(\d+)", api.log)
                assert port
                http.headers["x-grpc"] = f"127.0.0.1:{port[1]}"
                yield http
                assert api.terminate() == 0, api.log
        finally:
            api.close()
    finally:
        ps.close()


def check(columns: Columns, answer: Any, user: int | None, features: dict[str, Any]) -> None:
    items, scores = columns.best(columns.user_vector(user, features), K)
    assert [item["id"] for item in answer["items"]] == items
    assert [item["score"] for item in answer["items"]] == pytest.approx(scores, rel=1e-4, abs=1e-4)
    assert answer["source"] == "personal"


@pytest.mark.parametrize("user", [1, 2, 7, 19, 30, *COLD])
def test_a_stored_user_gets_the_exact_best(http: httpx.Client, columns: Columns, user: int) -> None:
    answer = post(http, "/v1/recommend", {"user_id": user, "k": K, "explain": True})
    check(columns, answer, user, columns.users[user])
    assert answer["degraded"] == []
    assert answer["defaulted"] == [name for name in columns.user_fields() if name not in columns.users[user]]


FEATURES: list[dict[str, Any]] = [
    {"gender": "f", "age": 25},
    {"people:gender": "m", "tags": ["sad", "", "new", "funny"], "premium": True},
    {"user_id": 3, "zip": 57, "history": [501, 502, 503, 504], "taste": [1, -0.5]},
    {"brand": "globex"},
    {"age": 61.5},
]


@pytest.mark.parametrize("given", FEATURES)
def test_features_alone_are_enough(http: httpx.Client, columns: Columns, given: dict[str, Any]) -> None:
    answer = post(http, "/v1/recommend", {"features": given, "k": K, "explain": True})
    short = {name.rpartition(":")[2]: value for name, value in given.items()}
    check(columns, answer, short.get("user_id"), short)
    assert answer["degraded"] == ["features:defaulted"]
    assert set(answer["defaulted"]) == {field for field in columns.user_fields() if field not in short}


def test_all_features_leave_nothing_to_default(http: httpx.Client, columns: Columns) -> None:
    given = {
        "gender": "f", "zip": 0, "tags": [], "history": [PAD, 501], "age": 1, "premium": False, "taste": [0, 0],
        "brand": "acme",
    }  # fmt: skip
    answer = post(http, "/v1/recommend", {"features": given, "k": K, "explain": True})
    check(columns, answer, None, given)
    assert (answer["degraded"], answer["defaulted"]) == ([], [])
    assert post(http, "/v1/recommend", {"features": given, "k": K})["defaulted"] is None


@pytest.mark.parametrize("given", [{"gender": "x"}, {"tags": []}, {"brand": ""}, {"history": [999]}])
def test_features_that_tell_nothing_give_what_is_popular(http: httpx.Client, given: dict[str, Any]) -> None:
    """The default's row alone makes nobody known."""
    answer = post(http, "/v1/recommend", {"features": given, "k": K})
    assert (answer["source"], answer["degraded"]) == ("popular", ["features:defaulted", "user:unknown"])


def test_a_stranger_gets_what_is_popular(http: httpx.Client) -> None:
    answer = post(http, "/v1/recommend", {"user_id": 4711, "k": K})
    assert (answer["source"], answer["degraded"]) == ("popular", ["user:unknown"])


def test_given_features_make_a_stranger_known(http: httpx.Client, columns: Columns) -> None:
    answer = post(http, "/v1/recommend", {"user_id": 4711, "features": {"gender": "m"}, "k": K})
    check(columns, answer, None, {"gender": "m"})
    assert answer["degraded"] == []


def test_a_batch_of_everybody_is_answered_as_one_by_one(http: httpx.Client, columns: Columns) -> None:
    """256 mixed queries: each as if it had come alone, and as NumPy has it."""
    rng = np.random.default_rng(2)
    queries: list[tuple[dict[str, Any], int | None, dict[str, Any] | None]] = []
    for number in range(256):
        user, given = int(rng.integers(1, 41)), dict(FEATURES[int(rng.integers(len(FEATURES)))])
        stored = columns.users[user]
        if number % 4 == 0:
            queries.append(({"user_id": user}, user, stored))
        elif number % 4 == 1:
            short = {name.rpartition(":")[2]: value for name, value in given.items()}
            queries.append(({"features": given}, short.get("user_id"), short))
        elif number % 4 == 2:
            given.pop("user_id", None)
            short = {name.rpartition(":")[2]: value for name, value in given.items()}
            queries.append(({"user_id": user, "features": given}, user, {**stored, **short}))
        else:
            queries.append(({"user_id": 10_000 + number} if number % 8 == 3 else {"session_items": [505]}, None, None))
    bodies = [{**body, "k": K} for body, _, _ in queries]
    together = post(http, "/v1/recommend:batch", {"requests": bodies})["answers"]
    for (_, user_id, features), answer in zip(queries, together, strict=True):
        if features is not None:
            check(columns, answer, user_id, features)
    for body, answer in zip(bodies, together, strict=True):
        alone = post(http, "/v1/recommend", body)
        assert [item["id"] for item in alone["items"]] == [item["id"] for item in answer["items"]]
        scores = [item["score"] for item in answer["items"]]
        assert [item["score"] for item in alone["items"]] == pytest.approx(scores, rel=1e-6)
        for key in ("source", "degraded", "model_version"):
            assert alone[key] == answer[key]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"colour": "red"}, "features: 'colour' is unknown; the query tower takes user_id, gender, zip, tags, history"),
    ({"gender": 1}, "features: gender: expected string, got int 1"),
    ({"zip": "12345"}, "features: zip: expected int64, got str '12345'"),
    ({"tags": "sad"}, "features: tags: expected string_list, got str 'sad'"),
    ({"age": "old"}, "features: age: expected double, got str 'old'"),
    ({"age": 1e39}, "features: age: expected a finite float32, got 1e+39"),
    ({"premium": 1}, "features: premium: expected bool, got int 1"),
    ({"taste": [1.0]}, "features: taste: expected 2 numbers, got 1"),
    ({"age": None}, "features: age: expected double, got NoneType None"),
    ({"user_id": 1, "age": 1, "people:age": 2}, "features: 'age' is given twice, also by its view's"),
    ({}, "features: expected at least one; the query tower takes user_id, gender"),
]


@pytest.mark.parametrize(("given", "text"), BAD)
def test_a_wrong_feature_is_named(http: httpx.Client, given: dict[str, Any], text: str) -> None:
    answer = http.post("/v1/recommend", json={"features": given})
    assert answer.status_code == 422
    assert text in answer.json()["detail"]


@pytest.fixture
def stored(connection: redis.Redis, namespace: str) -> Iterator[Any]:
    """Puts bytes where a feature is, as others may; what was there comes back afterwards."""
    before: list[tuple[bytes, dict[bytes, bytes]]] = []

    def put(entity: str, number: int, view: str, feature: str, data: bytes) -> None:
        key = layout.entity_key(entity, number, namespace)
        before.append((key, connection.hgetall(key)))
        connection.hset(key, layout.feature_field(view, feature), data)
        look_again(connection, namespace)

    yield put
    for key, fields in reversed(before):
        connection.delete(key)
        connection.hset(key, mapping=fields)
    look_again(connection, namespace)


def test_numbers_that_are_none_cost_their_user_alone_and_only_them(
    http: httpx.Client, columns: Columns, stored: Any
) -> None:
    stored("user_id", 3, "people", "age", encode(math.nan, FeatureType.DOUBLE))
    stored("user_id", 5, "people", "taste", encode([1.0, 2.0, 3.0], FeatureType.FLOAT_LIST))
    bodies = [{"user_id": user, "k": K} for user in (3, 4, 5)]
    answers = post(http, "/v1/recommend:batch", {"requests": bodies})["answers"]
    for user, feature, answer in ((3, "age", answers[0]), (4, "", answers[1]), (5, "taste", answers[2])):
        left = {name: value for name, value in columns.users[user].items() if name != feature}
        check(columns, answer, user, left)
        assert answer["degraded"] == (["features:unusable"] if feature else [])


def test_a_value_of_another_type_costs_its_user_all_features(http: httpx.Client, columns: Columns, stored: Any) -> None:
    stored("user_id", 3, "people", "age", encode("old", FeatureType.STRING))
    stored("user_id", 35, "people", "age", encode("old", FeatureType.STRING))
    bodies = [{"user_id": user, "k": K} for user in (3, 4, 35)]
    answers = post(http, "/v1/recommend:batch", {"requests": bodies})["answers"]
    check(columns, answers[0], 3, {})
    assert answers[0]["degraded"] == ["features:unavailable"]
    check(columns, answers[1], 4, columns.users[4])
    assert (answers[2]["source"], answers[2]["degraded"]) == ("popular", ["features:unavailable", "user:unknown"])


def test_an_item_without_a_row_is_found_by_its_features(http: httpx.Client, columns: Columns) -> None:
    vector = columns.user_vector(1, columns.users[1])
    everything = {item["id"] for item in post(http, "/v1/recommend", {"user_id": 1, "k": 1000})["items"]}
    assert everything == set(columns.items)  # 525 to 529 have no row.
    new = {"title": "Red lamp!", "tags": ["sad"], "price": 0.25}
    assert http.put("/v1/items/9000", json={"features": new}).json() == {"written": 1}
    until(lambda: get(http, "/v1/items/9000")["indexed"])
    with_new = {**columns.items, 9000: new}
    items, scores = columns.best(vector, 1000, with_new)
    answer = post(http, "/v1/recommend", {"user_id": 1, "k": 1000})
    assert [item["id"] for item in answer["items"]] == items
    assert [item["score"] for item in answer["items"]] == pytest.approx(scores, rel=1e-4, abs=1e-4)
    http.put("/v1/items/9000", json={"features": {"price": 0.5}})
    items, scores = columns.best(vector, 1000, {**with_new, 9000: {**new, "price": 0.5}})

    def moved() -> bool:
        found = post(http, "/v1/recommend", {"user_id": 1, "k": 1000})["items"]
        return bool(np.allclose([item["score"] for item in found], scores, rtol=1e-4, atol=1e-4))

    until(moved)
    assert http.delete("/v1/items/9000").status_code == 200
    until(lambda: len(post(http, "/v1/recommend", {"user_id": 1, "k": 1000})["items"]) == len(columns.items))


def test_numbers_alone_make_no_item_known_and_bad_ones_are_told(http: httpx.Client, stored: Any) -> None:
    assert http.put("/v1/items/9100", json={"features": {"price": 3.0, "tags": ["no row"]}}).status_code == 200
    until(lambda: "none of its keys has a row" in get(http, "/v1/items/9100")["not_indexed"])
    stored("item_id", 510, "things", "price", encode(math.inf, FeatureType.DOUBLE))
    until(lambda: "not finite" in get(http, "/v1/items/510")["not_indexed"])
    until(lambda: f'rowbank_unindexed_items{{model="{MODEL}",reason="unusable"}} 1.0' in http.get("/metrics").text)
    assert http.delete("/v1/items/9100").status_code == 200


@pytest.fixture
def stub(http: httpx.Client) -> Iterator[retrieval_pb2_grpc.RetrievalServiceStub]:
    with grpc.insecure_channel(http.headers["x-grpc"]) as channel:
        yield retrieval_pb2_grpc.RetrievalServiceStub(channel)


def sent(features: dict[str, Any]) -> dict[str, features_pb2.FeatureValue]:
    """Features as gRPC has them."""
    made = {}
    for name, value in features.items():
        message = made[name] = features_pb2.FeatureValue()
        if isinstance(value, bool):
            message.bool_value = value
        elif isinstance(value, int):
            message.int64_value = value
        elif isinstance(value, float):
            message.double_value = value
        elif isinstance(value, str):
            message.string_value = value
        elif isinstance(value[0], str):
            message.string_list.values.extend(value)
        elif name == "taste":
            message.float_list.values.extend(value)
        else:
            message.int64_list.values.extend(value)
    return made


@pytest.mark.parametrize("given", FEATURES)
def test_grpc_takes_the_same_features(
    http: httpx.Client, stub: retrieval_pb2_grpc.RetrievalServiceStub, given: dict[str, Any]
) -> None:
    for user in ({}, {"user_id": given.get("user_id", 31)}):
        body = {"features": given, "k": K, "explain": True, **user}
        expected = post(http, "/v1/recommend", body)
        got = stub.Recommend(pb.RecommendRequest(features=sent(given), k=K, explain=True, **user))
        assert [item.item_id for item in got.items] == [item["id"] for item in expected["items"]]
        assert [item.score for item in got.items] == pytest.approx([item["score"] for item in expected["items"]])
        assert (got.source, list(got.degraded)) == (expected["source"], expected["degraded"])
        assert list(got.defaulted) == expected["defaulted"]
        assert set(got.timings_ms) == {"queue", "features", "rows_and_tower", "search"}
    short = stub.Recommend(pb.RecommendRequest(features=sent(given), k=K))
    assert (list(short.defaulted), dict(short.timings_ms)) == ([], {})


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (pb.RecommendRequest(features=sent({"colour": "red"})), "features: 'colour' is unknown; the query tower takes"),
        (pb.RecommendRequest(features=sent({"gender": 1})), "features: gender: expected string, got int 1"),
        (
            pb.RecommendRequest(features={"age": features_pb2.FeatureValue()}),
            "features: age: expected a value, got none",
        ),
        (pb.RecommendRequest(features=sent({"age": 1}), session={"item_ids": [501]}), "got session_items, features"),
        (pb.RecommendRequest(features=sent({"age": 1}), exclude_seen=True), "nobody's history is known without"),
    ],
)
def test_grpc_names_a_wrong_feature(
    stub: retrieval_pb2_grpc.RetrievalServiceStub, request_: pb.RecommendRequest, text: str
) -> None:
    with pytest.raises(grpc.RpcError) as failure:
        stub.Recommend(request_)
    error = from_rpc_error(failure.value)
    assert isinstance(error, InvalidRequest)
    assert text in error.message
