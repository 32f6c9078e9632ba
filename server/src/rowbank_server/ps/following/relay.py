"""Keeps what an owner sent for those who will follow this process once it is the owner."""

from __future__ import annotations

from collections.abc import Iterable

from rowbank_server.ps.deltas.log import DeltaLog
from rowbank_server.ps.tables.table import ShardTable

_MOST_BYTES = 64 << 20


class Relay:
    """Gives records to the log in the order of their positions. For one thread at a time.

    An owner that reads its journal for us sends records in the order of that, which is one of positions in each table
    and not over all of them. They wait here until the owner says how far the stream is complete.

    Args:
        log: None: nobody will follow this process.
    """

    def __init__(self, log: DeltaLog | None) -> None:
        self._log = log
        self._waiting: list[tuple[int, bytes, int]] = []
        self._bytes = 0
        self._gap = False
        self._position = 0

    def begin(self, position: int, *, continued: bool) -> None:
        """A stream begins there."""
        self._waiting.clear()
        self._bytes, self._gap = 0, False
        self._position = position
        if self._log is not None and not continued:
            self._log.seed(position)

    def record(self, position: int, data: bytes, *, at_ms: int) -> None:
        """Takes a record."""
        if self._log is None or position <= self._log.position:
            return
        self._waiting.append((position, data, at_ms))
        self._bytes += len(data)
        if self._bytes > _MOST_BYTES:  # More than the log would keep.
            self._waiting.clear()
            self._bytes, self._gap = 0, True

    def complete(self, position: int) -> None:
        """All records up to `position` are here."""
        if self._log is None or position <= self._position:
            return
        self._position = position
        if self._gap:
            self._log.seed(position)
            self._gap = False
        self._waiting.sort()
        count = sum(waiting[0] <= position for waiting in self._waiting)
        for at, data, at_ms in self._waiting[:count]:
            if at > self._log.position:
                self._log.append_followed(at, data, at_ms=at_ms)
        del self._waiting[:count]
        self._bytes = sum(len(data) for _, data, _ in self._waiting)

    def tables(self, tables: Iterable[ShardTable]) -> None:
        """Says which tables there are from here on."""
        if self._log is not None:
            self._log.tables_changed(tables)

    def filled(self, table_id: int) -> None:
        """Says that a frozen table is whole."""
        if self._log is not None:
            self._log.frozen_filled(table_id)
