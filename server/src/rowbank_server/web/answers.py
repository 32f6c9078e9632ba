"""Answers of ports for operators: JSON, and RFC 9457 problem details for what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
_TITLES = {
    400: "Malformed request",
    401: "Unauthenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    422: "Invalid request",
    500: "Internal error",
    503: "Not available",
}


def to_json(value: Any, status: int = 200) -> Response:
    """`value` as JSON."""
    return Response(msgspec.json.encode(value), status, {**HEADERS, "content-type": "application/json"})


def problem(status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """What went wrong, in words for whoever asked."""
    said = {
        "type": f"urn:rowbank:problem:{kind}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
    }
    return Response(
        msgspec.json.encode(said),
        status,
        {**HEADERS, **(headers or {}), "content-type": "application/problem+json"},
    )


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Unknown paths and wrong methods."""
    assert isinstance(error, HTTPException)
    kind = {404: "no-such-path", 405: "method-not-allowed"}.get(error.status_code, "http")
    allowed = (error.headers or {}).get("Allow", "")
    wrong = {404: "there is no such path", 405: f"this path takes {allowed}"}.get(error.status_code, error.detail)
    return problem(error.status_code, kind, f"{request.method} {request.url.path[:200]}: {wrong}", error.headers)
