"""Files of a page, served from memory by their names, which are no paths.

The content security policy holds a page to its own files: no script or style within the HTML, nobody else is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGE_HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "object-src 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class File:
    """One file, ready to be sent."""

    content: bytes
    kind: str
    tag: str

    @classmethod
    def of(cls, path: Path) -> File:
        """Reads a file; its type is that of its ending."""
        content = path.read_bytes()
        return cls(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def files_of(folder: Path) -> dict[str, File]:
    """All files of a page that a browser may have, by their names."""
    return {path.name: File.of(path) for path in sorted(folder.iterdir()) if path.suffix in _TYPES}


def answer(request: Request, files: Mapping[str, File], name: str, missing: Callable[[str], Response]) -> Response:
    """One of `files`; 304 where the browser has it, and what `missing` says where there is none of that name."""
    held = files.get(name)
    if held is None:
        return missing(name)
    headers = {**PAGE_HEADERS, "etag": held.tag}
    if request.headers.get("if-none-match") == held.tag:
        return Response(status_code=304, headers=headers)
    return Response(held.content, headers=headers, media_type=held.kind)
