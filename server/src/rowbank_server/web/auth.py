"""Tokens over HTTP: who a request is from, and whether its route is for them.

Whoever shows no valid token is told so of every path but those that are for everybody, also of paths that do not exist,
and before a body is read. Rules belong to routes as the application itself matches them, so no way of writing a path
leads around them; a route without a rule is an error at the start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Match, Route

from rowbank.errors import PermissionDenied, RequestError, Unauthenticated
from rowbank_server.security.caller import NOBODY, Caller, as_caller, current, noting
from rowbank_server.security.gate import Gate, require_role
from rowbank_server.security.rules import Rule

_IN_URL = re.compile(r"rbk_[0-9a-f]{12}_|(?:^|[?&;])(?:access_token|token|authorization)=", re.IGNORECASE)
_REFUSAL = "rowbank.refusal"
_UNTOLD = (404, 405)
Message = MutableMapping[str, Any]


class Authorized:
    """An ASGI application around another one, whose routes it guards.

    Args:
        rules: by method and path of each route: `GET /metrics`.
        by_table: paths without parameters lead to their guarded routes by a look into a table, past what the
            application has around them; for those whose handlers return a response whatever happens.
        respond: the answer that an error becomes.
    Raises:
        LookupError: a route has no rule.
    """

    def __init__(
        self,
        app: Starlette,
        gate: Gate,
        rules: Mapping[str, Rule],
        respond: Callable[[RequestError], Response],
        *,
        by_table: bool = False,
    ) -> None:
        self._app = app
        self._gate = gate
        self._respond = respond
        for route in app.router.routes:
            self._guard(route, rules)
        self._table = _table(app) if by_table else {}

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            caller, scope[_REFUSAL] = self._admit(scope), None
        except RequestError as error:
            caller, scope[_REFUSAL] = NOBODY, error
        found = None if scope.get("root_path") else self._table.get((scope["method"], scope["path"]))
        app: Any = self._app if found is None else found.app
        with as_caller(caller):
            await app(scope, receive, self._sending(scope, receive, send) if scope[_REFUSAL] else send)

    def _admit(self, scope: Message) -> Caller:
        query = scope["query_string"].decode("latin-1")
        if _IN_URL.search(f"{scope['path']}?{unquote(query)}"):
            raise Unauthenticated(
                "a token in a URL is not read, and others may have logged it: revoke it, and show tokens in the header "
                "`authorization: Bearer TOKEN`",
                metadata={"cause": "in_url"},
            )
        return self._gate.admit([value for name, value in scope["headers"] if name == b"authorization"])

    def _sending(self, scope: Message, receive: Any, send: Any) -> Callable[[Message], Any]:
        """Instead of what is told of paths that do not exist, the refusal."""
        replaced = False

        async def sending(message: Message) -> None:
            nonlocal replaced
            refusal = scope[_REFUSAL]
            if message["type"] == "http.response.start" and refusal is not None and message["status"] in _UNTOLD:
                replaced = True
                await self._refuse(None, refusal, scope, receive, send, f"{scope['method']} (no such path)")
            elif not replaced:
                await send(message)

        return sending

    def _guard(self, route: Any, rules: Mapping[str, Rule]) -> None:
        if not isinstance(route, Route):
            raise LookupError(f"route {route!r}: only plain routes have policies")
        own: dict[str, tuple[str, Rule]] = {}
        for method in route.methods or ():
            what = f"{'GET' if method == 'HEAD' else method} {route.path}"
            if what not in rules:
                raise LookupError(f"{what} has no policy")
            own[method] = (what, rules[what])
        answer = route.app

        async def guarded(scope: Message, receive: Any, send: Any) -> None:
            what, rule = own[scope["method"]]
            if rule.role is None:
                scope[_REFUSAL] = None
                await answer(scope, receive, send)
            elif scope[_REFUSAL] is not None:
                await self._refuse(None, scope[_REFUSAL], scope, receive, send, what)
            else:
                await self._answer(answer, rule, what, scope, receive, send)

        route.app = guarded

    async def _answer(self, answer: Any, rule: Rule, what: str, scope: Message, receive: Any, send: Any) -> None:
        caller, status = current(), 500
        try:
            require_role(caller, rule, what)
        except PermissionDenied as error:
            await self._refuse(caller, error, scope, receive, send, what)
            return

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with noting() as noted:
            await answer(scope, receive, sending)
        if noted.denied is not None:
            self._gate.refused(caller, noted.denied, _peer(scope), what)
        elif rule.is_audited:
            outcome = "ok" if status < 400 else str(status)
            self._gate.audit.note(caller, _peer(scope), what, {"models": sorted(noted.models)}, outcome)

    async def _refuse(
        self, caller: Caller | None, error: RequestError, scope: Message, receive: Any, send: Any, what: str
    ) -> None:
        self._gate.refused(caller, error, _peer(scope), what)
        response = self._respond(error)
        if isinstance(error, Unauthenticated):
            how = "" if error.metadata.get("cause") == "missing" else ', error="invalid_token"'
            response.headers["WWW-Authenticate"] = f'Bearer realm="rowbank"{how}'
        await response(scope, receive, send)


def _table(app: Starlette) -> dict[tuple[str, str], Route]:
    """Routes without parameters, by method and path, as far as the application itself takes that path to them."""
    routes = [route for route in app.router.routes if isinstance(route, Route)]
    made: dict[tuple[str, str], Route] = {}
    for route in routes:
        for method in (route.methods or set()) - {"HEAD"}:  # Starlette adds it to GET.
            scope = {"type": "http", "method": method, "path": route.path, "root_path": ""}
            first = next((one for one in routes if one.matches(scope)[0] is Match.FULL), None)
            if first is route and not route.param_convertors:
                made[method, route.path] = route
    return made


def _peer(scope: Message) -> str:
    host, port = scope.get("client") or ("", 0)
    return f"{host}:{port}"
