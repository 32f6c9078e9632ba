"""Puts the service on a gRPC server, so that bytes that are no message are refused like any other bad input.

Left to gRPC, what cannot be parsed ends with the status UNKNOWN and the name of an exception.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc.aio
from google.protobuf.message import DecodeError, Message

from rowbank import tracing
from rowbank.errors import REQUEST_ID_KEY, InvalidRequest, RequestError, to_status
from rowbank_protos.v1 import retrieval_pb2
from rowbank_server.security.caller import note_denied
from rowbank_server.tenancy import note_peer

_SERVICE = retrieval_pb2.DESCRIPTOR.services_by_name["RetrievalService"]

Context = grpc.aio.ServicerContext
Call = Callable[[Any, Context[Any, Any]], Awaitable[Message]]


def add_to_server(servicer: Any, server: grpc.aio.Server) -> str:
    """Registers every call of the service; returns its full name."""
    handlers = {
        method.name: grpc.unary_unary_rpc_method_handler(
            _reading(getattr(servicer, method.name), getattr(retrieval_pb2, method.input_type.name)),
            response_serializer=_written,
        )
        for method in _SERVICE.methods
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE.full_name, handlers),))
    return str(_SERVICE.full_name)


async def abort(context: Context[Any, Any], error: RequestError) -> NoReturn:
    """Ends a call with an error."""
    note_denied(error)
    code, message, trailers = to_status(error)
    span = tracing.current()
    span.note({"rpc.grpc.status_code": code.value[0]})
    span.refuse(error)
    await context.abort(code, message, (*trailers, (REQUEST_ID_KEY, tracing.request_id())))
    raise AssertionError("abort returned")


def _reading(call: Call, kind: type[Message]) -> Callable[[bytes, Context[Any, Any]], Awaitable[Message]]:
    async def read(data: bytes, context: Context[Any, Any]) -> Message:
        note_peer(context.peer())
        try:
            request = kind.FromString(data)
        except DecodeError:
            await abort(context, InvalidRequest(f"the request is no {kind.DESCRIPTOR.name}: its bytes cannot be read"))
        return await call(request, context)

    return read


def _written(message: Message) -> bytes:
    return message.SerializeToString()
