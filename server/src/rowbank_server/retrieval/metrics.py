"""Prometheus metrics of the retrieval service. Children are bound once; nothing carries an id."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rowbank_server import process_metrics
from rowbank_server.features.freshness import Freshness, FreshnessCollector
from rowbank_server.features.unreadable import Unreadable
from rowbank_server.guard import Guard
from rowbank_server.retrieval.catalogue.watching import CatalogueMetrics
from rowbank_server.retrieval.lineage import Loss
from rowbank_server.retrieval.processes.siblings import Siblings
from rowbank_server.retrieval.processes.team import Team
from rowbank_server.retrieval.queries import Answer, Source
from rowbank_server.retrieval.version_metrics import VersionMetrics

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """All of them, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        process_metrics.register(self.registry, "api")
        self._bound: dict[tuple[str, int], Histogram] = {}  # By route and status.
        self._bound_stages: dict[str, Histogram] = {}
        self._requests = Histogram(
            "rowbank_http_request_duration_seconds",
            "Time to answer an HTTP request.",
            ["route", "status"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "rowbank_retrieval_stage_seconds",
            "Time of one stage for one batch of queries.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._batch = Histogram(
            "rowbank_retrieval_batch_queries",
            "Queries that were answered together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        answers = Counter(
            "rowbank_retrieval_answers_total", "Answers by what they are based on.", ["source"], registry=self.registry
        )
        self._answers = {source: answers.labels(source.value) for source in Source}
        self._degraded = Counter(
            "rowbank_retrieval_degraded_total",
            "Answers by what was not as it should be.",
            ["reason"],
            registry=self.registry,
        )
        self._dropped = Counter(
            "rowbank_retrieval_dropped_total",
            "Queries that were not answered: overloaded, deadline or gone.",
            ["reason"],
            registry=self.registry,
        )
        self._lost = Gauge(
            "rowbank_api_tables_lost",
            "Tables of the version in service whose rows are not its own any more.",
            ["reason"],
            registry=self.registry,
        )
        self._open = Gauge(
            "rowbank_breaker_open",
            "1 while a neighbour that failed or stands still is left alone.",
            ["part"],
            registry=self.registry,
        )
        self.versions = VersionMetrics(self.registry)

        self.catalogues = CatalogueMetrics(self.registry)

    def watch_freshness(self, freshness: Freshness) -> None:
        """Shows how users' features were found and how old they were, and what was written, at each scrape."""
        self.registry.register(FreshnessCollector(freshness))

    def watch_unreadable(self, unreadable: Unreadable) -> None:
        """Shows how many entities' stored features cannot be read, at each scrape."""
        self.registry.register(_UnreadableCollector(unreadable))

    def watch(self, guards: Mapping[str, Guard]) -> None:
        """Shows the breakers of guards, by the part of the service that they guard."""
        for part, guard in guards.items():
            self._open.labels(part).set_function(functools.partial(_number, guard))

    def watch_tables(self, lost: Callable[[], Mapping[str, Loss]]) -> None:
        """Shows how many tables are lost, by reason."""
        for loss in Loss:
            self._lost.labels(loss.value).set_function(functools.partial(_count, lost, loss))

    def watch_team(self, team: Team) -> None:
        """Shows, of one of several workers, how often it was started and which others did not answer it in time."""
        starts = Gauge(
            "rowbank_api_worker_starts",
            "How often this worker was started; its counters are counted since the last time.",
            registry=self.registry,
        )
        starts.set(team.starts)
        self.registry.register(_UnansweredCollector(team.siblings))

    def request(self, route: str, status: int, seconds: float) -> None:
        """Counts one HTTP request."""
        bound = self._bound.get((route, status))
        if bound is None:
            bound = self._bound[route, status] = self._requests.labels(route, str(status))
        bound.observe(seconds)

    def stage(self, stage: str, seconds: float) -> None:
        """Times one stage of one batch."""
        bound = self._bound_stages.get(stage)
        if bound is None:
            bound = self._bound_stages[stage] = self._stages.labels(stage)
        bound.observe(seconds)

    def batch(self, queries: int) -> None:
        """Counts one batch."""
        self._batch.observe(queries)

    def dropped(self, reason: str) -> None:
        """Counts a query that is not answered."""
        self._dropped.labels(reason).inc()

    def answered(self, answer: Answer) -> None:
        """Counts one answer."""
        self._answers[answer.source].inc()
        for reason in answer.degraded:
            self._degraded.labels(reason).inc()

    def exposition(self) -> bytes:
        """The text that a scrape gets."""
        return generate_latest(self.registry)


def _number(guard: Guard) -> float:
    return float(guard.is_open)


def _count(lost: Callable[[], Mapping[str, Loss]], loss: Loss) -> float:
    return float(sum(one is loss for one in lost().values()))


class _UnansweredCollector(Collector):
    def __init__(self, siblings: Siblings) -> None:
        self._siblings = siblings

    def collect(self) -> Iterable[Metric]:
        counter = CounterMetricFamily(
            "rowbank_api_worker_unanswered_total",
            "Questions of this worker that another one did not answer in time.",
            labels=["sibling"],
        )
        for sibling, count in sorted(self._siblings.unanswered.items()):
            counter.add_metric([str(sibling)], float(count))
        yield counter


class _UnreadableCollector(Collector):
    def __init__(self, unreadable: Unreadable) -> None:
        self._unreadable = unreadable

    def collect(self) -> Iterable[Metric]:
        gauge = GaugeMetricFamily(
            "rowbank_unreadable_entities",
            "Items and users that are left out, because what is stored of them cannot be read.",
            labels=["view"],
        )
        for view, count in sorted(self._unreadable.counts().items()):
            gauge.add_metric([view], float(count))
        yield gauge
