"""Remembers what leaves tables: each cycle of eviction as an event, and each key with what its row was like.

Whoever takes rows away begins here, says what went, slice by slice, and ends. What it costs is a few passes over the
columns of what went.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank_protos.v1 import admin_pb2, deltas_pb2
from rowbank_server import _core
from rowbank_server.ps.tables.mutations import REMOVAL_REASONS
from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.storage.departed_chunk import Departed
from rowbank_server.storage.departures import DepartureHistory
from rowbank_server.storage.evictions import EvictionHistory

_LEVELS = 33  # 0, and the powers of two below 2^32.


def log2_histogram(numbers: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """[33] int64: how many of `numbers`, whole and below 2^32, are 0, 1, 2 to 3, 4 to 7, and so on."""
    return np.bincount(np.frexp(numbers.astype(np.float64))[1], minlength=_LEVELS)


class Departing:
    """Thread-safe."""

    def __init__(self, events: EvictionHistory, keys: DepartureHistory) -> None:
        self._events = events
        self._keys = keys
        self._regretted: dict[int, int] = {}  # Table id -> up to the last event.
        self._lock = threading.Lock()

    def begin(self, table: ShardTable, event: admin_pb2.EvictionEvent) -> Cycle:
        """What `event`, of which the caller fills in rows, bytes and the like, is told what went."""
        return Cycle(self, table, event)

    def going(self, table: ShardTable, keys: npt.NDArray[np.int64]) -> Departed | None:
        """The rows among `keys`, which a caller is about to remove; None: there are none."""
        found, frequency, last_used = table.rows.usage(keys)
        here = found != 0
        if not here.any():
            return None
        reason, now = deltas_pb2.REMOVAL_REASON_REMOVED, int(time.time())
        return Departed(table.entry.table_id, now, reason, 0.0, keys[here], frequency[here], last_used[here])

    def removed(self, departed: Departed) -> None:
        """They went."""
        self._keys.note(departed)

    def _note(
        self,
        table: ShardTable,
        reason: int,
        score_cut: float,
        keys: npt.NDArray[np.int64],
        frequency: npt.NDArray[np.uint32],
        last_used: npt.NDArray[np.uint32],
    ) -> None:
        self._keys.note(Departed(table.entry.table_id, int(time.time()), reason, score_cut, keys, frequency, last_used))

    def _regretted_since(self, table: ShardTable) -> int:
        total = table.rows.stats().regretted
        with self._lock:
            before = self._regretted.get(table.entry.table_id, 0)
            self._regretted[table.entry.table_id] = total
        return total - before


class Cycle:
    """One event on its way. For one thread."""

    def __init__(self, departing: Departing, table: ShardTable, event: admin_pb2.EvictionEvent) -> None:
        self._departing = departing
        self._table = table
        self._event = event
        self._ages = np.zeros(_LEVELS, np.int64)
        self._frequencies = np.zeros(_LEVELS, np.int64)

    def went(self, report: _core.CycleReport | _core.RestrictReport) -> None:
        """These rows went."""
        if not report.evicted:
            return
        keys, frequency, last_used = report.evicted_keys, report.evicted_frequency, report.evicted_last_used
        now = int(time.time())
        self._ages += log2_histogram(np.maximum(now - last_used.astype(np.int64), 0))
        self._frequencies += log2_histogram(frequency)
        self._departing._note(
            self._table, REMOVAL_REASONS[self._event.reason], report.score_cut, keys, frequency, last_used
        )

    def end(self) -> None:
        """Nothing more goes: the event is recorded."""
        event = self._event
        event.at_ms = int(time.time() * 1000)
        event.ages.extend(np.trim_zeros(self._ages, "b").tolist())
        event.frequencies.extend(np.trim_zeros(self._frequencies, "b").tolist())
        event.regretted = self._departing._regretted_since(self._table)
        self._departing._events.record(event)
