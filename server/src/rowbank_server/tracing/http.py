"""Gives each HTTP request its ids, and its span where spans are recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from rowbank import tracing
from rowbank.errors import REQUEST_ID_KEY
from rowbank.tracing import Request
from rowbank_server.tracing.serving import served

_ID_HEADER = REQUEST_ID_KEY.encode()
_API = "/v1/"  # Probes, metrics and pages are asked for all the time, and are of no interest.

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Traced:
    """An ASGI application around another one: the outermost, so that whatever is answered has an id."""

    def __init__(self, app: Any) -> None:
        self._app: App = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        recorded = scope["path"].startswith(_API) and tracing.is_set_up()
        if not recorded:
            mine = tracing.arrived(scope["headers"])
            with tracing.working_on(mine):
                await self._app(scope, receive, _with_id(send, mine))
            return
        method = str(scope["method"])
        attributes = {"http.request.method": method, "url.scheme": scope.get("scheme", "http")}
        with served(scope["headers"], method, attributes) as (mine, span):

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.note({"http.response.status_code": status})
                    if status >= 400:
                        span.fail(str(status), fault=status >= 500)
                await identified(message)

            identified = _with_id(send, mine)
            await self._app(scope, receive, answer)


def _with_id(send: Send, request: Request) -> Send:
    """Sends an answer with the id of its request."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (_ID_HEADER, request.id.encode())]
        await send(message)

    return answer
