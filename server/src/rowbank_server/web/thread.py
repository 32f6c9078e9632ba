"""An HTTP server in a thread with an event loop of its own, beside whatever else a process serves."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
import uvloop

from rowbank_server.listening import listen, shown
from rowbank_server.web.protocol import GuardedProtocol

_log = logging.getLogger("rowbank.http")
_KEEP_ALIVE_S = 75  # Longer than the time between two scrapes.
_MOST_CONNECTIONS = 128
_DRAIN_S = 2


class HttpThread:
    """Serves an ASGI application until it is stopped.

    Args:
        app: the application.
        tls: the context of TLS; None: plain HTTP.
    """

    def __init__(self, app: Any, tls: Callable[[], ssl.SSLContext | None] = lambda: None) -> None:
        self._config = uvicorn.Config(
            app,
            loop="none",
            http=GuardedProtocol,
            ws="none",
            log_config=None,
            log_level="error",  # What a caller does wrong is not worth a line.
            access_log=False,
            proxy_headers=False,
            server_header=False,
            lifespan="off",
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_DRAIN_S,
        )
        self._tls = tls
        self._server = uvicorn.Server(self._config)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._failure: BaseException | None = None

    def start(self, setting: str, address: str) -> str:
        """Listens on `address` and answers; returns the URL with the real port.

        Raises:
            StartError: it cannot be listened on.
        """
        context = self._tls()
        self._config.load()
        self._config.ssl = context
        self._listener = listen(setting, address)
        self._thread.start()
        return f"{'https' if context is not None else 'http'}://{shown(self._listener)}"

    def stop(self) -> None:
        """Answers what is asked now, and ends."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_DRAIN_S + 1)

    def _run(self) -> None:
        try:
            uvloop.run(self._server.serve(sockets=[self._listener]))
        except Exception:
            _log.exception("the HTTP server has ended for a reason that is a defect; all else goes on")
