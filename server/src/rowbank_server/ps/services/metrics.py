"""Prometheus metrics of a shard. Sizes and counts of tables are read when scraped, so requests pay nothing for them."""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from rowbank_protos.v1 import admin_pb2
from rowbank_server.journal.journal import Journal

LATENCY_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)

# Field of TableStats -> metric and its help text.
_GAUGES = {
    "rows": ("rowbank_table_rows", "Rows stored on this shard."),
    "bytes": ("rowbank_table_bytes", "Bytes of RAM held for rows and index."),
    "dirty_rows": ("rowbank_table_dirty_rows", "Rows that wait to be written back to Redis."),
    "step": ("rowbank_table_step", "Highest optimizer step pushed."),
    "last_write_back_s": (
        "rowbank_table_last_write_back_timestamp_seconds",
        "Unix time of the last write-back; 0: none.",
    ),
    "second_chance_rows": ("rowbank_second_chance_cold_rows", "Evicted rows that would come back with their keys."),
    "second_chance_bytes": ("rowbank_second_chance_cold_bytes", "Bytes of Redis that these take, about."),
}
_COUNTERS = {
    "pushed_rows": ("rowbank_pushed_rows", "Rows pushed."),
    "inserted_rows": ("rowbank_inserted_rows", "Rows that came to exist."),
    "evicted_rows": ("rowbank_evicted_rows", "Rows that a policy, their age or an operator evicted."),
    "regretted_rows": ("rowbank_regretted_rows", "Rows pushed again soon after they were evicted."),
    "removed_rows": ("rowbank_removed_rows", "Rows that callers removed."),
    "corrupt_rows": ("rowbank_corrupt_rows", "Rows that failed their checks when they were loaded."),
}
_PULLED = {"pulled_found": "found", "pulled_initialized": "initialized", "pulled_not_admitted": "not_admitted"}
_CHANCES = {f"second_chance_{outcome}": outcome for outcome in ("stored", "returned", "missed", "expired")}


@dataclass(frozen=True, slots=True)
class MethodTimes:
    """How long requests of a method took since the start.

    Attributes:
        upper_s: upper bounds of the buckets but the last, which has none.
        counts: requests in each bucket.
    """

    method: str
    failed: int
    upper_s: tuple[float, ...]
    counts: tuple[int, ...]


# By method: how many requests took up to each bound, and longer; seconds of all. All of them went well.
Elsewhere = Callable[[], Mapping[str, tuple[Sequence[int], float]]]


class RequestMetrics(Collector):
    """Requests by method: how long they took and how they ended.

    Attributes:
        elsewhere: what was counted of requests that passed by `observer`.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "rowbank_request_seconds",
            "Time from a request's headers to its answer.",
            ["method"],
            buckets=LATENCY_BUCKETS_S,
            registry=None,
        )
        self._requests = Counter("rowbank_requests", "Requests by gRPC status.", ["method", "code"], registry=None)
        self.elsewhere: Elsewhere = dict
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        counted = {method: told for method, told in self.elsewhere().items() if sum(told[0])}
        for method in counted:
            self.observer(method)  # Makes its samples.
        for family in (*self._seconds.collect(), *self._requests.collect()):
            family.samples = [_with(sample, counted) for sample in family.samples]
            yield family

    @functools.lru_cache(maxsize=256)  # noqa: B019 - lives as long as the process; the methods are few.
    def observer(self, method: str) -> Callable[[float, str], None]:
        """What to call with (seconds, status) after each request of `method`; its labels are bound once."""
        short = method.rsplit("/", 1)[-1]
        seconds = self._seconds.labels(short)
        ok = self._requests.labels(short, "OK")

        def observe(elapsed_s: float, code: str) -> None:
            seconds.observe(elapsed_s)
            (ok if code == "OK" else self._requests.labels(short, code)).inc()

        return observe

    def times(self) -> list[MethodTimes]:
        """Of every method that was called."""
        below: dict[str, list[int]] = {}  # Requests up to each bound.
        failed: dict[str, int] = {}
        seconds, requests = self.collect()
        for sample in seconds.samples:
            if sample.name.endswith("_bucket"):
                below.setdefault(sample.labels["method"], []).append(int(sample.value))
        for sample in requests.samples:
            if sample.name.endswith("_total") and sample.labels["code"] != "OK":
                method = sample.labels["method"]
                failed[method] = failed.get(method, 0) + int(sample.value)
        return [
            MethodTimes(
                method,
                failed.get(method, 0),
                LATENCY_BUCKETS_S,
                tuple(high - low for low, high in itertools.pairwise([0, *counts])),
            )
            for method, counts in below.items()
            if counts[-1]
        ]


def _with(sample: Sample, counted: Mapping[str, tuple[Sequence[int], float]]) -> Sample:
    """`sample`, with what was counted elsewhere of its method."""
    told = counted.get(sample.labels["method"])
    if told is None:
        return sample
    counts, seconds = told
    more: float
    if sample.name.endswith("_bucket"):
        below = bisect.bisect_left(LATENCY_BUCKETS_S, float(sample.labels["le"])) + 1
        more = sum(counts[:below])
    elif sample.name.endswith("_sum"):
        more = seconds
    elif sample.name.endswith("_count") or (sample.name.endswith("_total") and sample.labels["code"] == "OK"):
        more = sum(counts)
    else:  # Of another status, or when it began to be counted.
        return sample
    return sample._replace(value=sample.value + more)


class TableCollector(Collector):
    """Tables as metrics.

    Args:
        stats: answers the tables of this shard.
        redis_connected: answers whether the last write-back and the last append reached Redis.
        journal: the shard's journal.
        corrupt_records: answers how many journal records could not be replayed at start.
        may_evict: whether Redis may take rows away by itself.
    """

    def __init__(
        self,
        stats: Callable[[], Iterable[admin_pb2.TableStats]],
        redis_connected: Callable[[], bool],
        journal: Journal,
        corrupt_records: Callable[[], int],
        may_evict: bool,
    ) -> None:
        self._stats = stats
        self._redis_connected = redis_connected
        self._journal = journal
        self._corrupt_records = corrupt_records
        self._may_evict = may_evict

    def collect(self) -> Iterable[Metric]:
        tables = list(self._stats())
        for field, (name, text) in _GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=["table"])
            for table in tables:
                gauge.add_metric([table.table], getattr(table, field))
            yield gauge
        for field, (name, text) in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=["table"])
            for table in tables:
                counter.add_metric([table.table], getattr(table, field))
            yield counter
        pulled = CounterMetricFamily(
            "rowbank_pulled_rows", "Rows pulled, by what was found.", labels=["table", "status"]
        )
        for field, status in _PULLED.items():
            for table in tables:
                pulled.add_metric([table.table, status], getattr(table, field))
        yield pulled
        chances = CounterMetricFamily(
            "rowbank_second_chance_rows",
            "Evicted rows that were kept (stored), came back with their keys (returned), could not be had when these "
            "returned (missed), and made way for newer ones (expired).",
            labels=["table", "outcome"],
        )
        for field, outcome in _CHANCES.items():
            for table in tables:
                chances.add_metric([table.table, outcome], getattr(table, field))
        yield chances
        yield GaugeMetricFamily(
            "rowbank_redis_connected",
            "1 if the last write-back and the last journal append reached Redis.",
            value=float(self._redis_connected()),
        )
        yield GaugeMetricFamily(
            "rowbank_redis_may_evict",
            "1 if Redis's maxmemory-policy let it take rows away by itself when the server started.",
            value=float(self._may_evict),
        )
        yield from self._journal_metrics()

    def _journal_metrics(self) -> Iterable[Metric]:
        journal = self._journal
        for name, text, value in (
            ("rowbank_journal_bytes", "Journal in Redis that is not written back yet.", journal.stored_bytes),
            ("rowbank_journal_pending_bytes", "Journal in RAM that Redis has not taken yet.", journal.pending_bytes),
        ):
            yield GaugeMetricFamily(name, text, value=float(value))
        for name, text, value in (
            ("rowbank_journal_records", "Mutations appended to the journal.", journal.appended_records),
            ("rowbank_journal_groups", "Appends that carried them.", journal.appended_groups),
            ("rowbank_journal_waits", "Mutations that waited as the journal was nearly full.", journal.paced),
            ("rowbank_journal_corrupt_records", "Records that could not be replayed.", self._corrupt_records()),
        ):
            yield CounterMetricFamily(name, text, value=float(value))
