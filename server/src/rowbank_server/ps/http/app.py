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

from rowbank.errors import RequestError, Unauthenticated
from rowbank_server.security.gate import Gate, require_role
from rowbank_server.security.policy import PS_ROUTES
from rowbank_server.security.rules import Rule
from rowbank_server.ui import data, files
from rowbank_server.ui.data import Source
from rowbank_server.web.answers import HEADERS, of_error, on_http_exception, problem, to_json

_log = logging.getLogger("rowbank.http")


@dataclass(frozen=True, slots=True)
class Served:
    """What the application shows.

    Attributes:
        metrics: the registry that a scrape gets.
        not_ready: why this process answers no requests of clients now; empty: it does.
        describe: what this process is, for probes: role, state, shard and the like.
        source: what the page is told.
        gate: asks callers for a token; None: anybody may see all of it.
    """

    metrics: CollectorRegistry
    not_ready: Callable[[], str]
    describe: Callable[[], dict[str, Any]]
    source: Source
    gate: Gate | None = None


Answer = Callable[[Served, Request], Response]


def _metrics(served: Served, request: Request) -> Response:
    encode, kind = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(served.metrics), headers={**HEADERS, "content-type": kind})


def _healthz(served: Served, request: Request) -> Response:
    return to_json({"status": "alive"})


def _readyz(served: Served, request: Request) -> Response:
    """Whether clients are answered; with `?standby=ok` also whether a standby has everything and could take over."""
    why, me = served.not_ready(), served.describe()
    if why and request.query_params.get("standby") == "ok" and (me["role"], me["state"]) == ("standby", "following"):
        return to_json({"status": "standing by", **me})
    said = {"status": "not ready" if why else "ready", **({"problem": why} if why else {}), **me}
    return to_json(said, 503 if why else 200)


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


def _refused(gate: Gate, rule: Rule, request: Request) -> Response | None:
    """What is answered to who may not see this; None: they may."""
    what = f"GET {request.scope['route'].path}" if "route" in request.scope else "GET"
    caller = None
    try:
        caller = gate.admit(request.headers.getlist("authorization"))
        require_role(caller, rule, what)
    except RequestError as error:
        client = request.client
        gate.refused(caller, error, f"{client.host}:{client.port}" if client is not None else "", what)
        response = of_error(error)
        if isinstance(error, Unauthenticated):
            response.headers["www-authenticate"] = 'Bearer realm="rowbank"'
        return response
    return None


# Path -> what answers a GET of it.
ROUTES: dict[str, Answer] = {
    "/healthz": _healthz,
    "/metrics": _metrics,
    "/readyz": _readyz,
    "/ui": _page,
    "/ui/{file}": _page_file,
    "/ui/data/{what}": _page_data,
}


def create_app(served: Served) -> Starlette:
    """The application; it owns nothing. Raises LookupError: a route has no rule of who may see it."""
    routes = [
        Route(path, functools.partial(_answer, answer, PS_ROUTES[f"GET {path}"], served), methods=["GET"])
        for path, answer in ROUTES.items()
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: on_http_exception})
    app.router.redirect_slashes = False
    return app


async def _answer(answer: Answer, rule: Rule, served: Served, request: Request) -> Response:
    """In a thread of its own: what is shown may wait for locks that requests of clients hold."""
    if served.gate is not None and rule.role is not None:
        refusal = _refused(served.gate, rule, request)
        if refusal is not None:
            return refusal
    try:
        return await run_in_threadpool(answer, served, request)
    except Exception as error:
        _log.exception("GET %s failed for a reason that is a defect", request.url.path)
        return problem(500, "internal", f"this failed on the server ({type(error).__name__}); its log has the details")
