"""The background work of insight: what left the tables is written to Redis, and now and then tables get advice.

None of it is on the path of those who read, write or evict.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable

from rowbank.errors import RedisUnavailable
from rowbank_server.ps.insight.advice import Adviser
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.storage.departures import DepartureHistory

_log = logging.getLogger("rowbank.ps")
_INTERVAL_S = 1.0


def divide_sample(tables: Iterable[ShardTable], total_bytes: int) -> None:
    """Gives each table its part of the bytes for access samples; copies that never change need none."""
    sampled = [table for table in tables if not table.frozen]
    for table in sampled:
        table.rows.set_sample_bytes(total_bytes // len(sampled))


class InsightUpkeep:
    """One thread, which an owner starts."""

    def __init__(
        self,
        shard: Shard,
        departures: DepartureHistory,
        adviser: Adviser,
        *,
        sample_bytes: int,
        advice_interval_s: float,
    ) -> None:
        self._shard = shard
        self._departures = departures
        self._adviser = adviser
        self._sample_bytes = sample_bytes
        self._advice_interval_s = advice_interval_s
        self._stop = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="insight", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        divide_sample(self._shard.tables(), self._sample_bytes)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, and writes what waits."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
            self._write(all_now=True)

    def _run(self) -> None:
        advised_s = time.monotonic()
        while not self._stop.wait(_INTERVAL_S):
            self._write()
            if time.monotonic() - advised_s >= self._advice_interval_s:
                advised_s = time.monotonic()
                self._advise()

    def _advise(self) -> None:
        try:
            self._adviser.look()
        except Exception:
            _log.exception("advice on eviction failed for a reason that is a defect")

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
