"""What interceptors have in common: they put something around what answers a method, of whichever kind it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:  # Generic in the stubs alone.
    Interceptor = grpc.ServerInterceptor[Any, Any]
else:
    Interceptor = grpc.ServerInterceptor

Behavior = Callable[..., Any]


def add_trailers(context: Any, pairs: tuple[tuple[str, Any], ...]) -> None:
    """Adds to what goes with the end of an answer."""
    context.set_trailing_metadata((*(context.trailing_metadata() or ()), *pairs))


def wrapped(handler: Any, unary: Callable[[Behavior], Behavior], streaming: Callable[[Behavior], Behavior]) -> Any:
    """`handler` with its behavior put through `unary`, or through `streaming` where it yields answers."""
    if handler.response_streaming:
        kind, wrap = "stream_stream" if handler.request_streaming else "unary_stream", streaming
    else:
        kind, wrap = "stream_unary" if handler.request_streaming else "unary_unary", unary
    return handler._replace(**{kind: wrap(getattr(handler, kind))})
