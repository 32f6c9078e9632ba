"""The HTTP application: endpoints, problem details, request metrics."""

from __future__ import annotations

import time
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import rowbank_server
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.http import openapi, problems
from rowbank_server.retrieval.api.http.endpoints import Endpoint, Handler
from rowbank_server.retrieval.api.http.handlers import Handlers
from rowbank_server.retrieval.api.http.paths import EncodedRoute
from rowbank_server.retrieval.api.operations import Operations
from rowbank_server.retrieval.metrics import CONTENT_TYPE, Metrics

_QUERY = (400, 413, 422, 429, 503)
_OF_ONE = (404, 409, 422, 503)
_WRITE = (400, 404, 409, 413, 422, 503)


def endpoints(handlers: Handlers) -> list[Endpoint]:
    """Every endpoint of the service."""
    h, s = handlers, schemas
    k = (("k", f"How many, 1 to {schemas.MAX_K}; default 10."),)
    return [
        Endpoint(
            "POST",
            "/v1/recommend",
            h.recommend,
            "Recommend items",
            s.Recommendations,
            s.RecommendBody,
            _QUERY,
            ids=True,
        ),
        Endpoint(
            "POST",
            "/v1/recommend:batch",
            h.recommend_batch,
            "Answer several recommend requests",
            s.RecommendationsBatch,
            s.RecommendBatchBody,
            _QUERY,
            ids=True,
        ),
        Endpoint(
            "POST",
            "/v1/similar",
            h.similar,
            "Items near given items",
            s.Recommendations,
            s.SimilarBody,
            (*_QUERY, 404),
            ids=True,
        ),
        Endpoint(
            "GET",
            "/v1/popular",
            h.popular,
            "Most popular items",
            s.Recommendations,
            None,
            (422, 429, 503),
            k,
            ("exclude_seen",),
            ids=True,
        ),
        Endpoint("GET", "/v1/items/{id}", h.get_item, "An item", s.CatalogueItem, None, _OF_ONE, ids=True),
        Endpoint("PUT", "/v1/items/{id}", h.put_item, "Add or change an item", s.Written, s.EntityBody, _WRITE),
        Endpoint("DELETE", "/v1/items/{id}", h.delete_item, "Remove an item", s.Removed, None, _OF_ONE, ids=True),
        Endpoint("GET", "/v1/users/{id}", h.get_user, "A user's features", s.Entity, None, _OF_ONE, ids=True),
        Endpoint("PUT", "/v1/users/{id}", h.put_user, "Write a user's features", s.Written, s.EntityBody, _WRITE),
        Endpoint("POST", "/v1/events", h.post_events, "Record interactions", s.Written, s.EventsBody, _WRITE),
        Endpoint("GET", "/v1/models", h.list_models, "Published versions", s.ModelVersions, None, (503,)),
        Endpoint(
            "POST",
            "/v1/models/{version}/activate",
            h.activate,
            "Serve a version",
            s.Activated,
            s.ActivateBody,
            _WRITE,
            body_required=False,
        ),
        Endpoint(
            "POST",
            "/v1/models:rollback",
            h.roll_back,
            "Serve the version before the present one",
            s.Activated,
            None,
            (404, 503),
        ),
        Endpoint("GET", "/demo", h.demo, "A page to try it", content_type="text/html"),
        Endpoint("GET", "/demo/data", h.demo_data, "What that page offers", s.DemoData, None, (503,)),
        Endpoint("GET", "/demo/titles", h.demo_titles, "Titles of items", s.DemoTitles, None, (422, 503)),
        Endpoint("GET", "/demo/{file}", h.demo_file, "A part of that page", None, None, (404,), content_type="*/*"),
        Endpoint("GET", "/healthz", h.healthz, "Whether the process lives", s.Health),
        Endpoint("GET", "/readyz", h.readyz, "Whether a model is served", s.Health, None, (503,)),
        Endpoint("GET", "/metrics", h.metrics, "Prometheus metrics", content_type=CONTENT_TYPE),
        Endpoint("GET", "/openapi.json", h.openapi_json, "This description"),
        Endpoint("GET", "/docs", h.docs, "This description, to read", content_type="text/html"),
    ]


def create_app(operations: Operations) -> Starlette:
    """The application over a running service's operations; it owns nothing."""
    handlers = Handlers(operations)
    listed = endpoints(handlers)
    handlers.openapi = openapi.document(listed, rowbank_server.__version__)
    metrics = operations.service.metrics
    routes = [
        (EncodedRoute if one.path.endswith("{id}") else Route)(
            one.path,
            _guarded(one.handler, one, metrics),
            methods=[one.method],
            name=one.operation_id,
        )
        for one in listed
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: problems.on_http_exception})


def _guarded(handler: Handler, endpoint: Endpoint, metrics: Metrics) -> Any:
    """Turns what a handler raises into problem details, and counts and times the request."""
    what = f"{endpoint.method} {endpoint.path}"
    known = [*(name for name, _ in endpoint.query), *(["ids"] if endpoint.ids else [])]
    explained = endpoint.explained

    async def guarded(request: Request) -> Response:
        started = time.perf_counter()
        try:
            if endpoint.path.startswith("/v1/"):  # Probes and scrapers may add what they like to the others.
                problems.require_known(request.query_params, known, explained)
            response = await handler(request)
        except Exception as error:
            response = problems.respond(problems.from_exception(error, what))
        metrics.request(endpoint.path, response.status_code, time.perf_counter() - started)
        return response

    return guarded
