"""Rows of embedding tables from the parameter server, with a breaker in front of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from rowbank import Client, Table
from rowbank.errors import DimMismatch, RequestError, ShardUnavailable
from rowbank_protos.columns import ColumnError


class Breaker:
    """Fails at once for a while after a failure, so that a dead neighbour costs one timeout and not one per request.

    Thread-safe. After `pause_s` one attempt is let through; if it fails, the pause starts again.
    """

    def __init__(self, pause_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause_s = pause_s
        self._clock = clock
        self._lock = threading.Lock()
        self._closed_until = float("-inf")

    def admits(self) -> bool:
        """Whether to try now. During a pause, one caller at its end gets True and the others go on waiting."""
        with self._lock:
            now = self._clock()
            if now < self._closed_until:
                return False
            if self._closed_until > float("-inf"):
                self._closed_until = now + self._pause_s
            return True

    def report(self, *, ok: bool) -> None:
        """Says how an attempt ended."""
        with self._lock:
            self._closed_until = float("-inf") if ok else self._clock() + self._pause_s


class ClientRows:
    """Reads rows through a `rowbank.Client` that is opened at the first read. Thread-safe.

    Args:
        targets: addresses of all shards.
        timeout_s: longest wait for one read.
    """

    def __init__(self, targets: Sequence[str], timeout_s: float) -> None:
        self._targets = list(targets)
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._tables: dict[str, Table] = {}

    def lookup(self, table: str, keys: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Values [N, dim] float32 and found [N] bool; rows of unseen keys are zero.

        Raises:
            TableNotFound, ShardUnavailable, NotReady, DeadlineExceeded, DimMismatch.
        """
        try:
            rows = self._table(table).lookup(keys)
        except (RequestError, ColumnError) as error:
            self._tables.pop(table, None)  # It may have been dropped and made anew, with another dim.
            if isinstance(error, RequestError):
                raise
            raise DimMismatch(f"table {table!r} was made anew with another dim: {error}") from error
        return rows.values, rows.found

    def close(self) -> None:
        """Ends the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None
                self._tables.clear()

    def _table(self, name: str) -> Table:
        table = self._tables.get(name)
        if table is None:
            table = self._tables[name] = self._open().table(name)
        return table

    def _open(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = Client(
                    self._targets, timeout_s=self._timeout_s, connect_timeout_s=self._timeout_s, wait_for_ready=True
                )
            return self._client


class GuardedRows:
    """Another reader behind a breaker, for requests that have a fallback and must not wait for a dead shard."""

    def __init__(self, reader: ClientRows, breaker: Breaker) -> None:
        self._reader = reader
        self._breaker = breaker

    def lookup(self, table: str, keys: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """As `ClientRows.lookup`; ShardUnavailable at once during a pause."""
        if not self._breaker.admits():
            raise ShardUnavailable(
                "the parameter server failed a moment ago; rows are not asked for until a pause is over"
            )
        try:
            answer = self._reader.lookup(table, keys)
        except RequestError as error:
            self._breaker.report(ok=not error.retryable)
            raise
        self._breaker.report(ok=True)
        return answer
