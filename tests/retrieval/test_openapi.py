"""The description of the HTTP API is the API."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import httpx
import pytest
from starlette.routing import Route
from tests.retrieval.support import get, post

from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.http.app import create_app
from rowbank_server.retrieval.api.operations import Operations
from rowbank_server.retrieval.api.service import Limits, Service
from rowbank_server.retrieval.metrics import Metrics


@pytest.fixture
def api(http: httpx.Client) -> Any:
    return get(http, "/openapi.json")


def test_it_lists_exactly_the_routes(api: Any) -> None:
    parts: dict[str, Any] = {part.name: None for part in dataclasses.fields(Service)}
    service = Service(**{**parts, "metrics": Metrics(), "limits": Limits(1.0, 1, 1 << 20)})
    app = create_app(Operations(service))
    routes = {
        (route.path, method.lower())
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert {(path, method) for path, methods in api["paths"].items() for method in methods} == routes
    names = [operation["operationId"] for methods in api["paths"].values() for operation in methods.values()]
    assert len(set(names)) == len(names)


def test_every_reference_leads_somewhere(api: Any) -> None:
    references = set(re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(api)))
    assert references == set(api["components"]["schemas"])


def test_path_parameters_are_described(api: Any) -> None:
    for path, methods in api["paths"].items():
        for operation in methods.values():
            described = [p["name"] for p in operation.get("parameters", []) if p["in"] == "path"]
            assert described == re.findall(r"{(\w+)}", path)


def test_bodies_and_answers_are_the_models(http: httpx.Client, api: Any) -> None:
    body = api["components"]["schemas"]["RecommendBody"]
    assert set(body["properties"]) == set(schemas.RecommendBody.model_fields)
    answer = post(http, "/v1/recommend", {"user_id": 1, "explain": True})
    assert set(answer) == set(api["components"]["schemas"]["Recommendations"]["properties"])
    assert {*answer["items"][0], "parts"} == set(api["components"]["schemas"]["Item"]["properties"])
    problem = http.post("/v1/recommend", content=b"{}").json()
    assert set(problem) == set(api["components"]["schemas"]["ProblemDetails"]["properties"])


def test_ids_are_integers_or_texts_and_say_so(api: Any) -> None:
    known = api["components"]["schemas"]
    user_id = known["RecommendBody"]["properties"]["user_id"]
    assert {part["type"] for part in user_id["anyOf"][0]["anyOf"]} == {"integer", "string"}
    assert {part["type"] for part in known["SimilarBody"]["properties"]["item_ids"]["items"]["anyOf"]} == {
        "integer",
        "string",
    }
    for answer in ("Item", "Entity", "CatalogueItem", "Removed"):
        assert {part["type"] for part in known[answer]["properties"]["id"]["anyOf"]} == {"integer", "string"}
    of_path, _, _, as_strings, _ = api["paths"]["/v1/items/{id}"]["get"]["parameters"]
    assert (of_path["name"], of_path["schema"]["type"]) == ("id", "string")
    assert (as_strings["name"], as_strings["in"], as_strings["schema"]) == ("ids", "query", {"enum": ["string"]})
    assert [one["name"] for one in api["paths"]["/v1/events"]["post"]["parameters"]] == ["x-request-timeout-ms"]


def test_the_page_shows_it(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "openapi.json" in page.text


def test_metrics_count_what_was_answered(http: httpx.Client) -> None:
    post(http, "/v1/recommend", {"user_id": 1})
    text = http.get("/metrics").text
    for name in (
        'rowbank_http_request_duration_seconds_count{route="/v1/recommend",status="200"}',
        'rowbank_retrieval_stage_seconds_count{stage="search"}',
        'rowbank_retrieval_answers_total{source="personal"}',
        "rowbank_retrieval_batch_queries_count",
        'rowbank_model_info{model="two_tower",version="v1"} 1.0',
        'rowbank_index_items{model="two_tower"} 40.0',
    ):
        assert name in text
