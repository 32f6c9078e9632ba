"""RetrievalService over gRPC: the same questions as over HTTP."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

import grpc.aio

from rowbank.errors import InternalError, InvalidRequest, RequestError, to_status
from rowbank_protos.v1 import retrieval_pb2, retrieval_pb2_grpc
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.handlers import Service
from rowbank_server.retrieval.queries import DEFAULT_K, Answer, Query

_log = logging.getLogger("rowbank.api")


class RetrievalServicer(retrieval_pb2_grpc.RetrievalServiceServicer):
    """Runs on the event loop of the HTTP server and shares its batches."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def Recommend(  # noqa: N802
        self, request: retrieval_pb2.RecommendRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> retrieval_pb2.RecommendResponse:
        return await self._answer(lambda: _recommend_query(request), context)

    async def SimilarItems(  # noqa: N802
        self, request: retrieval_pb2.SimilarItemsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> retrieval_pb2.RecommendResponse:
        return await self._answer(lambda: self._similar_query(request), context)

    async def _answer(self, query: Any, context: grpc.aio.ServicerContext[Any, Any]) -> retrieval_pb2.RecommendResponse:
        try:
            return _response(await self._service.batcher.ask(query()))
        except RequestError as error:
            await _abort(context, error)
        except Exception as error:
            _log.error("a gRPC query failed for a reason that is a defect", exc_info=error)
            await _abort(context, InternalError(f"the query failed ({type(error).__name__}); the log has the details"))

    def _similar_query(self, request: retrieval_pb2.SimilarItemsRequest) -> Query:
        items = list(request.item_ids)
        if not items:
            raise InvalidRequest("item_ids is empty; name at least one item")
        generation = self._service.engine.generation()
        unknown = [item for item in items if not len(generation.positions([item]))]
        if unknown:
            raise InvalidRequest(f"the catalogue has no item {', '.join(map(str, unknown[:10]))}")
        return Query(items=tuple(items), k=_k(request.k), exclude=tuple(request.exclude), exclude_seen=True)


def _recommend_query(request: retrieval_pb2.RecommendRequest) -> Query:
    subject = request.WhichOneof("subject")
    if subject is None or (subject == "session" and not request.session.item_ids):
        raise InvalidRequest("give a user_id or a session with at least one item")
    return Query(
        user_id=request.user_id if subject == "user_id" else None,
        items=tuple(request.session.item_ids) if subject == "session" else None,
        k=_k(request.k),
        exclude=tuple(request.exclude),
        exclude_seen=request.exclude_seen,
        min_score=request.min_score if request.HasField("min_score") else None,
    )


def _k(asked: int) -> int:
    if asked > schemas.MAX_K:
        raise InvalidRequest(f"k must be 1 to {schemas.MAX_K}, got {asked}")
    return asked or DEFAULT_K


def _response(answer: Answer) -> retrieval_pb2.RecommendResponse:
    response = retrieval_pb2.RecommendResponse(
        model_version=answer.model_version,
        index_version=answer.index_version,
        source=answer.source.value,
        degraded=answer.degraded,
    )
    for rank, found in enumerate(answer.items, start=1):
        response.items.add(item_id=found.item_id, score=found.score or 0.0, rank=rank, title=found.title)
    return response


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: RequestError) -> NoReturn:
    code, message, trailers = to_status(error)
    await context.abort(code, message, trailers)
    raise AssertionError("abort returned")
