"""RetrievalService over gRPC: the operations of HTTP, for messages."""

# ruff: noqa: N802 - methods have the names of the calls.

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc.aio

from rowbank.errors import InternalError, InvalidRequest, RequestError
from rowbank_protos.v1 import retrieval_pb2 as pb
from rowbank_protos.v1 import retrieval_pb2_grpc
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.grpc import answers, bodies
from rowbank_server.retrieval.api.grpc.registering import abort
from rowbank_server.retrieval.api.operations import Operations
from rowbank_server.retrieval.api.operations.bulk import Role
from rowbank_server.retrieval.api.schemas.fields import BIG
from rowbank_server.retrieval.api.schemas.validation import Body
from rowbank_server.retrieval.api.service import Caller

_log = logging.getLogger("rowbank.api")

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext


class RetrievalServicer(retrieval_pb2_grpc.RetrievalServiceServicer):
    """Runs on the event loop of the HTTP server and shares its batches."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def Recommend(self, request: pb.RecommendRequest, context: Context[Any, Any]) -> pb.RecommendResponse:
        call = self._operations.querying.recommend
        return await _call(request, context, bodies.recommend, schemas.RecommendBody, call, answers.recommendations)

    async def RecommendBatch(
        self, request: pb.RecommendBatchRequest, context: Context[Any, Any]
    ) -> pb.RecommendBatchResponse:
        call = self._operations.querying.recommend_batch
        return await _call(request, context, bodies.recommend_batch, schemas.RecommendBatchBody, call, answers.batch)

    async def SimilarItems(self, request: pb.SimilarItemsRequest, context: Context[Any, Any]) -> pb.RecommendResponse:
        call = self._operations.querying.similar
        return await _call(request, context, bodies.similar, schemas.SimilarBody, call, answers.recommendations)

    async def Score(self, request: pb.ScoreRequest, context: Context[Any, Any]) -> pb.ScoreResponse:
        call = self._operations.querying.score
        return await _call(request, context, bodies.score, schemas.ScoreBody, call, answers.scores)

    async def Embed(self, request: pb.EmbedRequest, context: Context[Any, Any]) -> pb.EmbedResponse:
        call = self._operations.querying.embed
        return await _call(request, context, bodies.embed, schemas.EmbedBody, call, answers.embeddings)

    async def Popular(self, request: pb.PopularRequest, context: Context[Any, Any]) -> pb.RecommendResponse:
        call = self._operations.querying.popular
        return await _call(request, context, bodies.popular, schemas.PopularBody, call, answers.recommendations)

    async def GetItem(self, request: pb.GetEntityRequest, context: Context[Any, Any]) -> pb.GetItemResponse:
        call = self._operations.entities.get_item
        return await _call(request, context, bodies.entity_ref, schemas.EntityRef, call, answers.item)

    async def DeleteItem(self, request: pb.DeleteItemRequest, context: Context[Any, Any]) -> pb.DeleteItemResponse:
        call = self._operations.entities.delete_item
        return await _call(request, context, bodies.entity_ref, schemas.EntityRef, call, answers.removed)

    async def GetUser(self, request: pb.GetEntityRequest, context: Context[Any, Any]) -> pb.GetUserResponse:
        call = self._operations.entities.get_user
        return await _call(request, context, bodies.entity_ref, schemas.EntityRef, call, answers.user)

    async def UpsertItems(
        self, request: pb.UpsertEntitiesRequest, context: Context[Any, Any]
    ) -> pb.UpsertEntitiesResponse:
        return await _answered(lambda caller: self._upsert("item", request, caller), context)

    async def UpsertUsers(
        self, request: pb.UpsertEntitiesRequest, context: Context[Any, Any]
    ) -> pb.UpsertEntitiesResponse:
        return await _answered(lambda caller: self._upsert("user", request, caller), context)

    async def RecordEvents(
        self, request: pb.RecordEventsRequest, context: Context[Any, Any]
    ) -> pb.RecordEventsResponse:
        call = self._operations.events.record
        return await _call(request, context, bodies.events, schemas.EventsBody, call, answers.recorded)

    async def ListServedModels(
        self, request: pb.ListServedModelsRequest, context: Context[Any, Any]
    ) -> pb.ListServedModelsResponse:
        call = self._operations.models.list_models
        return await _call(request, context, _model, schemas.ModelRef, call, answers.models)

    async def GetTraffic(self, request: pb.GetTrafficRequest, context: Context[Any, Any]) -> pb.Traffic:
        call = self._operations.models.get_traffic
        return await _call(request, context, _model, schemas.ModelRef, call, answers.traffic)

    async def SetTraffic(self, request: pb.SetTrafficRequest, context: Context[Any, Any]) -> pb.Traffic:
        call = self._operations.models.set_traffic
        return await _call(request, context, bodies.traffic, schemas.TrafficBody, call, answers.traffic)

    async def ProbeIndex(self, request: pb.ProbeIndexRequest, context: Context[Any, Any]) -> pb.ProbeIndexResponse:
        call = self._operations.probing.probe
        return await _call(request, context, bodies.probe, schemas.ProbeBody, call, answers.probe)

    async def ListFilters(self, request: pb.ListFiltersRequest, context: Context[Any, Any]) -> pb.ListFiltersResponse:
        call = self._operations.filters.list_filters
        return await _call(request, context, _model, schemas.ModelRef, call, answers.filters)

    async def PutFilter(self, request: pb.PutFilterRequest, context: Context[Any, Any]) -> pb.PutFilterResponse:
        async def call(body: schemas.FilterBody, caller: Caller) -> schemas.StoredFilter:
            return await self._operations.filters.put_filter(request.filter.name, body, caller)

        return await _call(
            request, context, bodies.put_filter, schemas.FilterBody, call, lambda answer: pb.PutFilterResponse()
        )

    async def DeleteFilter(
        self, request: pb.DeleteFilterRequest, context: Context[Any, Any]
    ) -> pb.DeleteFilterResponse:
        async def call(body: schemas.ModelRef, caller: Caller) -> schemas.FilterName:
            return await self._operations.filters.delete_filter(request.name, body, caller)

        return await _call(request, context, _model, schemas.ModelRef, call, lambda answer: pb.DeleteFilterResponse())

    async def ActivateVersion(
        self, request: pb.ActivateVersionRequest, context: Context[Any, Any]
    ) -> pb.ActivateVersionResponse:
        async def call(body: schemas.ActivateBody, caller: Caller) -> schemas.Activated:
            if not request.version:
                raise InvalidRequest("version: is missing; name the version to activate", metadata={"field": "version"})
            return await self._operations.models.activate(request.version, body, caller)

        return await _call(request, context, bodies.activate, schemas.ActivateBody, call, answers.activated)

    async def RollBack(self, request: pb.RollBackRequest, context: Context[Any, Any]) -> pb.ActivateVersionResponse:
        call = self._operations.models.roll_back
        return await _call(request, context, _model, schemas.ModelRef, call, answers.activated)

    async def _upsert(self, role: Role, request: pb.UpsertEntitiesRequest, caller: Caller) -> pb.UpsertEntitiesResponse:
        if not 0 < len(request.entities) <= schemas.MAX_LIST:
            raise InvalidRequest(
                f"entities: expected 1 to {schemas.MAX_LIST}, got {len(request.entities)}",
                metadata={"field": "entities"},
            )
        lines = await _beside(lambda: [_line(one) for one in request.entities], request)
        return answers.written(await self._operations.bulk.write(role, request.model, lines, caller))


def _line(message: pb.Entity) -> schemas.EntityLine | RequestError:
    try:
        return schemas.validated(schemas.EntityLine, bodies.entity(message))
    except InvalidRequest as error:
        return error


def _model(request: Any) -> dict[str, Any]:
    return {"model": request.model}


async def _call(
    request: Request,
    context: Context[Any, Any],
    unpack: Callable[[Request], dict[str, Any]],
    kind: type[Body],
    operation: Callable[[Body, Caller], Awaitable[Answer]],
    pack: Callable[[Answer], Response],
) -> Response:
    """A message as a body, checked as over HTTP; what the operation makes of it; and that as a message."""

    async def call(caller: Caller) -> Response:
        body = await _beside(lambda: schemas.validated(kind, unpack(request)), request)
        return pack(await operation(body, caller))

    return await _answered(call, context)


async def _beside(read: Callable[[], Answer], request: Any) -> Answer:
    """What `read` makes of a message; of a large one beside the event loop, so that others need not wait for it."""
    return read() if request.ByteSize() <= BIG else await asyncio.to_thread(read)


async def _answered(call: Callable[[Caller], Awaitable[Answer]], context: Context[Any, Any]) -> Answer:
    """What a call answers; what it raises becomes a status. A call that its caller cancels is cancelled here, too."""
    left_s = context.time_remaining()
    deadline_s = None if left_s is None else time.monotonic() + left_s
    try:
        return await call(Caller(deadline_s=deadline_s))
    except RequestError as error:
        if error.code is grpc.StatusCode.INTERNAL:
            _log.error("a gRPC call failed: %s", error.message, exc_info=error)
        await abort(context, error)
    except Exception as error:
        _log.error("a gRPC call failed for a reason that is a defect", exc_info=error)
        await abort(context, InternalError(f"the call failed ({type(error).__name__}); the log has the details"))
