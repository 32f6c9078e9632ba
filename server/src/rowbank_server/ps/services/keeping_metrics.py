"""Prometheus metrics of what a shard does beside requests: write-back, eviction, and what Redis holds."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rowbank_protos.v1 import admin_pb2
from rowbank_server.ps.durability.keeper import Keeper
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.storage.evictions import EvictionHistory
from rowbank_server.storage.memory import RedisMemory


class KeepingCollector(Collector):
    """Read when scraped."""

    def __init__(self, shard: Shard, keeper: Keeper, history: EvictionHistory, memory: RedisMemory) -> None:
        self._shard = shard
        self._keeper = keeper
        self._history = history
        self._memory = memory

    def collect(self) -> Iterable[Metric]:
        keeper = self._keeper
        yield GaugeMetricFamily(
            "rowbank_write_back_lag_seconds",
            "How long ago everything that was due was written to Redis; 0: nothing waits.",
            value=keeper.lag_s(),
        )
        yield GaugeMetricFamily(
            "rowbank_write_back_duration_seconds",
            "How long the last write-back of all tables took.",
            value=keeper.last_duration_s,
        )
        yield CounterMetricFamily(
            "rowbank_written_rows_total", "Rows written or deleted in Redis.", value=float(keeper.written_rows)
        )
        yield self._evictions()
        if self._memory.used_bytes is not None:
            for name, text, value in (
                ("rowbank_redis_used_memory_bytes", "Memory that Redis holds, all nodes.", self._memory.used_bytes),
                ("rowbank_redis_max_memory_bytes", "Memory that Redis may hold; 0: no limit.", self._memory.max_bytes),
            ):
                yield GaugeMetricFamily(name, text, value=float(value))

    def _evictions(self) -> Metric:
        counter = CounterMetricFamily(
            "rowbank_evictions_total", "Rows that were evicted, by reason.", labels=["table", "reason"]
        )
        known = {table.name for table in self._shard.tables()}
        for (table, reason), rows in sorted(self._history.rows.items()):
            if table in known:
                word = admin_pb2.EvictionReason.Name(reason).removeprefix("EVICTION_REASON_").lower()
                counter.add_metric([table, word], float(rows))
        return counter
