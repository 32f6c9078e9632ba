"""The page at /demo: files of ours, served from memory, that ask this service and nobody else."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NoReturn

from starlette.requests import Request
from starlette.responses import Response

from rowbank_server.retrieval.api.http.problems import ProblemError
from rowbank_server.web.files import File, answer, files_of

_FOLDER = Path(__file__).parent / "page"
_INDEX = "index.html"


@functools.cache
def _files() -> dict[str, File]:
    """All files of the page by their names."""
    return files_of(_FOLDER)


def page(request: Request) -> Response:
    """The page itself."""
    return file(request, _INDEX)


def file(request: Request, name: str) -> Response:
    """One of its files; 304 where the browser has it. Raises ProblemError: there is none of that name."""
    return answer(request, _files(), name, _missing)


def _missing(name: str) -> NoReturn:
    raise ProblemError(404, "no-such-path", f"the page at /demo has no file {name[:80]!r}")
