"""The short way to handlers of paths without parameters: a look into a table.

Starlette's way leads through layers that catch what a handler raises, and tries one route after the other. Our handlers
raise nothing (see `app`), and a query takes that way as often as anything is asked.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send


class Direct:
    """An ASGI application around another one: what it does not know goes there, such as wrong paths and methods.

    It leads past whatever was put around a route, so it is not for an application whose routes are guarded.

    Args:
        app: of routes whose handlers return a response whatever happens.
    """

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self._handlers = {
            (method, route.path): route.endpoint
            for route in app.routes
            if isinstance(route, Route) and not route.param_convertors
            for method in sorted(route.methods or ())
            if method != "HEAD"  # Starlette adds it to GET.
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._handlers.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if handler is None:
            await self._app(scope, receive, send)
            return
        response = await handler(Request(scope, receive, send))
        await response(scope, receive, send)
