"""Rows of embedding tables from the parameter server."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rowbank import Client, Rows, Table
from rowbank.credentials import Credentials
from rowbank.errors import DimMismatch, RequestError
from rowbank_protos.columns import ColumnError


class RowReader(Protocol):
    """Reads rows of embedding tables without side effects."""

    def lookup(
        self, keys: Mapping[str, npt.NDArray[np.int64]]
    ) -> Mapping[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]]:
        """By table, values [N, dim] float32 and found [N] bool for keys [N] int64; rows of unseen keys are zero."""


class ClientRows:
    """Reads rows through a `rowbank.Client` that is opened at the first read. Thread-safe.

    Args:
        targets: addresses of all shards.
        timeout_s: longest wait for one read.
        max_staleness_s: rows of replicas count that are at most so old; None: of owners alone.
        credentials: what shards are connected to with; None: as for `Client`.
    """

    def __init__(
        self,
        targets: Sequence[str],
        timeout_s: float,
        *,
        max_staleness_s: float | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self._targets = list(targets)
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._max_staleness_s = max_staleness_s
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._tables: dict[str, Table] = {}

    def lookup(
        self, keys: Mapping[str, npt.NDArray[np.int64]]
    ) -> dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]]:
        """By table, values [N, dim] float32 and found [N] bool; rows of unseen keys are zero.

        Raises:
            TableNotFound, ShardUnavailable, NotReady, DeadlineExceeded, DimMismatch.
        """
        try:
            read = self._read(keys)
        except (RequestError, ColumnError) as error:
            for name in keys:
                self._tables.pop(name, None)  # It may have been dropped and made anew, with another dim.
            if isinstance(error, RequestError):
                raise
            tables = ", ".join(repr(name) for name in keys)
            raise DimMismatch(f"one of the tables {tables} was made anew with another dim: {error}") from error
        return {name: (rows.values, rows.found) for name, rows in read.items()}

    def _read(self, keys: Mapping[str, npt.NDArray[np.int64]]) -> dict[str, Rows]:
        """Several tables in one request per shard; that is how training reads, too, so tables that note when a row was
        read last are asked one by one, in a way that leaves no trace."""
        tables = {name: self._table(name) for name in keys}
        joined = [name for name, table in tables.items() if not table.spec.track_reads]
        if len(joined) < 2:
            return {name: tables[name].lookup(wanted) for name, wanted in keys.items()}
        read = self._open().lookup({name: keys[name] for name in joined})
        return read | {name: tables[name].lookup(keys[name]) for name in keys if name not in joined}

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
                    self._targets,
                    timeout_s=self._timeout_s,
                    connect_timeout_s=self._timeout_s,
                    wait_for_ready=True,
                    max_staleness_s=self._max_staleness_s,
                    credentials=self._credentials,
                )
            return self._client
