"""RetrievalService over gRPC: the operations of HTTP, for messages."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import grpc.aio

from rowbank.errors import InternalError, RequestError, to_status
from rowbank_protos.v1 import retrieval_pb2, retrieval_pb2_grpc
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.grpc import answers, bodies
from rowbank_server.retrieval.api.operations import Operations
from rowbank_server.retrieval.api.service import Caller

_log = logging.getLogger("rowbank.api")

T = TypeVar("T")
Context = grpc.aio.ServicerContext


class RetrievalServicer(retrieval_pb2_grpc.RetrievalServiceServicer):
    """Runs on the event loop of the HTTP server and shares its batches."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def Recommend(  # noqa: N802
        self, request: retrieval_pb2.RecommendRequest, context: Context[Any, Any]
    ) -> retrieval_pb2.RecommendResponse:
        async def call(caller: Caller) -> retrieval_pb2.RecommendResponse:
            body = schemas.validated(schemas.RecommendBody, bodies.recommend(request))
            return answers.recommendations(await self._operations.querying.recommend(body, caller))

        return await _answered(call, context)

    async def SimilarItems(  # noqa: N802
        self, request: retrieval_pb2.SimilarItemsRequest, context: Context[Any, Any]
    ) -> retrieval_pb2.RecommendResponse:
        async def call(caller: Caller) -> retrieval_pb2.RecommendResponse:
            body = schemas.validated(schemas.SimilarBody, bodies.similar(request))
            return answers.recommendations(await self._operations.querying.similar(body, caller))

        return await _answered(call, context)


async def _answered(call: Callable[[Caller], Awaitable[T]], context: Context[Any, Any]) -> T:
    """What a call answers; what it raises becomes a status."""
    try:
        return await call(Caller())
    except RequestError as error:
        await _abort(context, error)
    except Exception as error:
        _log.error("a gRPC call failed for a reason that is a defect", exc_info=error)
        await _abort(context, InternalError(f"the call failed ({type(error).__name__}); the log has the details"))


async def _abort(context: Context[Any, Any], error: RequestError) -> NoReturn:
    code, message, trailers = to_status(error)
    await context.abort(code, message, trailers)
    raise AssertionError("abort returned")
