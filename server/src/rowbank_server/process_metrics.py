"""Metrics that every process has: what it is, what it takes of its machine, what its interpreter does."""

from __future__ import annotations

import gc
import platform
import threading
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import rowbank_server


def register(registry: CollectorRegistry, process: str) -> None:
    """Adds them to `registry`. `process`: "ps" or "api"."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # A series more for each that there is, and nobody asks for it.
    ProcessCollector(registry=registry)
    registry.register(_InterpreterCollector(process))


class _InterpreterCollector(Collector):
    def __init__(self, process: str) -> None:
        self._process = process

    def collect(self) -> Iterable[Metric]:
        build = GaugeMetricFamily("rowbank_build_info", "1; what runs.", labels=["process", "version", "python"])
        build.add_metric([self._process, rowbank_server.__version__, platform.python_version()], 1.0)
        yield build
        yield GaugeMetricFamily(
            "rowbank_threads", "Threads that Python knows of.", value=float(threading.active_count())
        )
        collections = CounterMetricFamily(
            "rowbank_gc_collections_total", "Runs of Python's garbage collector.", labels=["generation"]
        )
        for generation, counts in enumerate(gc.get_stats()):
            collections.add_metric([str(generation)], float(counts["collections"]))
        yield collections
