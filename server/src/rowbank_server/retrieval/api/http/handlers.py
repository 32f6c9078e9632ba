"""The HTTP side of each call: what a request says goes to an operation, and its answer becomes JSON."""

from __future__ import annotations

import json
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.http import demo, parameters
from rowbank_server.retrieval.api.http.bodies import Bodies
from rowbank_server.retrieval.api.http.imports import Imports
from rowbank_server.retrieval.api.http.openapi import PAGE
from rowbank_server.retrieval.api.http.parameters import caller_of, id_of
from rowbank_server.retrieval.api.http.problems import ProblemError, to_json
from rowbank_server.retrieval.api.operations import Operations
from rowbank_server.retrieval.metrics import CONTENT_TYPE
from rowbank_server.security.caller import ANYBODY, NOBODY, as_caller, current
from rowbank_server.ui import data, files
from rowbank_server.web import answers


class Handlers:
    """One method per endpoint."""

    def __init__(self, operations: Operations) -> None:
        limits = operations.service.limits
        self._operations = operations
        self._bodies = Bodies(limits.body_timeout_s)
        self._imports = Imports(operations.bulk, limits)
        self.openapi: dict[str, Any] = {}

    async def recommend(self, request: Request) -> Response:
        caller, content = caller_of(request), await self._bodies.whole(request)
        plain = schemas.plain_recommend(content)
        if plain is not None:
            return to_json(await self._operations.querying.recommend_plain(plain, caller))
        body = await self._bodies.checked(content, schemas.RecommendBody)
        return to_json(await self._operations.querying.recommend(body, caller))

    async def recommend_batch(self, request: Request) -> Response:
        caller, body = caller_of(request), await self._bodies.read(request, schemas.RecommendBatchBody)
        return to_json(await self._operations.querying.recommend_batch(body, caller))

    async def similar(self, request: Request) -> Response:
        caller, body = caller_of(request), await self._bodies.read(request, schemas.SimilarBody)
        return to_json(await self._operations.querying.similar(body, caller))

    async def score(self, request: Request) -> Response:
        caller, body = caller_of(request), await self._bodies.read(request, schemas.ScoreBody)
        return to_json(await self._operations.querying.score(body, caller))

    async def embed(self, request: Request) -> Response:
        caller, body = caller_of(request), await self._bodies.read(request, schemas.EmbedBody)
        return to_json(await self._operations.querying.embed(body, caller))

    async def popular(self, request: Request) -> Response:
        body = schemas.validated(schemas.PopularBody, parameters.popular(request))
        return to_json(await self._operations.querying.popular(body, caller_of(request)))

    async def post_popular(self, request: Request) -> Response:
        caller, body = caller_of(request), await self._bodies.read(request, schemas.PopularBody, empty=b"{}")
        return to_json(await self._operations.querying.popular(body, caller))

    async def get_item(self, request: Request) -> Response:
        body = schemas.validated(schemas.EntityRef, parameters.reference(request))
        return to_json(await self._operations.entities.get_item(body, caller_of(request)))

    async def put_item(self, request: Request) -> Response:
        caller, body = caller_of(request), await self._bodies.read(request, schemas.EntityBody)
        return to_json(await self._operations.entities.put_item(id_of(request), body, caller))

    async def delete_item(self, request: Request) -> Response:
        body = schemas.validated(schemas.EntityRef, parameters.reference(request))
        return to_json(await self._operations.entities.delete_item(body, caller_of(request)))

    async def import_items(self, request: Request) -> Response:
        model = schemas.validated(schemas.ModelRef, parameters.named(request, "model")).model
        return to_json(await self._imports.read(request, "item", model, caller_of(request)))

    async def get_user(self, request: Request) -> Response:
        body = schemas.validated(schemas.EntityRef, parameters.reference(request))
        return to_json(await self._operations.entities.get_user(body, caller_of(request)))

    async def put_user(self, request: Request) -> Response:
        caller, body = caller_of(request), await self._bodies.read(request, schemas.EntityBody)
        return to_json(await self._operations.entities.put_user(id_of(request), body, caller))

    async def import_users(self, request: Request) -> Response:
        model = schemas.validated(schemas.ModelRef, parameters.named(request, "model")).model
        return to_json(await self._imports.read(request, "user", model, caller_of(request)))

    async def post_events(self, request: Request) -> Response:
        caller, body = caller_of(request), await self._bodies.read(request, schemas.EventsBody)
        return to_json(await self._operations.events.record(body, caller))

    async def list_filters(self, request: Request) -> Response:
        body = schemas.validated(schemas.ModelRef, parameters.named(request, "model"))
        return to_json(await self._operations.filters.list_filters(body, caller_of(request)))

    async def put_filter(self, request: Request) -> Response:
        caller, body = caller_of(request), await self._bodies.read(request, schemas.FilterBody)
        return to_json(await self._operations.filters.put_filter(request.path_params["name"], body, caller))

    async def delete_filter(self, request: Request) -> Response:
        body, name = (
            schemas.validated(schemas.ModelRef, parameters.named(request, "model")),
            request.path_params["name"],
        )
        return to_json(await self._operations.filters.delete_filter(name, body, caller_of(request)))

    async def list_models(self, request: Request) -> Response:
        body = schemas.validated(schemas.ModelRef, parameters.named(request, "model"))
        return to_json(await self._operations.models.list_models(body, caller_of(request)))

    async def activate(self, request: Request) -> Response:
        caller, body = caller_of(request), await self._bodies.read(request, schemas.ActivateBody, empty=b"{}")
        return to_json(await self._operations.models.activate(request.path_params["version"], body, caller))

    async def roll_back(self, request: Request) -> Response:
        body = schemas.validated(schemas.ModelRef, parameters.named(request, "model"))
        return to_json(await self._operations.models.roll_back(body, caller_of(request)))

    async def get_traffic(self, request: Request) -> Response:
        body = schemas.validated(schemas.ModelRef, parameters.named(request, "model"))
        return to_json(await self._operations.models.get_traffic(body, caller_of(request)))

    async def put_traffic(self, request: Request) -> Response:
        caller, body = caller_of(request), await self._bodies.read(request, schemas.TrafficBody)
        return to_json(await self._operations.models.set_traffic(body, caller))

    async def probe_index(self, request: Request) -> Response:
        caller, body = caller_of(request), await self._bodies.read(request, schemas.ProbeBody, empty=b"{}")
        return to_json(await self._operations.probing.probe(body, caller))

    async def demo(self, request: Request) -> Response:
        return demo.page(request)

    async def demo_file(self, request: Request) -> Response:
        return demo.file(request, request.path_params["file"])

    async def demo_data(self, request: Request) -> Response:
        return to_json(await self._operations.showing.about(request.query_params.get("model", "")))

    async def demo_titles(self, request: Request) -> Response:
        asked = request.query_params
        return to_json(self._operations.showing.titles(asked.get("model", ""), asked.getlist("item")))

    async def home(self, request: Request) -> Response:
        return answers.to_page()

    async def ui(self, request: Request) -> Response:
        return files.serve(request, files.INDEX)

    async def ui_file(self, request: Request) -> Response:
        return files.serve(request, request.path_params["file"])

    async def ui_data(self, request: Request) -> Response:
        what, source = request.path_params["what"], self._operations.service.page
        told = await run_in_threadpool(data.answer, source, what, request.query_params)
        if told is None:
            raise ProblemError(404, "no-such-path", f"the page at /ui has no data {what[:80]!r}")
        return answers.to_json(told)

    async def healthz(self, request: Request) -> Response:
        return to_json(schemas.Health("alive"))

    async def readyz(self, request: Request) -> Response:
        caller = current()
        with as_caller(ANYBODY):
            health = await self._operations.whole.ready()
        return to_json(schemas.Health(health.status) if caller is NOBODY else health)

    async def metrics(self, request: Request) -> Response:
        return Response(await self._operations.whole.metrics(), headers={"content-type": CONTENT_TYPE})

    async def openapi_json(self, request: Request) -> Response:
        return Response(json.dumps(self.openapi), media_type="application/json")

    async def docs(self, request: Request) -> Response:
        return HTMLResponse(PAGE)
