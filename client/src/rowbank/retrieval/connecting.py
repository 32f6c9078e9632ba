"""Which service a client asks, and for how long; the same for both clients."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from rowbank import addresses, variables
from rowbank._checks import seconds
from rowbank.calls import connect
from rowbank.errors import RequestError
from rowbank.retrieval.attempts import Call

DEFAULT_TARGET = f"127.0.0.1:{addresses.API_GRPC_PORT}"
DEFAULT_TIMEOUT_S = 10.0
CLOSED = "the client is closed; make a new one"


def parse_targets(targets: str | Sequence[str] | None) -> list[str]:
    """Addresses in full from an argument, else from ROWBANK_RETRIEVAL, else the default one.

    Raises:
        InvalidRequest: none, an empty one, one twice, or one that is no address.
    """
    return connect.parse_targets(targets, variable=variables.RETRIEVAL, default=DEFAULT_TARGET, alternatives=False)


def timeout_of(call: Call[Any], default_s: float) -> float:
    """The deadline of each request of a call, in seconds."""
    return default_s if call.timeout_s is None else seconds("timeout_s", call.timeout_s)


def after(error: RequestError, done: int) -> RequestError:
    """The error of a call of which so many requests were answered before."""
    if not done:
        return error
    text = f"{error.message}; {done} request{'s' if done > 1 else ''} of this call had been answered before"
    return error.worded(text, requests_answered=str(done))


def described_by(ask: Callable[..., Call[Any]], method: Any) -> Any:
    """Gives a client's method the name, documentation and signature of the function that it calls."""
    functools.update_wrapper(method, ask)
    del method.__wrapped__
    signature = inspect.signature(ask)
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY), *signature.parameters.values()]
    answer = str(signature.return_annotation).removeprefix("Call[").removesuffix("]")
    method.__signature__ = signature.replace(parameters=parameters, return_annotation=answer)
    return method
