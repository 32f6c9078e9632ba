"""The page at /demo: files of ours, served from memory, that ask this service and nobody else.

The content security policy holds the page to that: no script, style or request but its own, and none within the HTML.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from rowbank_server.retrieval.api.http.problems import ProblemError

_FOLDER = Path(__file__).parent / "page"
_INDEX = "index.html"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    kind: str
    tag: str


@functools.cache
def _files() -> dict[str, _File]:
    """All files of the page by their names."""
    found = {}
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            found[path.name] = _File(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return found


def page(request: Request) -> Response:
    """The page itself."""
    return file(request, _INDEX)


def file(request: Request, name: str) -> Response:
    """One of its files; 304 where the browser has it. Raises ProblemError: there is none of that name."""
    held = _files().get(name)
    if held is None:
        raise ProblemError(404, "no-such-path", f"the page at /demo has no file {name[:80]!r}")
    headers = {**_HEADERS, "etag": held.tag}
    if request.headers.get("if-none-match") == held.tag:
        return Response(status_code=304, headers=headers)
    return Response(held.content, headers=headers, media_type=held.kind)
