"""Errors over HTTP: RFC 9457 problem details."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import grpc
import msgspec
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from rowbank import tracing
from rowbank.closest import did_you_mean
from rowbank.errors import Overloaded, RequestError, RequestTooLarge
from rowbank_server.retrieval.api.schemas.validation import Fault, InvalidBody, MalformedJson
from rowbank_server.security.caller import note_denied

_log = logging.getLogger("rowbank.api")

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 1

_STATUS_OF_CODE = {
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.INVALID_ARGUMENT: 422,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_TITLES = {
    400: "Malformed request",
    401: "Unauthenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Body too slow",
    409: "Conflict",
    413: "Request too large",
    422: "Invalid request",
    429: "Too many requests",
    500: "Internal error",
    503: "Not available",
    504: "Deadline exceeded",
}


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong. `type` names the kind; it never changes for the same kind. The log has `request_id`."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] = []
    request_id: str = ""


class ProblemError(Exception):
    """Ends a request with a status and a text that says what was wrong and what to do."""

    def __init__(self, status: int, kind: str, detail: str, errors: list[Fault] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = errors or []
        self.retry_after_s = RETRY_AFTER_S


def respond(problem: ProblemError) -> Response:
    """The response of a problem."""
    body = ProblemDetails(
        type=f"urn:rowbank:problem:{problem.kind}",
        title=_TITLES.get(problem.status, "Error"),
        status=problem.status,
        detail=problem.detail,
        errors=problem.errors,
        request_id=tracing.request_id(),
    )
    headers = {"Retry-After": str(problem.retry_after_s)} if problem.status in (429, 503) else None
    return Response(msgspec.json.encode(body), problem.status, headers, CONTENT_TYPE)


def require_known(parameters: QueryParams, known: Sequence[str], explained: Sequence[str] = ()) -> None:
    """Refuses query parameters that an endpoint does not have, and those given twice.

    Args:
        explained: neither has it these, but leaves it to the handler to say why.
    Raises:
        ProblemError: 422.
    """
    for name in parameters:
        if name not in known and name not in explained:
            exist = f"known: {', '.join(known)}" if known else "there are none here"
            hint = did_you_mean(name, known)
            text = f"query parameter {name[:40]!r} is unknown{hint}{'' if hint else ';'} {exist}"
            raise ProblemError(422, "invalid-request", text, [Fault(name[:40], "is unknown")])
        if len(parameters.getlist(name)) > 1:
            raise ProblemError(422, "invalid-request", f"query parameter {name!r}: expected one, got several")


def from_error(error: RequestError) -> ProblemError:
    """One of our errors; its reason becomes the kind."""
    status = 413 if isinstance(error, RequestTooLarge) else _STATUS_OF_CODE.get(error.code, 500)
    if isinstance(error, MalformedJson):
        return ProblemError(400, "malformed-json", error.message)
    if isinstance(error, InvalidBody):
        return ProblemError(status, "invalid-request", error.message, error.faults)
    field = error.metadata.get("field")
    faults = [] if field is None else [Fault(field, error.message.removeprefix(f"{field}: "))]
    problem = ProblemError(status, error.reason.lower().replace("_", "-"), error.message, faults)
    if isinstance(error, Overloaded):
        problem.retry_after_s = math.ceil(float(error.metadata["retry_after_s"]))  # HTTP has whole seconds.
    return problem


def refusal(error: RequestError) -> Response:
    """The response of a request that is not let in."""
    return respond(from_error(error))


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Unknown paths and wrong methods."""
    assert isinstance(error, HTTPException)
    kind = {404: "no-such-path", 405: "method-not-allowed"}.get(error.status_code, "http")
    allowed = (error.headers or {}).get("Allow", "")
    wrong = {404: "there is no such path", 405: f"this path takes {allowed}"}.get(error.status_code, error.detail)
    detail = f"{request.method} {request.url.path}: {wrong}; /openapi.json lists what there is"
    response = respond(ProblemError(error.status_code, kind, detail))
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


def from_exception(error: Exception, what: str) -> ProblemError:
    """Whatever a handler raised; what was not expected is logged and not told."""
    if isinstance(error, ProblemError):
        return error
    note_denied(error)
    if isinstance(error, RequestError):
        if error.code is grpc.StatusCode.INTERNAL:
            _log.error("%s: %s", what, error.message, exc_info=error)
        return from_error(error)
    _log.error("%s failed for a reason that is a defect", what, exc_info=error)
    return ProblemError(
        500, "internal", f"{what} failed on the server ({type(error).__name__}); its log has the details"
    )


def to_json(value: Any) -> Response:
    """A 200 with `value` as JSON."""
    return _Json(msgspec.json.encode(value))


class _Json(Response):
    """Made without asking what else it could be."""

    def __init__(self, body: bytes) -> None:
        self.status_code = 200
        self.background = None
        self.body = body
        self.raw_headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
