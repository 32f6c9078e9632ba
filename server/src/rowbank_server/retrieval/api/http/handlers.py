"""The HTTP side of each call: what a request says goes to an operation, and its answer becomes JSON."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.http import demo
from rowbank_server.retrieval.api.http.bodies import body_of
from rowbank_server.retrieval.api.http.openapi import PAGE
from rowbank_server.retrieval.api.http.paths import decoded
from rowbank_server.retrieval.api.http.problems import ProblemError, to_json
from rowbank_server.retrieval.api.operations import Operations
from rowbank_server.retrieval.api.service import Caller
from rowbank_server.retrieval.metrics import CONTENT_TYPE


class Handlers:
    """One method per endpoint."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self.openapi: dict[str, Any] = {}

    async def recommend(self, request: Request) -> Response:
        body = await body_of(request, schemas.RecommendBody)
        return to_json(await self._operations.querying.recommend(body, _caller(request)))

    async def recommend_batch(self, request: Request) -> Response:
        body = await body_of(request, schemas.RecommendBatchBody)
        return to_json(await self._operations.querying.recommend_batch(body, _caller(request)))

    async def similar(self, request: Request) -> Response:
        body = await body_of(request, schemas.SimilarBody)
        return to_json(await self._operations.querying.similar(body, _caller(request)))

    async def popular(self, request: Request) -> Response:
        if "exclude_seen" in request.query_params:
            raise ProblemError(
                422,
                "invalid-request",
                "exclude_seen: what is popular is the same for everybody; POST /v1/recommend with a user_id leaves out "
                "what that user has seen",
            )
        body = schemas.PopularBody()
        if (text := request.query_params.get("k")) is not None:
            if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= schemas.MAX_K:
                raise ProblemError(
                    422, "invalid-request", f"k must be an integer from 1 to {schemas.MAX_K}, got {text[:40]!r}"
                )
            body = schemas.PopularBody(k=int(text))
        return to_json(await self._operations.querying.popular(body, _caller(request)))

    async def get_item(self, request: Request) -> Response:
        return to_json(await self._operations.entities.get_item(_id(request), _caller(request)))

    async def put_item(self, request: Request) -> Response:
        body = await body_of(request, schemas.EntityBody)
        return to_json(await self._operations.entities.put_item(_id(request), body, _caller(request)))

    async def delete_item(self, request: Request) -> Response:
        return to_json(await self._operations.entities.delete_item(_id(request), _caller(request)))

    async def get_user(self, request: Request) -> Response:
        return to_json(await self._operations.entities.get_user(_id(request), _caller(request)))

    async def put_user(self, request: Request) -> Response:
        body = await body_of(request, schemas.EntityBody)
        return to_json(await self._operations.entities.put_user(_id(request), body, _caller(request)))

    async def post_events(self, request: Request) -> Response:
        body = await body_of(request, schemas.EventsBody)
        return to_json(await self._operations.events.record(body, _caller(request)))

    async def list_models(self, request: Request) -> Response:
        return to_json(await self._operations.models.list_models(_caller(request)))

    async def activate(self, request: Request) -> Response:
        body = await body_of(request, schemas.ActivateBody, empty=b"{}")
        version = request.path_params["version"]
        return to_json(await self._operations.models.activate(version, body, _caller(request)))

    async def roll_back(self, request: Request) -> Response:
        return to_json(await self._operations.models.roll_back(_caller(request)))

    async def demo(self, request: Request) -> Response:
        return demo.page(request)

    async def demo_file(self, request: Request) -> Response:
        return demo.file(request, request.path_params["file"])

    async def demo_data(self, request: Request) -> Response:
        return to_json(await self._operations.showing.about(request.query_params.get("model", "")))

    async def demo_titles(self, request: Request) -> Response:
        parameters = request.query_params
        return to_json(self._operations.showing.titles(parameters.get("model", ""), parameters.getlist("item")))

    async def healthz(self, request: Request) -> Response:
        return to_json(schemas.Health("alive"))

    async def readyz(self, request: Request) -> Response:
        return to_json(await self._operations.whole.ready())

    async def metrics(self, request: Request) -> Response:
        return Response(await self._operations.whole.metrics(), headers={"content-type": CONTENT_TYPE})

    async def openapi_json(self, request: Request) -> Response:
        return Response(json.dumps(self.openapi), media_type="application/json")

    async def docs(self, request: Request) -> Response:
        return HTMLResponse(PAGE)


def _id(request: Request) -> str:
    """The id in the path, as its caller meant it."""
    return decoded(request.path_params["id"])


def _caller(request: Request) -> Caller:
    asked = request.query_params.get("ids")
    if asked not in (None, "string"):
        raise ProblemError(422, "invalid-request", f"query parameter 'ids': expected string, got {asked[:40]!r}")
    return Caller(as_strings=asked is not None)
