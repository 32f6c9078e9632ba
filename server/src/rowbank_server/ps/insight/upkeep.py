"""The background work of insight: what left the tables is written to Redis, off the path of those who evict."""

from __future__ import annotations

import logging
import threading

from rowbank.errors import RedisUnavailable
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.storage.departures import DepartureHistory

_log = logging.getLogger("rowbank.ps")
_INTERVAL_S = 1.0


class InsightUpkeep:
    """One thread, which an owner starts."""

    def __init__(self, shard: Shard, departures: DepartureHistory) -> None:
        self._shard = shard
        self._departures = departures
        self._stop = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="insight", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, and writes what waits."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
            self._write(all_now=True)

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            self._write()

    def _write(self, *, all_now: bool = False) -> None:
        try:
            self._departures.write([table.entry.table_id for table in self._shard.tables()], all_now=all_now)
        except RedisUnavailable as error:
            if not self._failing:
                _log.warning("the history of keys waits in RAM: %s", error)
            self._failing = True
        except Exception:
            _log.exception("the history of keys was not written for a reason that is a defect")
        else:
            self._failing = False
