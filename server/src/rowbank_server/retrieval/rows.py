"""Rows of embedding tables from the parameter server."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rowbank import Client, Table
from rowbank.errors import DimMismatch, RequestError
from rowbank_protos.columns import ColumnError


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
