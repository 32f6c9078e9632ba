"""What a process knows of its predecessor's mutations when it begins: the newest of those that it replayed."""

from __future__ import annotations

import collections

from rowbank_server.ps.deltas.items import OVERHEAD_BYTES
from rowbank_server.ps.deltas.log import DeltaLog


class Seed:
    """Records on their way from a journal, which has them in no order, to the log. For one thread."""

    def __init__(self, log: DeltaLog) -> None:
        self._log = log
        self._records: collections.deque[tuple[int, bytes]] = collections.deque()
        self._bytes = 0
        self._dropped = 0

    def add(self, position: int, record: bytes) -> None:
        """Takes a record; where they are more than the log keeps, the oldest go."""
        self._records.append((position, record))
        self._bytes += len(record) + OVERHEAD_BYTES
        while self._bytes > self._log.buffer_bytes:
            position, record = self._records.popleft()
            self._bytes -= len(record) + OVERHEAD_BYTES
            self._dropped = max(self._dropped, position)

    def start(self, position: int | None) -> None:
        """Starts the log: the records are all there are after `position`; None: it is not known what they lack."""
        self._log.seed(None if position is None else max(position, self._dropped))
        self._dropped = 0
        self.go_on()

    def go_on(self) -> None:
        """Adds the records to what the log has; of that nothing is kept if some are missing in between."""
        if self._dropped:
            self._log.seed(self._dropped)
        self._log.append_replayed(self._records)
        self._records.clear()
