"""Who calls, and whether they may: before anything of a request is read, and once it was.

What a token may never do is refused when the call arrives: no body is read, and no thread that answers others is taken.
The caller of what is let in is known to all that answers it.
"""

from __future__ import annotations

import concurrent.futures
import functools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

import grpc

from rowbank import tracing
from rowbank.errors import REQUEST_ID_KEY, PermissionDenied, RequestError, Unauthenticated, to_status
from rowbank_server.ps.services.wrapping import Behavior, Interceptor, wrapped
from rowbank_server.security.caller import Caller, as_caller, require_model, require_tables
from rowbank_server.security.gate import Gate, require_role
from rowbank_server.security.opening import Security
from rowbank_server.security.policy import METHODS
from rowbank_server.security.rules import Rule
from rowbank_server.security.token_book import LOOK_S

_OURS = "/rowbank."
_REFUSERS = 2
_Continuation = Callable[[grpc.HandlerCallDetails], "grpc.RpcMethodHandler[Any, Any] | None"]


class Arrival(Interceptor):
    """The outermost interceptor: refuses callers without a valid token, whatever they call."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._refusers = concurrent.futures.ThreadPoolExecutor(_REFUSERS, thread_name_prefix="grpc-refuse")

    def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = str(handler_call_details.method)
        rule = METHODS.get(method)
        if rule is not None and rule.role is None:
            return continuation(handler_call_details)
        metadata = handler_call_details.invocation_metadata or ()
        caller = None
        try:
            caller = self._gate.admit(_shown(metadata))
            if rule is not None:
                require_role(caller, rule, method.rpartition("/")[2])
        except RequestError as error:
            with tracing.working_on(tracing.arrived(metadata)):
                return self._refusal(caller, error, method, tracing.request_id())  # type: ignore[no-any-return]
        return continuation(handler_call_details)

    def _refusal(self, caller: Caller | None, error: RequestError, method: str, request_id: str) -> Any:
        """A handler that reads nothing."""
        gate = self._gate

        def refuse(requests: Iterator[Any], context: grpc.ServicerContext) -> NoReturn:
            with tracing.working_on(tracing.Request(request_id)):
                gate.refused(caller, error, context.peer(), method)
            code, message, trailers = to_status(error)
            context.set_trailing_metadata((*trailers, (REQUEST_ID_KEY, request_id)))
            context.abort(code, message)

        refuse.experimental_thread_pool = self._refusers  # type: ignore[attr-defined]
        return grpc.stream_stream_rpc_method_handler(refuse)


class Auth(Interceptor):
    """Inside of what turns errors into statuses: whose request it is, and whether its scope has what it asks for."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler: Any = continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or not method.startswith(_OURS):
            return handler  # type: ignore[no-any-return]
        rule = METHODS.get(method)
        if rule is None:
            raise LookupError(f"{method} has no policy")  # A test finds it first; whoever calls it gets UNKNOWN.
        each = handler.request_streaming
        wrap = functools.partial(self._unary, method=method, rule=rule, each=each)
        stream = functools.partial(self._streaming, method=method, rule=rule)
        return wrapped(handler, unary=wrap, streaming=stream)  # type: ignore[no-any-return]

    def _unary(self, behavior: Behavior, method: str, rule: Rule, *, each: bool) -> Behavior:
        gate, what, audited = self._gate, method.rpartition("/")[2], rule.is_audited

        @functools.wraps(behavior)  # With gRPC's attributes: which threads run it.
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            caller = gate.admit(_shown(context.invocation_metadata()))
            about: dict[str, list[str]] = {}
            try:
                require_role(caller, rule, what)
                with as_caller(caller):
                    if each:
                        request = _checked(request, rule, about, audited=audited)
                    elif caller.is_scoped or rule.check is not None or audited:
                        _check(request, rule, about, audited=audited)
                    response = behavior(request, context)
                if rule.narrow is not None and caller.is_scoped:
                    rule.narrow(response, caller)
            except RequestError as error:
                if isinstance(error, PermissionDenied | Unauthenticated):
                    gate.refused(caller, error, context.peer(), method)
                elif audited:
                    gate.audit.note(caller, context.peer(), method, about, error.reason)
                raise
            if audited:
                gate.audit.note(caller, context.peer(), method, about, "ok")
            return response

        return answer

    def _streaming(self, behavior: Behavior, method: str, rule: Rule) -> Behavior:
        gate, what = self._gate, method.rpartition("/")[2]

        @functools.wraps(behavior)
        def answer(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            shown = _shown(context.invocation_metadata())
            caller, look_at_s = gate.admit(shown), time.monotonic() + LOOK_S
            try:
                require_role(caller, rule, what)
                with as_caller(caller):
                    _check(request, rule, {}, audited=False)
                    answers = iter(behavior(request, context))
                while True:
                    if time.monotonic() >= look_at_s:  # A stream ends with its token, however long it lasts.
                        gate.admit(shown)
                        look_at_s = time.monotonic() + LOOK_S
                    with as_caller(caller):  # Not around the yield: between answers the thread is another one's.
                        response = next(answers, _END)
                    if response is _END:
                        return
                    yield response
            except (PermissionDenied, Unauthenticated) as error:
                gate.refused(caller, error, context.peer(), method)
                raise

        return answer


class Interceptors:
    """Those of a process, which has none where no tokens are asked for."""

    def __init__(self, parts: Security) -> None:
        self.parts = parts

    def outermost(self) -> list[Interceptor]:
        """What comes first of all."""
        return [] if self.parts.gate is None else [Arrival(self.parts.gate)]

    def inner(self) -> list[Interceptor]:
        """What comes within the one that answers errors."""
        return [] if self.parts.gate is None else [Auth(self.parts.gate)]


_END = object()


def _shown(metadata: Any) -> list[str | bytes]:
    return [value for key, value in metadata if key == "authorization"]


def _check(request: Any, rule: Rule, about: dict[str, list[str]], *, audited: bool) -> None:
    """Refuses what is not in the caller's scope, and notes what the request is about. Raises PermissionDenied."""
    for kind, names, require in (("tables", rule.tables, require_tables), ("models", rule.models, _require_models)):
        if names is not None:
            asked = list(names(request))
            if audited:
                about[kind] = asked
            require(asked)
    if rule.check is not None:
        rule.check(request)


def _require_models(names: Iterable[str]) -> None:
    for name in names:
        require_model(name)


def _checked(requests: Iterator[Any], rule: Rule, about: dict[str, list[str]], *, audited: bool) -> Iterator[Any]:
    """The first message of a stream says what all of it is about."""
    for number, request in enumerate(requests):
        if number == 0:
            _check(request, rule, about, audited=audited)
        yield request
