"""Errors over HTTP: RFC 9457 problem details."""

from __future__ import annotations

import logging
from typing import Any

import grpc
import msgspec
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from rowbank.errors import RequestError, RequestTooLarge

_log = logging.getLogger("rowbank.api")

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 1

_STATUS_OF_CODE = {
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.INVALID_ARGUMENT: 422,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_TITLES = {
    400: "Malformed request",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Request too large",
    422: "Invalid request",
    500: "Internal error",
    503: "Not available",
    504: "Deadline exceeded",
}


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong with a request."""

    where: str
    message: str


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong. `type` names the kind; it never changes for the same kind."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] = []


class ProblemError(Exception):
    """Ends a request with a status and a text that says what was wrong and what to do."""

    def __init__(self, status: int, kind: str, detail: str, errors: list[Fault] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = errors or []


def respond(problem: ProblemError) -> Response:
    """The response of a problem."""
    body = ProblemDetails(
        type=f"urn:rowbank:problem:{problem.kind}",
        title=_TITLES.get(problem.status, "Error"),
        status=problem.status,
        detail=problem.detail,
        errors=problem.errors,
    )
    headers = {"Retry-After": str(RETRY_AFTER_S)} if problem.status == 503 else None
    return Response(msgspec.json.encode(body), problem.status, headers, CONTENT_TYPE)


def from_validation(error: ValidationError) -> ProblemError:
    """A body or query that does not fit: 400 where it is no JSON, else 422 with every fault."""
    faults = [
        Fault(".".join(str(step) for step in fault["loc"]) or "body", fault["msg"].removeprefix("Value error, "))
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    if any(fault["type"] == "json_invalid" for fault in error.errors(include_url=False, include_context=False)):
        return ProblemError(400, "malformed-json", f"the body is not JSON: {faults[0].message}")
    detail = "; ".join(f"{fault.where}: {fault.message}" for fault in faults)
    return ProblemError(422, "invalid-request", detail, faults)


def from_error(error: RequestError) -> ProblemError:
    """One of our errors; its reason becomes the kind."""
    status = 413 if isinstance(error, RequestTooLarge) else _STATUS_OF_CODE.get(error.code, 500)
    return ProblemError(status, error.reason.lower().replace("_", "-"), error.message)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Unknown paths and wrong methods."""
    assert isinstance(error, HTTPException)
    kind = {404: "no-such-path", 405: "method-not-allowed"}.get(error.status_code, "http")
    detail = f"{request.method} {request.url.path}: {error.detail}; /openapi.json lists what there is"
    response = respond(ProblemError(error.status_code, kind, detail))
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


def from_exception(error: Exception, what: str) -> ProblemError:
    """Whatever a handler raised; what was not expected is logged and not told."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, ValidationError):
        return from_validation(error)
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
    return Response(msgspec.json.encode(value), 200, media_type="application/json")
