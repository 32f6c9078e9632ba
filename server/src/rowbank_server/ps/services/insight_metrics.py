"""Prometheus metrics of insight: what its samples and histories hold, and what it advises."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rowbank_server.ps.insight.advice import Adviser
from rowbank_server.storage.departures import DepartureHistory


class InsightCollector(Collector):
    """Read when scraped."""

    def __init__(self, departures: DepartureHistory, adviser: Adviser) -> None:
        self._departures = departures
        self._adviser = adviser

    def collect(self) -> Iterable[Metric]:
        advised = GaugeMetricFamily(
            "rowbank_advised_max_rows",
            "Cap that would keep rows of a table from going too early; 0: none that was tried. Absent: none is needed.",
            labels=["table"],
        )
        for name, advice in self._adviser.found.items():
            advised.add_metric([name], float(advice.max_rows))
        yield advised
        yield GaugeMetricFamily(
            "rowbank_departed_keys_bytes",
            "Redis memory for which keys left this shard's tables.",
            value=float(self._departures.stored_bytes),
        )
        yield CounterMetricFamily(
            "rowbank_departed_keys_given_up",
            "Keys that left tables and were forgotten, since Redis was away for too long.",
            value=float(self._departures.given_up_rows),
        )
