"""Holds: a running job's word that tables are in use."""

from __future__ import annotations

import contextlib
import os
import threading
from types import TracebackType

from rowbank.calls import methods
from rowbank.calls.transport import Transport
from rowbank.errors import RowbankError
from rowbank_protos.v1 import tables_pb2


class Hold:
    """Holds tables until it is closed, or for `ttl_s` after its process died. See `Client.hold_tables`.

    The constructor takes the hold; what it raises says that there is none. It is its process's: in a forked child it
    does nothing.
    """

    def __init__(self, transport: Transport, holder: str, tables: tuple[str, ...], *, run: str, ttl_s: float) -> None:
        self._transport = transport
        self._request = tables_pb2.HoldTablesRequest(holder=holder, tables=tables, ttl_s=ttl_s, run=run)
        self._pause_s, self._pid = ttl_s / 3, os.getpid()
        self._stop = threading.Event()
        transport.one(methods.HOLD_TABLES, 0, self._request)
        self._thread = threading.Thread(target=self._renew, name="rowbank-hold", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the hold. If the server cannot be reached, it ends by itself after `ttl_s`."""
        if os.getpid() != self._pid or self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(RowbankError):
            self._transport.one(
                methods.RELEASE_TABLES, 0, tables_pb2.ReleaseTablesRequest(holder=self._request.holder), retry=False
            )

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _renew(self) -> None:
        while not self._stop.wait(self._pause_s):
            with contextlib.suppress(RowbankError):  # Tried again at the next turn; the job must not end for it.
                self._transport.one(methods.HOLD_TABLES, 0, self._request)
