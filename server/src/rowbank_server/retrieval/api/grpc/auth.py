"""Who calls the retrieval service over gRPC, and whether the method is for them.

Models are checked where they are named.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc
import grpc.aio

from rowbank import tracing
from rowbank.errors import REQUEST_ID_KEY, RequestError, to_status
from rowbank_server.retrieval.api.grpc.tracing import Interceptor
from rowbank_server.security.caller import Caller, as_caller, noting
from rowbank_server.security.gate import Gate, require_role
from rowbank_server.security.policy import METHODS
from rowbank_server.security.rules import Rule


class Auth(Interceptor):
    """The outermost interceptor: refuses callers without a valid token before a body is read, whatever they call."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        method = str(handler_call_details.method)
        rule = METHODS.get(method)
        if rule is not None and rule.role is None:
            return await continuation(handler_call_details)
        metadata = handler_call_details.invocation_metadata or ()
        caller = None
        try:
            caller = self._gate.admit([value for key, value in metadata if key == "authorization"])
            if rule is not None:
                require_role(caller, rule, method.rpartition("/")[2])
        except RequestError as error:
            with tracing.working_on(tracing.arrived(metadata)):
                return self._refusal(caller, error, method, tracing.request_id())
        handler = await continuation(handler_call_details)
        if handler is None or rule is None or handler.unary_unary is None:
            return handler
        return self._known(handler, caller, method, rule)

    def _known(self, handler: Any, caller: Caller, method: str, rule: Rule) -> Any:
        """`handler`, which knows who calls."""
        behavior, gate = handler.unary_unary, self._gate

        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            outcome = "error"
            with as_caller(caller), noting() as noted:
                try:
                    response = await behavior(request, context)
                    outcome = "ok"
                    return response
                finally:
                    if noted.denied is not None:
                        gate.refused(caller, noted.denied, context.peer(), method)
                    elif rule.is_audited:
                        gate.audit.note(caller, context.peer(), method, {"models": sorted(noted.models)}, outcome)

        return grpc.unary_unary_rpc_method_handler(answer, handler.request_deserializer, handler.response_serializer)

    def _refusal(self, caller: Caller | None, error: RequestError, method: str, request_id: str) -> Any:
        """A handler that reads nothing."""
        gate = self._gate

        async def refuse(requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
            with tracing.working_on(tracing.Request(request_id)):
                gate.refused(caller, error, context.peer(), method)
            code, message, trailers = to_status(error)
            await context.abort(code, message, (*trailers, (REQUEST_ID_KEY, request_id)))
            raise AssertionError("abort returned")

        return grpc.stream_stream_rpc_method_handler(refuse)
