"""The HTTP application: endpoints, problem details, request metrics."""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import rowbank_server
from rowbank import tracing
from rowbank_server.retrieval.api import schemas as s
from rowbank_server.retrieval.api.http import openapi, problems
from rowbank_server.retrieval.api.http.endpoints import Endpoint, Handler, Parameter
from rowbank_server.retrieval.api.http.handlers import Handlers
from rowbank_server.retrieval.api.http.paths import EncodedRoute
from rowbank_server.retrieval.api.operations import Operations
from rowbank_server.retrieval.api.schemas.fields import MAX_K, MAX_NAME, MAX_OFFSET
from rowbank_server.retrieval.metrics import CONTENT_TYPE, Metrics
from rowbank_server.tenancy import note_peer, peer_of

_log = logging.getLogger("rowbank.api")

_QUERY = (400, 404, 408, 413, 422, 429, 503, 504)
_ASKED = (404, 422, 429, 503, 504)
_OF_ONE = (404, 409, 422, 503, 504)
_WRITE = (400, 404, 408, 409, 413, 422, 429, 503, 504)
_NAMES = {"type": "string", "maxLength": MAX_NAME}
_MODEL = Parameter("model", "The model that is asked; without it, the service's default one.", _NAMES)
_K = Parameter("k", f"How many, 1 to {MAX_K}; default 10.", {"type": "integer", "minimum": 1, "maximum": MAX_K})
_OFFSET = {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET}
_POPULAR = (
    _K,
    Parameter("window", "Events of so long back: 24h, 7d.", {"type": "string", "pattern": "^[0-9]{1,9}[smhdw]$"}),
    Parameter("kind", "Kinds of events, separated by commas; with a window.", {"type": "string", "minLength": 1}),
    Parameter("filter", "The name of a stored filter.", {"type": "string", "minLength": 1}),
    _MODEL,
    Parameter("version", "A loaded version.", _NAMES),
    Parameter("offset", "Leaves out so many of the best; not with a cursor.", _OFFSET),
    Parameter("cursor", "next_cursor of the answer before.", {"type": "string", "minLength": 1}),
    Parameter("explain", "true: say how the answer came to be.", {"type": "boolean"}),
)
_VECTOR = Parameter("vector", "true: an item's vector, too.", {"type": "boolean"})


def endpoints(handlers: Handlers) -> list[Endpoint]:
    """Every endpoint of the service."""
    return [*_queries(handlers), *_entities(handlers), *_filters(handlers), *_models(handlers), *_others(handlers)]


def _queries(h: Handlers) -> list[Endpoint]:
    asked: list[tuple[str, Handler, str, type[BaseModel], type[msgspec.Struct]]] = [
        ("/v1/recommend", h.recommend, "Recommend items", s.RecommendBody, s.Recommendations),
        (
            "/v1/recommend:batch",
            h.recommend_batch,
            "Answer several recommend requests",
            s.RecommendBatchBody,
            s.RecommendationsBatch,
        ),
        ("/v1/similar", h.similar, "Items near given items", s.SimilarBody, s.Recommendations),
        ("/v1/score", h.score, "Rank given items for somebody", s.ScoreBody, s.Scores),
        ("/v1/embed", h.embed, "Vectors of users or items", s.EmbedBody, s.Embeddings),
    ]
    return [
        *(
            Endpoint("POST", path, call, text, answer, body, _QUERY, ids=True)
            for path, call, text, body, answer in asked
        ),
        Endpoint(
            "GET",
            "/v1/popular",
            h.popular,
            "Most popular items",
            s.Recommendations,
            None,
            _ASKED,
            _POPULAR,
            explained=("exclude_seen",),
            ids=True,
        ),
        Endpoint(
            "POST",
            "/v1/popular",
            h.post_popular,
            "Most popular items, with a filter",
            s.Recommendations,
            s.PopularBody,
            _QUERY,
            ids=True,
            body_required=False,
        ),
    ]


def _entities(h: Handlers) -> list[Endpoint]:
    item, user = "/v1/items/{id}", "/v1/users/{id}"
    seen, line = (_MODEL, _VECTOR), s.EntityLine
    of_model = (_MODEL,)
    return [
        Endpoint("GET", item, h.get_item, "An item", s.CatalogueItem, None, _OF_ONE, seen, ids=True),
        Endpoint("PUT", item, h.put_item, "Add or change an item", s.Written, s.EntityBody, _WRITE),
        Endpoint("DELETE", item, h.delete_item, "Remove an item", s.Removed, None, _OF_ONE, of_model, ids=True),
        Endpoint(
            "POST",
            "/v1/items:import",
            h.import_items,
            "Add or change many items",
            s.Imported,
            None,
            _WRITE,
            of_model,
            lines=line,
        ),
        Endpoint("GET", user, h.get_user, "A user's features", s.Entity, None, _OF_ONE, of_model, ids=True),
        Endpoint("PUT", user, h.put_user, "Write a user's features", s.Written, s.EntityBody, _WRITE),
        Endpoint(
            "POST",
            "/v1/users:import",
            h.import_users,
            "Write many users' features",
            s.Imported,
            None,
            _WRITE,
            of_model,
            lines=line,
        ),
        Endpoint("POST", "/v1/events", h.post_events, "Record what users did", s.Recorded, s.EventsBody, _WRITE),
    ]


def _filters(h: Handlers) -> list[Endpoint]:
    named, of_model = "/v1/filters/{name}", (_MODEL,)
    known, gone = (404, 422, 503, 504), s.FilterName
    return [
        Endpoint("GET", "/v1/filters", h.list_filters, "Stored filters", s.StoredFilters, None, known, of_model),
        Endpoint("PUT", named, h.put_filter, "Store a filter", s.StoredFilter, s.FilterBody, _WRITE),
        Endpoint("DELETE", named, h.delete_filter, "Take a stored filter away", gone, None, known, of_model),
    ]


def _models(h: Handlers) -> list[Endpoint]:
    of_model, models = (_MODEL,), "/v1/models"
    traffic, known = f"{models}:traffic", (404, 422, 503, 504)
    activate, back = f"{models}/{{version}}/activate", f"{models}:rollback"
    return [
        Endpoint("GET", models, h.list_models, "Published versions", s.ModelVersions, None, known, of_model),
        Endpoint(
            "POST", activate, h.activate, "Serve a version", s.Activated, s.ActivateBody, _WRITE, body_required=False
        ),
        Endpoint("POST", back, h.roll_back, "Serve the version before", s.Activated, None, known, of_model),
        Endpoint("GET", traffic, h.get_traffic, "Who gets which version", s.TrafficSplit, None, known, of_model),
        Endpoint("PUT", traffic, h.put_traffic, "Split traffic", s.TrafficSplit, s.TrafficBody, _WRITE),
        Endpoint(
            "POST",
            "/v1/index:probe",
            h.probe_index,
            "Measure the recall of the index",
            s.ProbeReport,
            s.ProbeBody,
            _QUERY,
            body_required=False,
        ),
    ]


def _others(h: Handlers) -> list[Endpoint]:
    return [
        Endpoint("GET", "/demo", h.demo, "A page to try it", content_type="text/html"),
        Endpoint("GET", "/demo/data", h.demo_data, "What that page offers", s.DemoData, None, (404, 503)),
        Endpoint("GET", "/demo/titles", h.demo_titles, "Titles of items", s.DemoTitles, None, (404, 422, 503)),
        Endpoint("GET", "/demo/{file}", h.demo_file, "A part of that page", None, None, (404,), content_type="*/*"),
        Endpoint("GET", "/", h.home, "The way to the page for operators", leads_to="/ui"),
        Endpoint("GET", "/ui", h.ui, "A page for operators", content_type="text/html"),
        Endpoint("GET", "/ui/{file}", h.ui_file, "A part of that page", None, None, (404,), content_type="*/*"),
        Endpoint("GET", "/ui/data/{what}", h.ui_data, "What that page shows", None, None, (404, 422)),
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
    app = Starlette(routes=routes, exception_handlers={HTTPException: problems.on_http_exception})
    app.router.redirect_slashes = False  # A path with a slash too many is another path, and an id may end in one.
    return app


def _guarded(handler: Handler, endpoint: Endpoint, metrics: Metrics) -> Any:
    """Turns what a handler raises into problem details, and counts and times the request."""
    what = f"{endpoint.method} {endpoint.path}"
    known = [*(one.name for one in endpoint.query), *(["ids"] if endpoint.ids else [])]
    explained = endpoint.explained
    route = {"http.route": endpoint.path}

    async def guarded(request: Request) -> Response:
        started = time.perf_counter()
        span = tracing.current()
        span.name(what)
        span.note(route)
        if client := request.scope.get("client"):
            note_peer(peer_of(*client))
        try:
            # Probes and scrapers may add what they like to the others.
            if request.scope["query_string"] and endpoint.path.startswith("/v1/"):
                problems.require_known(request.query_params, known, explained)
            response = await handler(request)
        except Exception as error:
            problem = problems.from_exception(error, what)
            span.fail(problem.kind, fault=problem.status >= 500)
            response = problems.respond(problem)
        took_s = time.perf_counter() - started
        metrics.request(endpoint.path, response.status_code, took_s)
        _log.debug("%s: %d in %.3f ms", what, response.status_code, 1e3 * took_s)
        return response

    return guarded
