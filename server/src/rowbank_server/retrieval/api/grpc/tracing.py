"""Gives each gRPC call of the retrieval service its ids, and its span where spans are recorded."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from rowbank.errors import REQUEST_ID_KEY
from rowbank_server.tracing import served

_log = logging.getLogger("rowbank.api")

if TYPE_CHECKING:  # Generic in the stubs alone.
    Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    Interceptor = grpc.aio.ServerInterceptor


class Tracing(Interceptor):
    """The outermost interceptor, so that what the others log and refuse has the ids, too."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or not method.startswith("/rowbank."):
            return handler
        behavior = handler.unary_unary  # The service has no streams.
        service, _, name = method[1:].partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}

        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            with served(context.invocation_metadata() or (), method[1:], attributes) as (mine, span):
                if mine.given:
                    context.set_trailing_metadata(((REQUEST_ID_KEY, mine.given),))
                started = time.perf_counter()
                response = await behavior(request, context)
                span.note({"rpc.grpc.status_code": 0})
                _log.debug("%s: OK in %.3f ms", method[1:], 1e3 * (time.perf_counter() - started))
                return response

        return grpc.unary_unary_rpc_method_handler(answer, handler.request_deserializer, handler.response_serializer)
