"""The HTTP application of a shard. Every route stands in `ROUTES`, so that nothing is served that is not listed."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rowbank.errors import RequestError
from rowbank_server.security.caller import NOBODY, current
from rowbank_server.ui import data, files
from rowbank_server.ui.data import Source
from rowbank_server.web.answers import HEADERS, of_error, on_http_exception, problem, to_json, to_page

_log = logging.getLogger("rowbank.http")


@dataclass(frozen=True, slots=True)
class Served:
    """What the application shows.

    Attributes:
        metrics: the registry that a scrape gets.
        not_ready: why this process answers no requests of clients now; empty: it does.
        describe: what this process is, for probes: role, state, shard and the like.
        source: what the page is told.
    """

    metrics: CollectorRegistry
    not_ready: Callable[[], str]
    describe: Callable[[], dict[str, Any]]
    source: Source


Answer = Callable[[Served, Request], Response]


def _metrics(served: Served, request: Request) -> Response:
    encode, kind = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(served.metrics), headers={**HEADERS, "content-type": kind})


def _healthz(served: Served, request: Request) -> Response:
    return to_json({"status": "alive"})


def _readyz(served: Served, request: Request) -> Response:
    """Whether clients are answered; with `?standby=ok` also whether a standby has everything and could take over.

    Who shows no token where tokens are asked for is told that, and no more.
    """
    why, me = served.not_ready(), served.describe()
    stands_by = (me["role"], me["state"]) == ("standby", "following")
    if why and stands_by and request.query_params.get("standby") == "ok":
        said, status = {"status": "standing by"}, 200
    else:
        said, status = ({"status": "not ready", "problem": why}, 503) if why else ({"status": "ready"}, 200)
    return to_json({"status": said["status"]} if current() is NOBODY else {**said, **me}, status)


def _home(served: Served, request: Request) -> Response:
    return to_page()


def _page(served: Served, request: Request) -> Response:
    return files.serve(request, files.INDEX)


def _page_file(served: Served, request: Request) -> Response:
    return files.serve(request, request.path_params["file"])


def _page_data(served: Served, request: Request) -> Response:
    what = request.path_params["what"]
    try:
        told = data.answer(served.source, what, request.query_params)
    except RequestError as error:
        return of_error(error)
    if told is None:
        return problem(404, "no-such-path", f"the page at /ui has no data {what[:80]!r}")
    return to_json(told)


# Path -> what answers a GET of it.
ROUTES: dict[str, Answer] = {
    "/": _home,
    "/healthz": _healthz,
    "/metrics": _metrics,
    "/readyz": _readyz,
    "/ui": _page,
    "/ui/{file}": _page_file,
    "/ui/data/{what}": _page_data,
}


def create_app(served: Served) -> Starlette:
    """The application; it owns nothing."""
    routes = [
        Route(path, functools.partial(_answer, answer, served), methods=["GET"]) for path, answer in ROUTES.items()
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: on_http_exception})
    app.router.redirect_slashes = False
    return app


async def _answer(answer: Answer, served: Served, request: Request) -> Response:
    """In a thread of its own: what is shown may wait for locks that requests of clients hold."""
    try:
        return await run_in_threadpool(answer, served, request)
    except Exception as error:
        _log.exception("GET %s failed for a reason that is a defect", request.url.path)
        return problem(500, "internal", f"this failed on the server ({type(error).__name__}); its log has the details")
