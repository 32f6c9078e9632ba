"""Whether the parameter server can be reached, asked again and again: a service that waits for it in vain says so."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence

from rowbank import Client
from rowbank.credentials import Credentials
from rowbank.errors import RequestError

_log = logging.getLogger("rowbank.api")

_TIMEOUT_S = 2.0
_STOP_WAIT_S = 2.0


class Reach:
    """Asks every shard who it is, in a thread of its own; `problem` says what is wrong now, "" if nothing is.

    Args:
        targets: addresses of all shards.
        credentials: what they are connected to with.
        interval_s: time between two questions; after a failure a fifth of it.
    """

    def __init__(self, targets: Sequence[str], credentials: Credentials, *, interval_s: float = 5.0) -> None:
        self.problem = ""
        self._targets = list(targets)
        self._credentials = credentials
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._client: Client | None = None
        self._thread = threading.Thread(target=self._run, name="reach", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and the connections."""
        self._stop.set()
        self._thread.join(_STOP_WAIT_S)
        self._close()

    def _run(self) -> None:
        while not self._stop.is_set():
            problem = self._ask()
            if problem != self.problem:
                if problem:
                    _log.warning("%s; tried again and again", problem)
                else:
                    _log.info("the parameter server can be reached: %s", ", ".join(self._targets))
            self.problem = problem
            self._stop.wait(self._interval_s / 5 if problem else self._interval_s)

    def _ask(self) -> str:
        try:
            if self._client is None:
                self._client = Client(
                    self._targets,
                    timeout_s=_TIMEOUT_S,
                    connect_timeout_s=_TIMEOUT_S,
                    wait_for_ready=False,
                    credentials=self._credentials,
                )
            self._client.server_info()
        except RequestError as error:
            self._close()
            return f"the parameter server cannot be reached: {error.message}"
        return ""

    def _close(self) -> None:
        with contextlib.suppress(RequestError):
            if self._client is not None:
                self._client.close()
        self._client = None
