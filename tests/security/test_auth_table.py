"""Guarded routes that are found in a table: the same rules, and the same answers, as on the application's own way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rowbank.token_text import new_token
from rowbank_server.retrieval.api.http import problems
from rowbank_server.security.admin_file import AdminFile
from rowbank_server.security.audit import Audit
from rowbank_server.security.failures import Failures
from rowbank_server.security.gate import Gate
from rowbank_server.security.rules import Rule
from rowbank_server.security.token_book import TokenBook
from rowbank_server.security.token_store import TokenStore
from rowbank_server.storage.layout import Layout
from rowbank_server.web.auth import Authorized

RULES = {
    "GET /open": Rule(role=None),
    "POST /ask": Rule(role="read"),
    "GET /things/{id}": Rule(role="read"),
    "GET /things/all": Rule(role=None),  # Never reached: the route before it takes its path.
    "GET /admin": Rule(role="admin"),
}
ASKED = [
    ("GET", "/open"), ("HEAD", "/open"), ("POST", "/open"), ("POST", "/ask"), ("GET", "/ask"), ("POST", "/ask/"),
    ("GET", "/things/7"), ("GET", "/things/all"), ("GET", "/admin"), ("GET", "/nowhere"), ("GET", "/open%0A"),
    ("GET", "/open?token=x"), ("OPTIONS", "/ask"),
]  # fmt: skip


class Counted(Starlette):
    """Knows which paths came to it."""

    def __init__(self) -> None:
        super().__init__(routes=[Route(what.split()[1], _echo, methods=[what.split()[0]]) for what in RULES])
        self.router.redirect_slashes = False
        self.asked: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        await super().__call__(scope, receive, send)


async def _echo(request: Request) -> Response:
    return PlainTextResponse(f"{request.method} {request.url.path} {(await request.body()).decode()}")


@pytest.fixture
def token(tmp_path: Path) -> str:
    """The administrator's."""
    made = new_token()
    text: str = made.text
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(0o600)
    return text


@pytest.fixture
def gate(token: str, tmp_path: Path, redis_url: str) -> Iterator[Gate]:
    with redis.Redis.from_url(redis_url) as connection:
        book = TokenBook(TokenStore(connection, Layout(tmp_path.name)), AdminFile(str(tmp_path / "token")))
        book.start()
        made = Gate(book, Failures(CollectorRegistry()), Audit(str(tmp_path / "audit")))
        try:
            yield made
        finally:
            book.stop()
            made.audit.close()


def _ask(gate: Gate, method: str, path: str, token: str, *, by_table: bool) -> tuple[tuple[object, ...], list[str]]:
    routes = Counted()
    app = Authorized(routes, gate, RULES, problems.refusal, by_table=by_table)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            headers = {"authorization": f"Bearer {token}"} if token else {}
            return await client.request(method, path, headers=headers, content=b"hello")

    answer = asyncio.run(ask())
    return (answer.status_code, answer.text, sorted(answer.headers.items())), routes.asked


@pytest.mark.parametrize(("method", "path"), ASKED)
def test_answers_are_the_same(gate: Gate, token: str, method: str, path: str) -> None:
    for shown in ("", token, "rbk_000000000000_wrong"):
        by_table, _ = _ask(gate, method, path, shown, by_table=True)
        assert by_table == _ask(gate, method, path, shown, by_table=False)[0]


def test_only_what_the_application_takes_to_a_route_is_in_the_table(gate: Gate, token: str) -> None:
    for method, path in (("GET", "/open"), ("POST", "/ask"), ("GET", "/admin")):
        assert _ask(gate, method, path, token, by_table=True)[1] == []
    for method, path in (("GET", "/things/all"), ("HEAD", "/open"), ("GET", "/ask"), ("GET", "/nowhere")):
        assert _ask(gate, method, path, token, by_table=True)[1] == [path]
    assert _ask(gate, "GET", "/things/all", "", by_table=True)[0][0] == 401  # The rule of the route that answers.
    assert _ask(gate, "POST", "/ask", "", by_table=True)[0][0] == 401
