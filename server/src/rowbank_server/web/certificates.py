"""Mutual TLS over HTTP: probes come without a certificate, everybody else shows one.

A probe of an orchestrator has no certificate, and must still learn whether a process lives. So the handshake lets
callers in that show none (one that they show has to be good), and they are refused here unless they ask for their
health.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rowbank_server.web.answers import problem

PUBLIC = frozenset({"/healthz", "/readyz"})
_KEY = "rowbank.certificate"


class TellsOfCertificate(HttpToolsProtocol):
    """Tells the application whether a connection's client showed a certificate."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        line = transport.get_extra_info("ssl_object")  # After the handshake.
        self._shown = line is not None and line.getpeercert(binary_form=True) is not None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope.setdefault("extensions", {})[_KEY] = {"shown": self._shown}


class RequireCertificate:
    """Refuses callers without a certificate whatever is not `PUBLIC`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        extensions: dict[str, Any] = scope.get("extensions") or {}
        if scope["type"] == "http" and not extensions.get(_KEY, {}).get("shown") and scope["path"] not in PUBLIC:
            refusal = problem(
                403, "certificate-required", "expected a client certificate signed by a CA of tls_client_ca, got none"
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)
