"""Reads request messages where what goes wrong with that becomes an answer like any other.

gRPC's own reading leaves a call open whose message is none, where calls are taken in as streams; after as many of them
as a connection may have streams, nothing more comes over it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import grpc

from rowbank.errors import InvalidRequest
from rowbank_server.ps.services.wrapping import Behavior, Interceptor

Parse = Callable[[Any], Any]


def parsed(parse: Parse | None, data: Any) -> Any:
    """The message in `data`; without `parse` that itself. Raises InvalidRequest."""
    if parse is None:
        return data
    try:
        return parse(data)
    except Exception as error:
        raise InvalidRequest(f"the request is no message of its type: {error}") from None


class Parsing(Interceptor):
    """Gives handlers of unary methods the message in what they are handed as bytes."""

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler: Any = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None or handler.request_deserializer is None:
            return handler  # type: ignore[no-any-return]
        behavior: Behavior = handler.unary_unary
        parse: Parse = handler.request_deserializer

        @functools.wraps(behavior)
        def answer(data: bytes, context: grpc.ServicerContext) -> Any:
            return behavior(parsed(parse, data), context)

        return grpc.unary_unary_rpc_method_handler(answer, None, handler.response_serializer)
