"""Metrics of limits: what is in flight, what was refused, how long requests waited for their turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rowbank_server.ps.limits.in_flight import Usage

_WAIT_BUCKETS_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


class LimitMetrics:
    """What limits count. Thread-safe."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._overloaded = Counter(
            "rowbank_overloaded",
            "Requests refused with OVERLOADED, or given up, by reason.",
            ["reason"],
            registry=registry,
        )
        self._wait = Histogram(
            "rowbank_queue_wait_seconds",
            "Time that row requests waited for their turn.",
            ["line"],
            buckets=_WAIT_BUCKETS_S,
            registry=registry,
        )

    def refused(self, reason: str) -> None:
        """Counts a refusal."""
        self._overloaded.labels(reason).inc()

    def waits(self, line: str) -> Callable[[float], None]:
        """What to call with each wait in a line."""
        return self._wait.labels(line).observe


class InFlightCollector(Collector):
    """What is in flight, read when it is scraped."""

    def __init__(self, usage: Callable[[], Usage]) -> None:
        self._usage = usage

    def collect(self) -> Iterable[Metric]:
        usage = self._usage()
        yield GaugeMetricFamily("rowbank_calls_in_flight", "Calls that have arrived and are not answered.", usage.calls)
        yield GaugeMetricFamily(
            "rowbank_bytes_in_flight", "Bytes of their requests, and of the rows that reads ask for.", usage.bytes
        )
