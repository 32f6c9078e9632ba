"""How fresh features are where they are read: ages and outcomes of reads, and the newest event written, by view."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from rowbank_server.features.reading import FeatureRead, FeatureStatus

# A second to a year: features are minutes old in one view and months in another.
AGE_BUCKETS_S = (1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0, 604800.0, 2592000.0, 31536000.0)


@dataclass(slots=True)
class ViewFreshness:
    """What was seen of one view.

    Attributes:
        statuses: reads by outcome.
        ages: reads of entities that were there, by the first bucket that their age is within; the last: older.
        age_sum_s: of these.
        newest_event_s: latest event time that this process wrote; 0: none.
    """

    statuses: Counter[FeatureStatus] = field(default_factory=Counter)
    ages: list[int] = field(default_factory=lambda: [0] * (len(AGE_BUCKETS_S) + 1))
    age_sum_s: float = 0.0
    newest_event_s: float = 0.0


class Freshness:
    """Counts reads and writes by view. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._views: dict[str, ViewFreshness] = {}

    def read(self, view: str, reads: Sequence[FeatureRead], now: float) -> None:
        """Notes reads of entities, at the Unix time `now`."""
        with self._lock:
            seen = self._views.setdefault(view, ViewFreshness())
            for read in reads:
                seen.statuses[read.status] += 1
                if read.status is not FeatureStatus.NOT_FOUND:
                    age_s = max(now - read.event_time_s, 0.0)
                    seen.ages[bisect_left(AGE_BUCKETS_S, age_s)] += 1
                    seen.age_sum_s += age_s

    def wrote(self, view: str, event_time_s: float) -> None:
        """Notes that an event was written."""
        with self._lock:
            seen = self._views.setdefault(view, ViewFreshness())
            seen.newest_event_s = max(seen.newest_event_s, event_time_s)

    def forget(self, view: str) -> None:
        """The view was dropped."""
        with self._lock:
            self._views.pop(view, None)

    def views(self) -> Mapping[str, ViewFreshness]:
        """What was seen so far, by view."""
        with self._lock:
            return {
                name: ViewFreshness(Counter(seen.statuses), list(seen.ages), seen.age_sum_s, seen.newest_event_s)
                for name, seen in sorted(self._views.items())
            }


class FreshnessCollector(Collector):
    """Freshness as Prometheus metrics."""

    def __init__(self, freshness: Freshness) -> None:
        self._freshness = freshness

    def collect(self) -> Iterable[Metric]:
        status = CounterMetricFamily(
            "rowbank_feature_status", "Reads of entities' features by outcome.", labels=["view", "status"]
        )
        age = HistogramMetricFamily(
            "rowbank_feature_age_seconds", "Age of features when they were read.", labels=["view"]
        )
        newest = GaugeMetricFamily(
            "rowbank_feature_newest_event_timestamp_seconds",
            "Unix time of the newest event that this process wrote.",
            labels=["view"],
        )
        for view, seen in self._freshness.views().items():
            for outcome, count in seen.statuses.items():
                status.add_metric([view, outcome.value], float(count))
            if any(seen.ages):
                age.add_metric([view], _buckets(seen.ages), seen.age_sum_s)
            if seen.newest_event_s:
                newest.add_metric([view], seen.newest_event_s)
        yield from (status, age, newest)


def _buckets(ages: Sequence[int]) -> list[tuple[str, float]]:
    """Prometheus' buckets, which hold everything up to their bound."""
    total, buckets = 0, []
    for bound, count in zip([*map(str, AGE_BUCKETS_S), "+Inf"], ages, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
