"""uvicorn with our own accepting, and a drain that answers what was sent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from rowbank_server.retrieval.processes.accepting import Acceptor
from rowbank_server.retrieval.processes.board import Board
from rowbank_server.security.tls import ServedTls
from rowbank_server.web.plain import Questions
from rowbank_server.web.protocol import GuardedProtocol

LINGER_S = 0.25  # How long a drain waits for requests that are on their way.
_LOOK_S = 0.01
KEEP_ALIVE_S = 75.0  # Longer than what balancers and clients keep a connection for, so that they end it, and not we.


class _Protocol(GuardedProtocol):
    """Knows whether a request on it waits for its answer, also one of which only the beginning is there."""

    unanswered = 0

    def on_message_begin(self) -> None:
        self.unanswered += 1
        super().on_message_begin()

    def on_response_complete(self) -> None:
        self.unanswered -= 1
        super().on_response_complete()

    def close_after_answer(self) -> None:
        """Ends the connection with the answer that is under way; a request that is just arriving says so by itself."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False


class HttpServer(uvicorn.Server):
    """Serves at one listening socket, which other processes may share.

    Args:
        app: the ASGI application.
        drain_timeout_s: how long a drain waits for answers.
        board, worker: what the workers know of each other, and which this one is; None: it is alone.
        tls: what connections are protected with; None: nothing.
        max_connections: those beyond it are told 503 and closed; None: no limit.
        questions: who answers plain questions past the application; None: nobody does.
    """

    def __init__(
        self,
        app: Any,
        *,
        drain_timeout_s: float,
        board: Board | None = None,
        worker: int = 0,
        tls: ServedTls | None = None,
        max_connections: int | None = None,
        questions: Questions | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http="httptools",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # Nothing here depends on who calls.
                lifespan="off",
                limit_concurrency=max_connections,
                timeout_keep_alive=int(KEEP_ALIVE_S),
                headers=[] if board is None else [("x-rowbank-worker", str(worker))],
            )
        )
        self._drain_timeout_s = drain_timeout_s
        self._board = board
        self._worker = worker
        self._tls = tls
        self._acceptor: Acceptor | None = None
        self._questions = questions

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals to us: uvicorn would raise them again after the drain and so end with a failure status."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        assert sockets is not None
        self.servers = []
        self._acceptor = Acceptor(
            sockets[0],
            self._protocol,
            lambda: len(self.server_state.connections),
            self._board,
            self._worker,
            tls=self._tls,
        )
        self._acceptor.start()
        self.started = True

    def _protocol(self) -> asyncio.Protocol:
        made = _Protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        made.questions = self._questions
        return made

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes the connections that wait, answers what comes on all of them, and closes them.

        Every answer says that its connection closes, so a caller with more to ask goes elsewhere and loses nothing. A
        connection that stays quiet for a moment is closed; that a caller begins to use it in that very instant is
        something that HTTP/1.1 cannot rule out.
        """
        loop = asyncio.get_running_loop()
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        assert self._acceptor is not None
        await self._acceptor.drain()
        quiet_until, until = loop.time() + LINGER_S, loop.time() + self._drain_timeout_s
        while self.server_state.connections and loop.time() < until and not self.force_exit:
            for connection in list(self.server_state.connections):
                assert isinstance(connection, _Protocol)
                if connection.unanswered:
                    connection.close_after_answer()
                elif loop.time() >= quiet_until:
                    connection.transport.close()
            await asyncio.sleep(_LOOK_S)
        for task in list(self.server_state.tasks):
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.close()
        await self.lifespan.shutdown()
