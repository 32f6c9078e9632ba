"""Gives each request of a shard its ids, and its span where spans are recorded."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from rowbank import tracing
from rowbank.errors import REQUEST_ID_KEY
from rowbank_server.ps.services.wrapping import Behavior, Interceptor, add_trailers, wrapped
from rowbank_server.tracing import served

_log = logging.getLogger("rowbank.ps")

_OURS = "/rowbank."
_END = object()
# Goes on for hours: a span that is only seen once it ends is of no use.
_ENDLESS = frozenset({"/rowbank.v1.DeltaService/Follow"})


class Tracing(Interceptor):
    """The outermost interceptor, so that what the others log and refuse has the ids, too. Thread-safe."""

    def __init__(self) -> None:
        self._wrapped: dict[str, Any] = {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = str(handler_call_details.method)
        if not method.startswith(_OURS):
            return continuation(handler_call_details)
        handler: Any = self._wrapped.get(method)
        if handler is None:
            made: Any = continuation(handler_call_details)
            if made is None:
                return None
            unary = functools.partial(_unary, method=method)
            streaming = functools.partial(_streaming, method=method)
            handler = self._wrapped.setdefault(method, wrapped(made, unary=unary, streaming=streaming))
        if tracing.is_set_up():
            handler = _since(handler, time.time_ns())
        answering: grpc.RpcMethodHandler[Any, Any] = handler
        return answering


def _since(handler: Any, arrived_ns: int) -> Any:
    """`handler` for one call, which knows when that came; threads may be long in taking it up."""

    def bound(behavior: Behavior) -> Behavior:
        made: Any = functools.partial(behavior, arrived_ns=arrived_ns)
        if hasattr(behavior, "experimental_thread_pool"):
            made.experimental_thread_pool = behavior.experimental_thread_pool
        return made  # type: ignore[no-any-return]

    return wrapped(handler, unary=bound, streaming=bound)


def _attributes(method: str) -> dict[str, str]:
    service, _, name = method[1:].partition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}


def _unary(behavior: Behavior, method: str) -> Behavior:
    attributes, name = _attributes(method), method[1:]

    @functools.wraps(behavior)  # With gRPC's attributes: which threads run it.
    def answer(request: Any, context: grpc.ServicerContext, arrived_ns: int | None = None) -> Any:
        headers = context.invocation_metadata()
        if arrived_ns is None and not _log.isEnabledFor(logging.DEBUG):  # Nobody watches: the quickest way.
            mine = tracing.arrived(headers)
            if mine.given:
                add_trailers(context, ((REQUEST_ID_KEY, mine.given),))
            with tracing.working_on(mine):
                return behavior(request, context)
        with served(headers, name, attributes, arrived_ns=arrived_ns) as (mine, span):
            if mine.given:
                add_trailers(context, ((REQUEST_ID_KEY, mine.given),))
            _note_queue(span, arrived_ns)
            with _noted(span, context, name):
                return behavior(request, context)

    return answer


def _streaming(behavior: Behavior, method: str) -> Behavior:
    attributes, name, recorded = _attributes(method), method[1:], method not in _ENDLESS

    @functools.wraps(behavior)
    def answer(request: Any, context: grpc.ServicerContext, arrived_ns: int | None = None) -> Iterator[Any]:
        # A context of its own, which is entered for each answer: between two of them the thread is another one's.
        inside, open_ones = contextvars.copy_context(), contextlib.ExitStack()

        def begin() -> Iterator[Any]:
            headers = context.invocation_metadata()
            span_of = served(headers, name, attributes, recorded=recorded, arrived_ns=arrived_ns)
            mine, span = open_ones.enter_context(span_of)
            if mine.given:
                add_trailers(context, ((REQUEST_ID_KEY, mine.given),))
            open_ones.enter_context(_noted(span, context, name))
            return iter(behavior(request, context))

        try:
            answers = inside.run(begin)
            while (response := inside.run(next, answers, _END)) is not _END:
                yield response
        except BaseException:
            inside.run(open_ones.__exit__, *sys.exc_info())
            raise
        inside.run(open_ones.close)

    return answer


def _note_queue(span: tracing.Span, arrived_ns: int | None) -> None:
    if arrived_ns is not None and span.recording:
        tracing.past("queue", tracing.origin(), arrived_ns, time.time_ns())


@contextlib.contextmanager
def _noted(span: tracing.Span, context: Any, name: str) -> Iterator[None]:
    """Says how the request inside ended: in its span, and in the log for who looks closely."""
    started = time.perf_counter()
    try:
        yield
    finally:
        code = context.code() or grpc.StatusCode.OK
        _log.debug("%s: %s in %.3f ms", name, code.name, 1e3 * (time.perf_counter() - started))
        span.note({"rpc.grpc.status_code": code.value[0]})
        if code is not grpc.StatusCode.OK:
            span.fail(code.name, fault=code.name in tracing.FAULTS)
