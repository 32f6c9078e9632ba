"""Counts what callers have in flight, and refuses what is beyond their limits before anything is done."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.message import Message

from rowbank_server.ps.limits.in_flight import InFlight
from rowbank_server.ps.services.wrapping import Interceptor, wrapped
from rowbank_server.tenancy import tenant_of

# They say what is wrong, or how things are, and cost nothing; or they last, and have a limit of their own.
_ALWAYS = frozenset(
    {
        "/rowbank.v1.AdminService/GetServerInfo",
        "/rowbank.v1.DeltaService/Follow",
        "/rowbank.v1.DeltaService/ListFollowers",
    }
)


class Limits(Interceptor):
    """Puts every call of ours among what its caller has in flight."""

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler: Any = continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or method in _ALWAYS or not method.startswith("/rowbank."):
            return handler  # type: ignore[no-any-return]
        return wrapped(handler, unary=self._unary, streaming=self._streaming)  # type: ignore[no-any-return]

    def _unary(self, behavior: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(behavior)  # With gRPC's attributes: which threads run it.
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            with self._in_flight.caller(tenant_of(context.peer()), _size_of(request)):
                return behavior(request, context)

        return answer

    def _streaming(self, behavior: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
        @functools.wraps(behavior)
        def answer(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with self._in_flight.caller(tenant_of(context.peer()), _size_of(request)):
                yield from behavior(request, context)

        return answer


def _size_of(request: Any) -> int:
    """Bytes of a request; of a stream of them, those of its messages are counted as they come."""
    if isinstance(request, bytes):
        return len(request)
    return request.ByteSize() if isinstance(request, Message) else 0
