"""Answers of ports for operators: JSON, and RFC 9457 problem details for what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from rowbank import tracing
from rowbank.errors import RequestError

HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
_TITLES = {
    400: "Malformed request",
    401: "Unauthenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    422: "Invalid request",
    429: "Too many requests",
    500: "Internal error",
    503: "Not available",
    504: "Deadline exceeded",
}


def to_json(value: Any, status: int = 200) -> Response:
    """`value` as JSON."""
    return Response(msgspec.json.encode(value), status, {**HEADERS, "content-type": "application/json"})


def to_page() -> Response:
    """From the root to the page for operators, also behind a proxy that serves both below a path of its own."""
    return Response(status_code=307, headers={**HEADERS, "location": "ui"})


def problem(status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """What went wrong, in words for whoever asked."""
    said = {
        "type": f"urn:rowbank:problem:{kind}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        **({"request_id": tracing.request_id()} if tracing.request_id() else {}),
    }
    return Response(
        msgspec.json.encode(said),
        status,
        {**HEADERS, **(headers or {}), "content-type": "application/problem+json"},
    )


_STATUS_OF_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: 422,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


def of_error(error: RequestError) -> Response:
    """One of our errors; its reason becomes the kind."""
    return problem(_STATUS_OF_CODE.get(error.code, 500), error.reason.lower().replace("_", "-"), error.message)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Unknown paths and wrong methods."""
    assert isinstance(error, HTTPException)
    kind = {404: "no-such-path", 405: "method-not-allowed"}.get(error.status_code, "http")
    allowed = (error.headers or {}).get("Allow", "")
    wrong = {404: "there is no such path", 405: f"this path takes {allowed}"}.get(error.status_code, error.detail)
    return problem(error.status_code, kind, f"{request.method} {request.url.path[:200]}: {wrong}", error.headers)
