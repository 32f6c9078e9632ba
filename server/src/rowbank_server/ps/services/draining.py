"""Knows how many requests are inside, and lets in no more once this process stops."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from rowbank.errors import NotReady
from rowbank_server.ps.services.wrapping import Interceptor, wrapped

# Answered to the end: they say where else to go.
_ALWAYS = frozenset({"/rowbank.v1.AdminService/GetServerInfo", "/rowbank.v1.DeltaService/ListFollowers"})
# Goes on until the server has stopped, so nobody waits for it.
_ENDLESS = frozenset({"/rowbank.v1.DeltaService/Follow"})


class Draining(Interceptor):
    """Refuses requests with NOT_READY once it is closed. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = ""

    def close(self, reason: str) -> None:
        """Lets nobody in any more; `reason` goes on where "this server" ends."""
        with self._changed:
            self._closed = reason

    def wait_empty(self, *, timeout_s: float) -> bool:
        """Waits until nobody is inside; False: somebody still is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._inside, timeout_s)

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler: Any = continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or method in _ALWAYS or method in _ENDLESS or not method.startswith("/rowbank."):
            return handler  # type: ignore[no-any-return]
        return wrapped(handler, unary=self._unary, streaming=self._streaming)  # type: ignore[no-any-return]

    def _unary(self, behavior: Callable[[Any, grpc.ServicerContext], Any]) -> Callable[..., Any]:
        @functools.wraps(behavior)  # With gRPC's attributes: which threads run it.
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            self._enter()
            try:
                return behavior(request, context)
            finally:
                self._leave()

        return answer

    def _streaming(self, behavior: Callable[[Any, grpc.ServicerContext], Any]) -> Callable[..., Iterator[Any]]:
        @functools.wraps(behavior)
        def answer(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            self._enter()
            try:
                yield from behavior(request, context)
            finally:
                self._leave()

        return answer

    def _enter(self) -> None:
        with self._changed:
            if self._closed:
                raise NotReady(
                    f"this server {self._closed}; ask another one of the shard",
                    metadata={"role": "standby", "owner": ""},
                )
            self._inside += 1

    def _leave(self) -> None:
        with self._changed:
            self._inside -= 1
            if not self._inside:
                self._changed.notify_all()
