"""Prometheus metrics of models and their versions: what each answers, and how a shadow compares.

The labels are names of models and of versions that this process has loaded, so there are few; those of a version go
with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.index.probe import Probe
from rowbank_server.retrieval.queries import Answer
from rowbank_server.retrieval.segments import Standing

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_OVERLAPS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_DIFFERENCES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_OF_VERSION = ("model", "version")


class VersionMetrics:
    """Thread-safe."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(name, text, _OF_VERSION, buckets=buckets, registry=registry)

        self._answers = Counter(
            "rowbank_model_answers_total", "Answers of a version to users.", _OF_VERSION, registry=registry
        )
        self._degraded = Counter(
            "rowbank_model_degraded_total",
            "Answers of a version of which something was not as it should be.",
            _OF_VERSION,
            registry=registry,
        )
        self._seconds = histogram(
            "rowbank_model_answer_seconds", "Time from a query's arrival to its answer, by version.", _SECONDS
        )
        self._shadowed = Counter(
            "rowbank_shadow_queries_total",
            "Queries that a shadow was to answer, by how that ended.",
            ["model", "version", "outcome"],
            registry=registry,
        )
        self._overlap = histogram(
            "rowbank_shadow_overlap", "Which part of an answer's items the shadow's answer has, too.", _OVERLAPS
        )
        self._difference = histogram(
            "rowbank_shadow_top_score_difference", "How far the shadow's best score is from the answer's.", _DIFFERENCES
        )
        self._shadow_seconds = histogram(
            "rowbank_shadow_answer_seconds", "Time that a shadow took to answer.", _SECONDS
        )
        self._loading = Gauge(
            "rowbank_model_load_seconds",
            "Time that a version took to load and to warm up.",
            ["model", "version", "part"],
            registry=registry,
        )
        self._memory = Gauge(
            "rowbank_model_memory_bytes",
            "Memory of a loaded version: index, features and towers.",
            _OF_VERSION,
            registry=registry,
        )
        self._info = Gauge("rowbank_model_info", "1 for the active version.", _OF_VERSION, registry=registry)
        self._items = Gauge("rowbank_index_items", "Items that a search can find.", ["model"], registry=registry)
        self._catalogue = Gauge(
            "rowbank_catalogue_items",
            "Items of the item view, found by a search or not.",
            ["model"],
            registry=registry,
        )
        self._unindexed = Gauge(
            "rowbank_unindexed_items",
            "Items of the catalogue that a search cannot find, by reason.",
            ["model", "reason"],
            registry=registry,
        )
        self._swaps = Counter(
            "rowbank_index_swaps_total", "Generations put into service.", ["model"], registry=registry
        )
        self._recall = Gauge(
            "rowbank_index_recall",
            "Share of the exact answers' items that the last probe of a version found.",
            _OF_VERSION,
            registry=registry,
        )
        self._probe_items = Counter(
            "rowbank_index_probe_items_total",
            "Items of the exact answers to the queries of probes: found by what is served, or missed.",
            ["model", "version", "result"],
            registry=registry,
        )
        self._active: dict[str, str] = {}
        self._bound: dict[tuple[str, str], tuple[Counter, Histogram]] = {}  # What each answer counts, by version.

    def answered(self, model: str, version: str, answer: Answer, took_s: float) -> None:
        """Counts and times one answer to somebody."""
        bound = self._bound.get((model, version))
        if bound is None:
            bound = self._answers.labels(model, version), self._seconds.labels(model, version)
            self._bound[model, version] = bound
        answers, seconds = bound
        answers.inc()
        seconds.observe(took_s)
        if answer.degraded:
            self._degraded.labels(model, version).inc()

    def shadow_ended(self, model: str, version: str, outcome: str) -> None:
        """Counts a query to a shadow that "failed", or was "dropped" because it was busy."""
        self._shadowed.labels(model, version, outcome).inc()

    def shadow_compared(
        self, model: str, version: str, took_s: float, overlap: float, top_difference: float | None
    ) -> None:
        """Counts and times an answer of a shadow, and how it compares."""
        self._shadowed.labels(model, version, "compared").inc()
        self._shadow_seconds.labels(model, version).observe(took_s)
        self._overlap.labels(model, version).observe(overlap)
        if top_difference is not None:
            self._difference.labels(model, version).observe(top_difference)

    def loaded(self, model: str, version: str, load_s: float, warm_up_s: float, memory_bytes: int) -> None:
        """Describes a version that was loaded."""
        self._loading.labels(model, version, "load").set(load_s)
        self._loading.labels(model, version, "warm_up").set(warm_up_s)
        self._memory.labels(model, version).set(memory_bytes)

    def swapped(self, generation: Generation, memory_bytes: int) -> None:
        """Describes a generation of an active version that went into service."""
        model, version = generation.model.manifest.name, generation.model.version
        before = self._active.get(model)
        if before != version:
            self._active[model] = version
            self._info.labels(model, version).set(1)
            if before is not None:
                self._info.remove(model, before)
        self._items.labels(model).set(generation.indexed_count)
        self._catalogue.labels(model).set(generation.item_count)
        self._memory.labels(model, version).set(memory_bytes)
        for standing in Standing:
            if standing is not Standing.INDEXED:
                self._unindexed.labels(model, standing.name.lower()).set(generation.tally[standing])
        self._swaps.labels(model).inc()

    def probed(self, model: str, version: str, probe: Probe) -> None:
        """Shows what a probe of a version measured."""
        self._recall.labels(model, version).set(probe.recall)
        self._probe_items.labels(model, version, "found").inc(probe.found)
        self._probe_items.labels(model, version, "missed").inc(probe.wanted - probe.found)

    def version_gone(self, model: str, version: str) -> None:
        """Takes away what there is of a version that is not loaded any more."""
        self._bound.pop((model, version), None)
        for family in (
            self._answers,
            self._degraded,
            self._seconds,
            self._overlap,
            self._difference,
            self._shadow_seconds,
            self._memory,
            self._recall,
        ):
            _remove(family, model, version)
        for outcome in ("compared", "failed", "dropped"):
            _remove(self._shadowed, model, version, outcome)
        for result in ("found", "missed"):
            _remove(self._probe_items, model, version, result)
        for part in ("load", "warm_up"):
            _remove(self._loading, model, version, part)

    def model_gone(self, model: str) -> None:
        """Takes away what there is of a model that is not served any more."""
        version = self._active.pop(model, None)
        if version is not None:
            _remove(self._info, model, version)
        for family in (self._items, self._catalogue, self._swaps):
            _remove(family, model)
        for standing in Standing:
            _remove(self._unindexed, model, standing.name.lower())


def _remove(family: Any, *labels: str) -> None:
    """Removes a child, if there is one."""
    try:
        family.remove(*labels)
    except KeyError:
        return
