"""The page's files: ours, and the chart library of the package uplot-python, where that is installed."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from rowbank_server.web.answers import problem
from rowbank_server.web.files import File, answer, files_of

INDEX = "index.html"
_FOLDER = Path(__file__).parent / "page"
_LIBRARY = {"uplot.js": "uPlot.iife.js", "uplot.css": "uPlot.min.css"}


def serve(request: Request, name: str) -> Response:
    """One of the page's files, which hold no data and are for everybody."""
    return answer(request, _files(), name, _missing)


def has_charts() -> bool:
    """Whether the chart library is installed."""
    return _LIBRARY.keys() <= _files().keys()


@functools.cache
def _files() -> dict[str, File]:
    return {**files_of(_FOLDER), **_library()}


def _library() -> dict[str, File]:
    """Found without an import: the package's Python part would bring a notebook's machinery with it."""
    found = importlib.util.find_spec("uplot")
    for folder in found.submodule_search_locations or () if found is not None else ():
        static = Path(folder) / "static"
        if all((static / file).is_file() for file in _LIBRARY.values()):
            return {name: File.of(static / file) for name, file in _LIBRARY.items()}
    return {}


def _missing(name: str) -> Response:
    if name in _LIBRARY:
        detail = 'charts need the package uplot-python: pip install "rowbank-server[ui]"; until then there are tables'
        return problem(404, "no-charts", detail)
    return problem(404, "no-such-path", f"the page at /ui has no file {name[:80]!r}")
