"""The short way to handlers: what it takes, and what it leaves to Starlette."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from rowbank_server.retrieval.api.http.direct import Direct


class Counted(Starlette):
    """Knows which paths came to it."""

    def __init__(self, routes: list[Route]) -> None:
        super().__init__(routes=routes)
        self.asked: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        await super().__call__(scope, receive, send)


async def _echo(request: Request) -> Response:
    said = (await request.body()).decode()
    return PlainTextResponse(f"{request.method} {request.path_params} {request.query_params} {said}")


def _ask(app: Any, method: str, path: str, body: bytes = b"") -> tuple[int, str]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"ids=string"}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()


@pytest.fixture
def app() -> Counted:
    """Routes with and without parameters."""
    return Counted(
        [
            Route("/v1/ask", _echo, methods=["POST"]),
            Route("/v1/ask:batch", _echo, methods=["POST"]),
            Route("/v1/popular", _echo, methods=["GET"]),
            Route("/v1/items/{id}", _echo, methods=["GET"]),
        ]
    )


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/ask"), ("POST", "/v1/ask:batch"), ("GET", "/v1/popular")])
def test_paths_without_parameters_are_answered_as_starlette_answers_them(app: Counted, method: str, path: str) -> None:
    answered = _ask(Direct(app), method, path, b"hello")
    assert answered == (200, f"{method} {{}} ids=string hello")
    assert app.asked == []
    assert _ask(app, method, path, b"hello") == answered


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/items/7", 200),
        ("GET", "/v1/ask", 405),
        ("HEAD", "/v1/popular", 200),
        ("POST", "/v1/ask/", 307),
        ("POST", "/v1/elsewhere", 404),
    ],
)
def test_everything_else_goes_to_starlette(app: Counted, method: str, path: str, status: int) -> None:
    assert _ask(Direct(app), method, path)[0] == status
    assert app.asked == [path]
