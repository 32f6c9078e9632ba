"""What each HTTP endpoint does. Redis is only touched in a guard's threads, so the event loop never waits for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from rowbank.closest import listed
from rowbank.errors import InvalidFeature, InvalidRequest, RequestTooLarge
from rowbank.text_ids import ID_TEXT
from rowbank.tower_keys import HISTORY
from rowbank_server import wording
from rowbank_server.features import FeatureRead, FeatureStatus, LayeredView
from rowbank_server.guard import Guard
from rowbank_server.registry import ModelRegistry, StoredModel
from rowbank_server.registry.activation import Activation
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.ids import (
    GivenId,
    ModelIds,
    claim,
    collision,
    require_own,
    shown_features,
    shown_item,
    written_features,
)
from rowbank_server.retrieval.api.named import Named, as_strings_asked
from rowbank_server.retrieval.api.openapi import PAGE
from rowbank_server.retrieval.api.problems import BodyError, ProblemError, to_json
from rowbank_server.retrieval.batching import Batcher
from rowbank_server.retrieval.catalogue import Standing
from rowbank_server.retrieval.engine import Engine
from rowbank_server.retrieval.follower import Follower
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.metrics import CONTENT_TYPE, Metrics
from rowbank_server.retrieval.model import Model
from rowbank_server.retrieval.queries import Answer, Query
from rowbank_server.retrieval.reach import Reach

T = TypeVar("T")
Body = TypeVar("Body", bound=BaseModel)

MAX_BODY_BYTES = 4 << 20
_TRIES = 3  # Of answering a batch by one version while versions change.


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that handlers need.

    Attributes:
        model: the name of the model that is served.
        history_limit: items that a user's history keeps.
        redis: guards what endpoints other than queries ask of Redis.
        redis_wait_s: the longest that such an endpoint waits.
    """

    model: str
    history_limit: int
    registry: ModelRegistry
    activation: Activation
    follower: Follower
    reach: Reach
    engine: Engine
    batcher: Batcher
    metrics: Metrics
    redis: Guard
    redis_wait_s: float

    async def ask_redis(self, call: Callable[[], T]) -> T:
        """What `call` returns or raises; RedisUnavailable if that takes too long, or would."""
        return await self.redis.acall(call, within_s=self.redis_wait_s)


async def _body(request: Request, kind: type[Body], *, empty: bytes = b"") -> Body:
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise RequestTooLarge(f"the body has {length} bytes; at most {MAX_BODY_BYTES} are read")
    chunks: list[bytes] = []
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > MAX_BODY_BYTES:
            raise RequestTooLarge(f"the body has more than {MAX_BODY_BYTES} bytes, the most that is read")
        chunks.append(chunk)
    content = b"".join(chunks).strip() or empty
    if not content:
        raise ProblemError(
            400, "malformed-json", f"the body is empty; expected JSON with {listed(wording.fields(kind))}"
        )
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise BodyError(kind, error) from None


def _recommendations(answer: Answer, *, as_strings: bool, explain: bool = False) -> schemas.Recommendations:
    return schemas.Recommendations(
        items=[
            schemas.Item(shown_item(found, as_strings=as_strings), found.score, rank, found.title)
            for rank, found in enumerate(answer.items, start=1)
        ],
        model_version=answer.model_version,
        index_version=answer.index_version,
        source=answer.source.value,
        degraded=answer.degraded,
        timings_ms=dict(answer.timings_ms) if explain else None,
        defaulted=list(answer.defaulted) if explain else None,
    )


class Handlers:
    """One method per endpoint."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.openapi: dict[str, Any] = {}

    async def recommend(self, request: Request) -> Response:
        body, as_strings = await _body(request, schemas.RecommendBody), as_strings_asked(request)
        answer = await self._service.batcher.ask(body.query(self._model))
        return to_json(_recommendations(answer, as_strings=as_strings, explain=body.explain))

    async def recommend_batch(self, request: Request) -> Response:
        body, as_strings = await _body(request, schemas.RecommendBatchBody), as_strings_asked(request)
        answers = await self._answer_all(body.requests, as_strings)
        for _ in range(_TRIES):
            if len({answer.model_version for answer in answers}) == 1:
                break
            answers = await self._answer_all(
                body.requests, as_strings
            )  # The version changed meanwhile: all of one, then.
        return to_json(schemas.RecommendationsBatch(answers))

    async def _answer_all(
        self, bodies: Sequence[schemas.RecommendBody], as_strings: bool
    ) -> list[schemas.Recommendations]:
        answers: list[schemas.Recommendations | None] = [None] * len(bodies)
        model = self._model

        async def ask(index: int, one: schemas.RecommendBody) -> None:
            answer = await self._service.batcher.ask(one.query(model, f"requests.{index}."))
            answers[index] = _recommendations(answer, as_strings=as_strings, explain=one.explain)

        await _gather([ask(index, one) for index, one in enumerate(bodies)])
        return [answer for answer in answers if answer is not None]

    async def similar(self, request: Request) -> Response:
        body, as_strings = await _body(request, schemas.SimilarBody), as_strings_asked(request)
        query = similar_query(self._service.engine.generation(), body.item_ids, body.k, body.exclude)
        return to_json(_recommendations(await self._service.batcher.ask(query), as_strings=as_strings))

    async def popular(self, request: Request) -> Response:
        if "exclude_seen" in request.query_params:
            raise ProblemError(
                422,
                "invalid-request",
                "exclude_seen: what is popular is the same for everybody; POST /v1/recommend with a user_id leaves out "
                "what that user has seen",
            )
        text = request.query_params.get("k", str(Query().k))
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= schemas.MAX_K:
            raise ProblemError(
                422, "invalid-request", f"k must be an integer from 1 to {schemas.MAX_K}, got {text[:40]!r}"
            )
        as_strings = as_strings_asked(request)
        return to_json(_recommendations(await self._service.batcher.ask(Query(k=int(text))), as_strings=as_strings))

    async def get_item(self, request: Request) -> Response:
        generation = self._service.engine.generation()
        item = Named.of(request, ModelIds.of(generation.model).items)
        read, features = await self._read(generation, generation.model.items, item, "item")
        position = generation.positions([item.key])
        standing = Standing(generation.standing[position[0]]) if len(position) else None
        why_not = "written a moment ago; a search finds it within a second" if standing is None else standing.text
        return to_json(
            schemas.CatalogueItem(
                id=item.shown,
                features=features,
                status=read.status.value,
                event_time_s=read.event_time_s,
                indexed=standing is Standing.INDEXED,
                interactions=int(generation.interactions[position[0]]) if len(position) else 0,
                not_indexed=why_not,
            )
        )

    async def put_item(self, request: Request) -> Response:
        model = self._model
        item, items = Named.of(request, ModelIds.of(model).items), model.items
        body = await _body(request, schemas.EntityBody)
        written = await self._write(items, item, body.features)
        self._service.follower.item_changed(item.key)
        return to_json(schemas.Written(written))

    async def delete_item(self, request: Request) -> Response:
        model = self._model
        item, items = Named.of(request, ModelIds.of(model).items), model.items

        def remove() -> bool:
            claim(items, item.texts)
            return items.remove(item.key)

        if not await self._service.ask_redis(remove):
            raise ProblemError(404, "unknown-item", f"item {item} has no features in view {items.written!r}")
        self._service.follower.item_changed(item.key)
        return to_json(schemas.Removed(item.shown))

    async def get_user(self, request: Request) -> Response:
        generation = self._service.engine.generation()
        user = Named.of(request, ModelIds.of(generation.model).users)
        read, features = await self._read(generation, self._users(), user, "user")
        return to_json(schemas.Entity(user.shown, features, read.status.value, read.event_time_s))

    async def put_user(self, request: Request) -> Response:
        user = Named.of(request, self._ids.users)
        body = await _body(request, schemas.EntityBody)
        return to_json(schemas.Written(await self._write(self._users(), user, body.features)))

    async def post_events(self, request: Request) -> Response:
        body = await _body(request, schemas.EventsBody)
        users = self._users()
        if not self._service.engine.generation().model.has_history:
            raise InvalidFeature(
                f"view {users.written!r} has no feature {HISTORY!r}; add one (int64_list) to record events"
            )
        ids = self._ids
        by_user: dict[int, list[int]] = {}
        texts: dict[int, str] = {}
        for place, event in enumerate(body.events):
            user = ids.users.key(event.user_id, f"events.{place}.user_id")
            if ids.users.are_texts:
                known = texts.setdefault(user, event.user_id)
                if known != event.user_id:
                    raise collision(event.user_id, known, user)
            by_user.setdefault(user, []).append(ids.items.key(event.item_id, f"events.{place}.item_id"))

        def append() -> None:
            if new := claim(users, texts) if texts else []:
                users.write([(user, {ID_TEXT: texts[user]}) for user in new])
            for user, items in by_user.items():
                users.append(HISTORY, user, items, limit=self._service.history_limit)

        await self._service.ask_redis(append)
        return to_json(schemas.Written(len(by_user)))

    async def list_models(self, request: Request) -> Response:
        service = self._service

        def collect() -> tuple[list[StoredModel], str]:
            known = service.model in service.registry.names()
            listed = service.registry.list(service.model) if known else []
            return listed, service.registry.previous(service.model)

        stored, previous = await self._service.ask_redis(collect)
        serving = service.follower.current.model.version if service.follower.current else ""
        models = [
            schemas.ModelVersion(
                name=entry.manifest.name,
                version=entry.manifest.version,
                active=entry.active,
                serving=entry.manifest.version == serving,
                created_at_s=entry.manifest.created_at_s,
                vector_dim=entry.manifest.vector_dim,
                metrics=dict(entry.manifest.metrics),
            )
            for entry in stored
        ]
        return to_json(schemas.ModelVersions(models, previous))

    async def activate(self, request: Request) -> Response:
        service, version = self._service, request.path_params["version"]
        body = await _body(request, schemas.ActivateBody, empty=b"{}")
        previous = await service.ask_redis(
            lambda: service.activation.activate(service.model, version, force=body.force)
        )
        service.follower.wake()
        return to_json(schemas.Activated(version, previous))

    async def roll_back(self, request: Request) -> Response:
        service = self._service
        previous, version = await service.ask_redis(lambda: service.activation.roll_back(service.model))
        service.follower.wake()
        return to_json(schemas.Activated(version, previous))

    async def healthz(self, request: Request) -> Response:
        return to_json(schemas.Health("alive"))

    async def readyz(self, request: Request) -> Response:
        follower = self._service.follower
        generation = follower.current
        if generation is None:
            problems = [text for text in (self._service.reach.problem, follower.problem) if text]
            raise ProblemError(503, "not-ready", "; ".join(problems) or "no model is loaded yet; try again in a moment")
        items = int(generation.indexed.sum())
        version = generation.model.version
        problem = follower.problem or self._service.reach.problem
        return to_json(schemas.Health("ready", version, generation.index_version, items, problem))

    async def metrics(self, request: Request) -> Response:
        return Response(self._service.metrics.exposition(), headers={"content-type": CONTENT_TYPE})

    async def openapi_json(self, request: Request) -> Response:
        return Response(json.dumps(self.openapi), media_type="application/json")

    async def docs(self, request: Request) -> Response:
        return HTMLResponse(PAGE)

    @property
    def _model(self) -> Model:
        return self._service.engine.generation().model

    @property
    def _ids(self) -> ModelIds:
        return ModelIds.of(self._model)

    def _users(self) -> LayeredView:
        users = self._model.users
        if users is None:
            raise InvalidRequest("the model in service names no view of users, so there is nothing to read or write")
        return users

    async def _read(
        self, generation: Generation, view: LayeredView, entity: Named, what: str
    ) -> tuple[FeatureRead, dict[str, Any]]:
        """What is stored of an entity, and its features as the answer has them."""
        derived = {one.output for one in view.derived}

        def read_own() -> tuple[FeatureRead, dict[str, Any]]:
            if entity.text:
                claim(view, entity.texts)
            read = view.read([entity.key])[0]
            return read, shown_features(generation, read.values, derived, as_strings=entity.as_strings)

        read, features = await self._service.ask_redis(read_own)
        if read.status is FeatureStatus.NOT_FOUND:
            raise ProblemError(404, f"unknown-{what}", f"{what} {entity} has no features in view {view.written!r}")
        return read, features

    async def _write(self, view: LayeredView, entity: Named, features: dict[str, Any]) -> int:
        require_own(features)
        items = self._ids.items

        def write() -> int:
            values = written_features(items, view, features)
            if not entity.text:
                return view.write([(entity.key, values)])
            claim(view, entity.texts)
            return view.write([(entity.key, {**values, ID_TEXT: entity.text})])

        return await self._service.ask_redis(write)


def similar_query(generation: Generation, items: list[GivenId], k: int, exclude: list[GivenId]) -> Query:
    """Asks for items near `items`.

    Raises:
        InvalidRequest: an id is not of the model's kind.
        ProblemError: items that the catalogue does not have are named, 404.
    """
    ids = ModelIds.of(generation.model).items
    keys = ids.keys(items, "item_ids")
    unknown = [item for item, key in zip(items, keys, strict=True) if not len(generation.positions([key]))]
    if unknown:
        named = ", ".join(str(item) for item in unknown[:10])
        raise ProblemError(404, "unknown-item", f"the catalogue has no item {named}")
    return Query(items=tuple(keys), k=k, exclude=tuple(ids.keys(exclude, "exclude")), exclude_seen=True)


async def _gather(calls: list[Any]) -> None:
    """Runs all to their end, then raises the first failure, if any; none is left running."""
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
