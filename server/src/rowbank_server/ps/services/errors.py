"""Turns what handlers raise into gRPC statuses, in one place for all services."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from rowbank import tracing
from rowbank.errors import REQUEST_ID_KEY, InternalError, MemoryLimit, RequestError, to_status
from rowbank_server.ps.services.metrics import RequestMetrics
from rowbank_server.ps.services.wrapping import Interceptor, wrapped

_log = logging.getLogger("rowbank.ps")


class ErrorInterceptor(Interceptor):
    """Answers a RequestError with its code and details, and anything else with INTERNAL; counts and times requests.

    The trace of what was not expected goes to the log and never to the caller.
    """

    def __init__(self, metrics: RequestMetrics) -> None:
        self._metrics = metrics
        self._wrapped: dict[str, Any] = {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = str(handler_call_details.method)
        known: grpc.RpcMethodHandler[Any, Any] | None = self._wrapped.get(method)
        if known is not None:
            return known
        handler = continuation(handler_call_details)
        if handler is None or not method.startswith("/rowbank."):
            return handler
        return self._wrapped.setdefault(method, self._wrap(handler, method))  # type: ignore[no-any-return]

    def _wrap(self, handler: Any, method: str) -> Any:
        """A handler is the same for every call of its method, so it is wrapped once."""
        return wrapped(
            handler,
            unary=functools.partial(self._unary, method=method),
            streaming=functools.partial(self._streaming, method=method),
        )

    def _unary(self, behavior: Callable[[Any, grpc.ServicerContext], Any], method: str) -> Callable[..., Any]:
        observe = self._metrics.observer(method)

        @functools.wraps(behavior)  # With gRPC's attributes: which threads run it.
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            started = time.perf_counter()
            try:
                response = behavior(request, context)
            except Exception as error:
                observe(time.perf_counter() - started, _abort_code(error))
                _abort(context, error, method)
            observe(time.perf_counter() - started, "OK")
            return response

        return answer

    def _streaming(self, behavior: Callable[[Any, grpc.ServicerContext], Any], method: str) -> Callable[..., Any]:
        observe = self._metrics.observer(method)

        @functools.wraps(behavior)
        def answer(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            started = time.perf_counter()
            try:
                yield from behavior(request, context)
            except Exception as error:
                observe(time.perf_counter() - started, _abort_code(error))
                _abort(context, error, method)
            observe(time.perf_counter() - started, "OK")

        return answer


def _abort_code(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return MemoryLimit.code.name
    return error.code.name if isinstance(error, RequestError) else grpc.StatusCode.INTERNAL.name


def _abort(context: grpc.ServicerContext, error: Exception, method: str) -> None:
    """Ends the call; always raises."""
    if isinstance(error, MemoryError):
        _log.error("%s: no memory could be had", method, exc_info=error)
        error = MemoryLimit(f"{method}: the server could not get memory for this; remove rows, or give it more memory")
    if not isinstance(error, RequestError):
        _log.error("%s failed for a reason that is a defect", method, exc_info=error)
        error = InternalError(f"{method} failed on the server ({type(error).__name__}); its log has the details")
    tracing.current().refuse(error)
    code, message, trailers = to_status(error)
    context.set_trailing_metadata((*trailers, (REQUEST_ID_KEY, tracing.request_id())))
    context.abort(code, message)
