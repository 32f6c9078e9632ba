"""Looks at this process's memory a few times a second, and says when growth has to end, and when it may go on."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rowbank_server.ps.limits.machine_memory import give_back, sizes, tightest
from rowbank_server.ps.tables.growth import Growth, MemoryState
from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.settings import PsSettings

_log = logging.getLogger("rowbank.ps")
_EVERY_S = 0.2
_TABLES_EVERY_S = 2.0
_LATELY = 30  # Looks at tables: a minute.
_GIVE_BACK_EVERY_S = 1.0
_AGAIN_SHARE = 0.02  # Of the limit has to be free again before growth goes on.


class MemoryGuard:
    """What refuses growth, and what it goes by.

    Attributes:
        on_room: told after each look how many bytes new rows may take; negative: there are to be none.

    Args:
        tables: answers the tables of this shard.
    """

    def __init__(self, settings: PsSettings, tables: Callable[[], list[ShardTable]]) -> None:
        self.on_room: Callable[[int], None] = lambda room: None
        self.state = MemoryState()
        self.growth = Growth(self.state, shard_count=settings.shard_count)
        self._watch = MemoryWatch(self.state, settings.memory_limit_bytes, tables, lambda room: self.on_room(room))

    def start(self, registry: CollectorRegistry) -> None:
        """Begins to watch, and to tell."""
        registry.register(MemoryCollector(self.state, self.growth))
        self._watch.start()


class MemoryWatch:
    """Keeps `state` up to date from a thread of its own.

    Args:
        limit: bytes of RAM; 0: growth is never refused; None: what the machine, the control group and the limits of the
            process leave.
        tables: answers the tables of this shard.
        on_room: as `MemoryGuard` has it.
    """

    def __init__(
        self,
        state: MemoryState,
        limit: int | None,
        tables: Callable[[], list[ShardTable]],
        on_room: Callable[[int], None] = lambda room: None,
    ) -> None:
        self._state = state
        self._on_room = on_room
        self._limit = limit
        self._tables = tables
        self._sizes: deque[dict[str, int]] = deque(maxlen=_LATELY)
        self._look_at_tables_s = 0.0
        self._give_back_s = 0.0

    def start(self) -> None:
        """Looks once, then begins to watch."""
        self.look()
        threading.Thread(target=self._run, name="memory", daemon=True).start()

    def look(self) -> None:
        """Looks at the memory now; where there is no room, first gives back what is only kept for later."""
        state = self._state
        self._measure()
        if state.room <= state.limit * _AGAIN_SHARE and time.monotonic() >= self._give_back_s:
            self._give_back_s = time.monotonic() + _GIVE_BACK_EVERY_S
            give_back()
            self._measure()
        if time.monotonic() >= self._look_at_tables_s:
            self._look_at_tables()
        enough = state.limit * _AGAIN_SHARE if state.refusing else 0
        refusing = state.room <= enough
        if refusing != state.refusing:
            state.refusing = refusing
            self._say(refusing)
        self._on_room(-1 if refusing else state.room)

    def _measure(self) -> None:
        state = self._state
        _, state.used = sizes()
        if self._limit == 0:
            return
        if self._limit is not None:
            state.limit, state.room = self._limit, self._limit - state.used
            return
        bound = tightest()
        if bound is not None:
            state.limit, state.room = max(1, state.used + bound.room), bound.room

    def _look_at_tables(self) -> None:
        self._look_at_tables_s = time.monotonic() + _TABLES_EVERY_S
        now = {table.name: table.rows.bytes() for table in self._tables()}
        self._sizes.append(now)
        first = self._sizes[0]
        grown = {name: size - first.get(name, 0) for name, size in now.items()}
        most = max(grown, key=lambda name: grown[name], default="")
        self._state.grown_most = (most, grown[most]) if most and grown[most] > 0 else ("", 0)

    def _say(self, refusing: bool) -> None:
        state = self._state
        if refusing:
            grown, size = state.grown_most
            lately = f"; table {grown!r} grew most lately, by {size} bytes in a minute" if grown else ""
            _log.error("%d bytes of RAM of %d: new rows and tables are refused%s", state.used, state.limit, lately)
        else:
            _log.info("%d bytes of RAM of %d: new rows and tables are taken in again", state.used, state.limit)

    def _run(self) -> None:
        while True:
            time.sleep(_EVERY_S)
            try:
                self.look()
            except Exception:
                _log.exception("the memory could not be looked at for a reason that is a defect")


class MemoryCollector(Collector):
    """Memory as metrics."""

    def __init__(self, state: MemoryState, growth: Growth) -> None:
        self._state = state
        self._growth = growth

    def collect(self) -> Iterable[Metric]:
        state = self._state
        yield GaugeMetricFamily("rowbank_memory_used_bytes", "RAM that the process holds.", state.used)
        yield GaugeMetricFamily("rowbank_memory_limit_bytes", "RAM that it may hold now; 0: no limit.", state.limit)
        yield GaugeMetricFamily(
            "rowbank_growth_stopped", "1 while new rows and tables are refused.", float(state.refusing)
        )
        refused = CounterMetricFamily("rowbank_growth_refused", "Requests refused with MEMORY_LIMIT.", labels=["table"])
        for table, count in self._growth.refused.copy().items():
            refused.add_metric([table], count)
        yield refused
