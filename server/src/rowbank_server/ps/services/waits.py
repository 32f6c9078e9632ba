"""How long requests wait for Redis: within their caller's deadline, with the reason said before it passes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import grpc

from rowbank_server.guard import Guard
from rowbank_server.ps.services.wrapping import Interceptor, wrapped

READ_WAIT_S = 1.5  # For an answer of a few kilobytes.
_REASON_S = 0.25  # What is left to the caller's deadline when it is told why there is no answer.
# Methods that cannot be answered without Redis, and the longest they wait for it; None: as long as their caller does.
WAITS: dict[str, float | None] = {
    "/rowbank.v1.AdminService/ListEvictions": READ_WAIT_S,
    "/rowbank.v1.FeatureService/DropView": None,
    "/rowbank.v1.FeatureService/ListViews": READ_WAIT_S,
    "/rowbank.v1.FeatureService/PutView": READ_WAIT_S,
    "/rowbank.v1.FeatureService/ReadFeatures": READ_WAIT_S,
    "/rowbank.v1.FeatureService/WriteColumns": None,
    "/rowbank.v1.FeatureService/WriteFeatures": None,
    "/rowbank.v1.ModelService/GetModel": READ_WAIT_S,
    "/rowbank.v1.ModelService/ListModels": READ_WAIT_S,
    "/rowbank.v1.ModelService/PublishModel": None,
    "/rowbank.v1.ModelService/ActivateModel": None,
    "/rowbank.v1.ModelService/PruneModels": None,
    "/rowbank.v1.TableService/CreateTable": None,
    "/rowbank.v1.TableService/DropTable": None,
    "/rowbank.v1.TableService/HoldTables": None,
    "/rowbank.v1.TableService/ListHolders": READ_WAIT_S,
    "/rowbank.v1.TableService/ReleaseTables": None,
    "/rowbank.v1.TableService/UpdateTable": None,
    "/rowbank.v1.TokenService/CreateToken": None,
    "/rowbank.v1.TokenService/ListTokens": READ_WAIT_S,
    "/rowbank.v1.TokenService/RevokeToken": None,
}


class RedisWaits(Interceptor):
    """Runs methods that need Redis behind a guard, so that one that stands still keeps neither callers nor threads."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler: Any = continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or method not in WAITS:
            return handler  # type: ignore[no-any-return]
        guarded = functools.partial(self._guarded, limit_s=WAITS[method])
        # None of them yields answers.
        return wrapped(handler, unary=guarded, streaming=guarded)  # type: ignore[no-any-return]

    def _guarded(
        self, behavior: Callable[[Any, grpc.ServicerContext], Any], limit_s: float | None
    ) -> Callable[..., Any]:
        @functools.wraps(behavior)
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            within_s = wait_s(context.time_remaining(), limit_s)
            return self._guard.call(lambda: behavior(request, context), within_s=within_s)

        return answer


def wait_s(remaining_s: float | None, limit_s: float | None) -> float | None:
    """How long to wait for a caller whose deadline is that far away; None: as long as it takes."""
    bounds = [] if limit_s is None else [limit_s]
    if remaining_s is not None and remaining_s < 1e9:
        bounds.append(max(remaining_s - _REASON_S, remaining_s * 0.8))
    return min(bounds, default=None)
