"""A model of many columns whose tables, views and stored values go away or change under it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.processes import PsProcess
from tests.retrieval.columns import ITEM_FIELDS, MODEL, USER_FIELDS, VECTOR_DIM, Columns, tower_of
from tests.retrieval.support import ApiProcess, get, post, serving, until

import rowbank
from rowbank.errors import InvalidModel
from rowbank.features import FeatureField, FeatureView
from rowbank.models import TitleTokens, Tower, TowerInput, Transform
from rowbank.text import token_key

K = 6


@pytest.fixture
def columns(namespace: str) -> Columns:
    return Columns(namespace)


@pytest.fixture
def ps(start_ps: Callable[..., PsProcess]) -> PsProcess:
    return start_ps()


@pytest.fixture
def client(ps: PsProcess) -> Iterator[rowbank.Client]:
    with rowbank.Client(ps.target) as client:
        yield client


@pytest.fixture
def http(ps: PsProcess, start_api: Callable[..., ApiProcess], namespace: str) -> Iterator[httpx.Client]:
    api = start_api(ps.target, namespace, "--model", MODEL, "--popularity-interval-s", "0.1")
    with httpx.Client(base_url=api.url, timeout=30) as http:
        yield http
    assert api.terminate() == 0, api.log


@pytest.fixture
def ready(client: rowbank.Client, columns: Columns) -> None:
    columns.create_tables(client)
    columns.write_features(client)


def check(columns: Columns, answer: Any, user: int | None, features: dict[str, Any]) -> None:
    items, scores = columns.best(columns.user_vector(user, features), K)
    assert [item["id"] for item in answer["items"]] == items
    assert [item["score"] for item in answer["items"]] == pytest.approx(scores, rel=1e-4, abs=1e-4)
    assert answer["source"] == "personal"


def test_a_dropped_table_is_told_and_costs_no_answer(
    ready: None, http: httpx.Client, client: rowbank.Client, columns: Columns
) -> None:
    columns.publish(client, "v1", rows="live")
    serving(http, "v1")
    check(columns, post(http, "/v1/recommend", {"user_id": 1, "k": K}), 1, columns.users[1])
    client.drop_table(columns.table("gender"), force=True)
    until(lambda: "rows:table_dropped" in post(http, "/v1/recommend", {"user_id": 1, "k": K})["degraded"])
    for body in ({"user_id": 1}, {"features": {"age": 30}}, {"session_items": [501]}):
        answer = post(http, "/v1/recommend", {**body, "k": K})
        assert len(answer["items"]) == K
        assert answer["source"] in ("session", "popular")
        assert answer["degraded"] == ["rows:table_dropped"]
    assert "gender" in get(http, "/readyz")["problem"]


def test_a_feature_that_the_view_loses_reads_defaults_and_is_told(
    ready: None, http: httpx.Client, client: rowbank.Client, columns: Columns
) -> None:
    """Who renames a feature of a view that a model reads: queries go on without features, and publishing is refused."""
    columns.publish(client, "v1")
    serving(http, "v1")
    renamed = tuple(replace(field, name="sex") if field.name == "gender" else field for field in USER_FIELDS)
    client.features.put_view(FeatureView("people", "user_id", renamed))
    asked = {"user_id": 1, "k": K}
    until(lambda: post(http, "/v1/recommend", asked)["degraded"] == ["features:unavailable"])
    check(columns, post(http, "/v1/recommend", asked), 1, {})
    with pytest.raises(
        InvalidModel, match="takes feature 'gender', which view 'people' does not have; it has: sex, zip"
    ):
        columns.publish(client, "v2")
    client.features.put_view(FeatureView("people", "user_id", (*USER_FIELDS, FeatureField("more", "int64"))))
    until(lambda: post(http, "/v1/recommend", asked)["degraded"] == [])
    check(columns, post(http, "/v1/recommend", asked), 1, columns.users[1])


def test_a_feature_of_another_type_in_its_place_is_not_fed(
    ready: None, http: httpx.Client, client: rowbank.Client, columns: Columns
) -> None:
    """A feature that is taken out of its view and put back as another: queries go on without features."""
    columns.publish(client, "v1")
    serving(http, "v1")
    others = tuple(field for field in USER_FIELDS if field.name != "gender")
    client.features.put_view(FeatureView("people", "user_id", others))
    client.features.put_view(FeatureView("people", "user_id", (*others, FeatureField("gender", "int64"))))
    client.features.write("people", {1: {"gender": 3}})
    until(lambda: post(http, "/v1/recommend", {"user_id": 2})["degraded"] == ["features:unavailable"])
    asked = {"user_id": 1, "k": K}
    answer = post(http, "/v1/recommend", asked)
    assert answer["degraded"] == ["features:unavailable"]
    check(columns, answer, 1, {})
    batch = {"requests": [asked, {"features": columns.users[2], "k": K}]}
    check(columns, post(http, "/v1/recommend:batch", batch)["answers"][1], None, columns.users[2])


def test_features_that_are_too_old_read_defaults(
    ready: None, http: httpx.Client, client: rowbank.Client, columns: Columns
) -> None:
    client.features.put_view(FeatureView("people", "user_id", USER_FIELDS, max_age_s=3600.0))
    client.features.write("people", {77: {"gender": "f", "age": 20.0}}, event_time_s=1000.0)
    columns.publish(client, "v1")
    serving(http, "v1")
    old = post(http, "/v1/recommend", {"user_id": 77, "k": K})
    assert (old["source"], old["degraded"]) == ("popular", ["features:outside_max_age", "user:unknown"])
    given = post(http, "/v1/recommend", {"user_id": 77, "features": {"gender": "m"}, "k": K, "explain": True})
    check(columns, given, None, {"gender": "m"})
    assert given["degraded"] == ["features:outside_max_age"]
    assert "age" in given["defaulted"]
    check(columns, post(http, "/v1/recommend", {"user_id": 1, "k": K}), 1, columns.users[1])


def test_a_view_that_comes_later_is_waited_for(http: httpx.Client, client: rowbank.Client, columns: Columns) -> None:
    """And one that comes with another type is told where the version is loaded, not at the first query."""
    columns.create_tables(client)
    columns.publish(client, "v1")
    until(lambda: "view 'things' does not exist" in http.get("/readyz").text)
    wrong = tuple(replace(field, type="int64", default=None) if field.name == "age" else field for field in USER_FIELDS)
    wrong = tuple(replace(field, type="string") if field.name == "taste" else field for field in wrong)
    client.features.put_view(FeatureView("things", "item_id", ITEM_FIELDS))
    client.features.put_view(FeatureView("people", "user_id", wrong))
    told = "query tower, input 'taste' takes numbers of dim 2: expected 'people:taste' to be float_list, got string"
    until(lambda: told in http.get("/readyz").json()["detail"])


@pytest.mark.parametrize("kind", ["", "keys"])
def test_padding_reads_zeros_except_in_versions_of_before(
    ready: None, http: httpx.Client, client: rowbank.Client, columns: Columns, kind: str
) -> None:
    """A version that was trained with a row for padding keeps its answers."""
    words = TowerInput("words", columns.table("word"), "things:title_tokens", columns.dims["word"], 4, kind=kind)
    weights = columns.floats(words.dim, VECTOR_DIM)
    client.features.put_view(
        FeatureView("things", "item_id", (*ITEM_FIELDS, FeatureField("title_tokens", "int64_list")))
    )
    manifest = replace(
        columns.manifest("v1"),
        candidate=Tower((words,), "vector", "candidate.onnx"),
        transforms=(Transform("title", "title_tokens", TitleTokens(4)),),
    )
    client.models.publish(manifest, {**columns.files(), "candidate.onnx": tower_of((words,), weights)})
    serving(http, "v1")
    assert http.put("/v1/items/9000", json={"features": {"title": "Red table"}}).status_code == 200
    until(lambda: get(http, "/v1/items/9000")["indexed"])
    padding = 2 * columns.rows["word"][0] if kind == "" else 0.0
    mean = (columns.rows["word"][token_key("red")] + columns.rows["word"][token_key("table")] + padding) / 4
    expected = float(mean @ weights @ columns.user_vector(1, columns.users[1]))
    found = post(http, "/v1/recommend", {"user_id": 1, "k": 1000})["items"]
    assert next(item["score"] for item in found if item["id"] == 9000) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_tower_of_numbers_alone(ready: None, http: httpx.Client, client: rowbank.Client, columns: Columns) -> None:
    price, age = (TowerInput("x", "", feature, 1, kind="numbers") for feature in ("things:price", "people:age"))
    manifest = replace(
        columns.manifest("v1"),
        query=Tower((age,), "vector", "query.onnx"),
        candidate=Tower((price,), "vector", "candidate.onnx"),
    )
    ones = {name: tower_of((part,), columns.floats(1, VECTOR_DIM) * 0 + 1) for name, part in
            (("query.onnx", age), ("candidate.onnx", price))}  # fmt: skip
    client.models.publish(manifest, ones)
    priced = {item: features["price"] for item, features in columns.items.items() if "price" in features}
    assert serving(http, "v1")["items"] == len(priced)
    answer = post(http, "/v1/recommend", {"features": {"age": 20}, "k": 5})
    best = sorted(priced, key=lambda item: -priced[item])[:5]
    assert [item["id"] for item in answer["items"]] == best
    scores = [VECTOR_DIM * 20.0 * priced[item] for item in best]
    assert [item["score"] for item in answer["items"]] == pytest.approx(scores, rel=1e-5)
    without = next(item for item, features in columns.items.items() if "price" not in features)
    assert "nothing" in get(http, f"/v1/items/{without}")["not_indexed"]
