"""What requests say outside their bodies: in the path, the query and the headers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request

from rowbank_server.retrieval.api.http.paths import decoded
from rowbank_server.retrieval.api.http.problems import ProblemError
from rowbank_server.retrieval.api.service import Caller

TIMEOUT_HEADER = "x-request-timeout-ms"
MAX_TIMEOUT_MS = 600_000
_TIMEOUT = TIMEOUT_HEADER.encode()


def caller_of(request: Request) -> Caller:
    """How a request wants its answer. Raises ProblemError: 422."""
    asked = request.query_params.get("ids") if request.scope["query_string"] else None
    if asked not in (None, "string"):
        raise _wrong("query parameter 'ids'", "expected string", asked)
    deadline_s = None
    if (given := header(request, _TIMEOUT)) is not None:
        if not _is_integer(given) or not 1 <= int(given) <= MAX_TIMEOUT_MS:
            expected = f"expected an integer of milliseconds from 1 to {MAX_TIMEOUT_MS}"
            raise _wrong(f"header {TIMEOUT_HEADER}", expected, given)
        deadline_s = time.monotonic() + int(given) / 1e3
    return Caller(asked is not None, deadline_s, _gone(request))


def header(request: Request, name: bytes) -> str | None:
    """A header's first value; None: it is not there. `request.headers` takes longer to say so.

    Args:
        name: in lower case.
    """
    return next((value.decode("latin-1") for key, value in request.scope["headers"] if key == name), None)


def id_of(request: Request) -> str:
    """The id in the path, as its caller meant it. Raises InvalidRequest: it is not UTF-8."""
    return decoded(request.path_params["id"])


def reference(request: Request) -> dict[str, Any]:
    """The fields of an EntityRef."""
    return {"id": id_of(request), **named(request, "model"), **flag(request, "vector")}


def named(request: Request, *names: str) -> dict[str, Any]:
    """Query parameters that are texts, those that were given."""
    return {name: request.query_params[name] for name in names if name in request.query_params}


def integer(request: Request, name: str) -> dict[str, Any]:
    """A query parameter that is an integer, if it was given; what is none is left to who checks it."""
    text = request.query_params.get(name)
    return {} if text is None else {name: int(text) if _is_integer(text) else text}


def flag(request: Request, name: str) -> dict[str, Any]:
    """A query parameter that is true or false, if it was given."""
    text = request.query_params.get(name)
    return {} if text is None else {name: {"true": True, "false": False}.get(text, text)}


def popular(request: Request) -> dict[str, Any]:
    """The fields of a PopularBody. Raises ProblemError: 422."""
    if "exclude_seen" in request.query_params:
        raise ProblemError(
            422,
            "invalid-request",
            "exclude_seen: what is popular is the same for everybody; POST /v1/recommend with a user_id leaves out "
            "what that user has seen",
        )
    body = {**integer(request, "k"), **integer(request, "offset"), **flag(request, "explain")}
    body |= named(request, "window", "model", "version", "cursor")
    if "kind" in request.query_params:
        body["kinds"] = request.query_params["kind"].split(",")
    if "filter" in request.query_params:
        body["filter"] = {"named": request.query_params["filter"]}
    return body


def _is_integer(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 19


def _gone(request: Request) -> Callable[[], bool]:
    """Whether the connection was closed. uvicorn's receive is a method of what knows it; of other servers nothing is
    known until they are asked, which a query does not wait for."""
    cycle = getattr(request.receive, "__self__", None)
    return lambda: bool(getattr(cycle, "disconnected", False))


def _wrong(what: str, expected: str, got: str) -> ProblemError:
    return ProblemError(422, "invalid-request", f"{what}: {expected}, got {got[:40]!r}")
