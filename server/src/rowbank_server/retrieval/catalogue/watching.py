"""What is seen of a version's catalogue while it is followed, as Prometheus metrics by model and version."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from rowbank_server.retrieval.generation import Generation

_LAG_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
_LABELS = ("model", "version")
_ROWS = ("own", "shared")


class Watch:
    """Told by a follower what it does; this one takes no notice."""

    def swapped(self, generation: Generation) -> None:
        """A generation went into service."""

    def taken_in(self, lag_s: float) -> None:
        """All that the change feed noted can be found; the first of it was noted so long ago."""

    def rows_taken_in(self, rows: str, lag_s: float) -> None:
        """Rows that moved can be found: items' "own", or "shared" ones; the first of them moved so long ago."""

    def rows_wait(self, items: int, shared_age_s: float) -> None:
        """Items wait whose own rows moved; and a row that many share has waited so long, 0: none waits."""

    def refreshed(self) -> None:
        """Everything that is stored was looked at."""

    def merged(self) -> None:
        """Small parts became part of a new base."""


class CatalogueMetrics:
    """Thread-safe."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._fresh = Gauge(
            "rowbank_index_fresh_items",
            "Items that were changed since the base of the index was built and lie in small parts beside it.",
            _LABELS,
            registry=registry,
        )
        self._tombstones = Gauge(
            "rowbank_index_tombstones",
            "Items that were changed or removed and still lie in the index, where no search finds them.",
            _LABELS,
            registry=registry,
        )
        self._lag = Histogram(
            "rowbank_index_lag_seconds",
            "Time from the noting of a change in the change feed until a search finds it, by Redis's clock.",
            _LABELS,
            buckets=_LAG_S,
            registry=registry,
        )
        self._row_lag = Histogram(
            "rowbank_index_row_lag_seconds",
            "Time from a change of a row until a search finds what it concerns; of several at once, of the first.",
            (*_LABELS, "rows"),
            buckets=_LAG_S,
            registry=registry,
        )
        self._waiting = Gauge(
            "rowbank_index_waiting_items",
            "Items whose own rows moved and whose vectors are not made anew yet.",
            _LABELS,
            registry=registry,
        )
        self._shared_age = Gauge(
            "rowbank_index_shared_row_age_seconds",
            "How long a row that many items share and that moved has waited to be in their vectors; 0: none does.",
            _LABELS,
            registry=registry,
        )
        self._refreshes = Counter(
            "rowbank_index_refreshes_total",
            "How often everything that is stored of a catalogue was looked at.",
            _LABELS,
            registry=registry,
        )
        self._merges = Counter(
            "rowbank_index_merges_total",
            "How often the small parts of an index were merged into a new base.",
            _LABELS,
            registry=registry,
        )

    def of(self, model: str, version: str) -> Watch:
        """Counts what the follower of a version does."""
        return _Counted(
            fresh=self._fresh.labels(model, version),
            tombstones=self._tombstones.labels(model, version),
            lag=self._lag.labels(model, version),
            row_lag={rows: self._row_lag.labels(model, version, rows) for rows in _ROWS},
            waiting=self._waiting.labels(model, version),
            shared_age=self._shared_age.labels(model, version),
            refreshes=self._refreshes.labels(model, version),
            merges=self._merges.labels(model, version),
        )

    def gone(self, model: str, version: str) -> None:
        """Takes away what there is of a version that is not loaded any more."""
        families: list[Any] = [
            *(self._fresh, self._tombstones, self._lag, self._waiting, self._shared_age),
            *(self._refreshes, self._merges),
        ]
        for family in families:
            with contextlib.suppress(KeyError):
                family.remove(model, version)
        for rows in _ROWS:
            with contextlib.suppress(KeyError):
                self._row_lag.remove(model, version, rows)


class _Counted(Watch):
    def __init__(
        self,
        *,
        fresh: Gauge,
        tombstones: Gauge,
        lag: Histogram,
        row_lag: Mapping[str, Histogram],
        waiting: Gauge,
        shared_age: Gauge,
        refreshes: Counter,
        merges: Counter,
    ) -> None:
        self._fresh = fresh
        self._tombstones = tombstones
        self._lag = lag
        self._row_lag = row_lag
        self._waiting = waiting
        self._shared_age = shared_age
        self._refreshes = refreshes
        self._merges = merges

    def rows_taken_in(self, rows: str, lag_s: float) -> None:
        self._row_lag[rows].observe(lag_s)

    def rows_wait(self, items: int, shared_age_s: float) -> None:
        self._waiting.set(items)
        self._shared_age.set(shared_age_s)

    def swapped(self, generation: Generation) -> None:
        self._fresh.set(sum(part.live for part in generation.parts[1:]))
        self._tombstones.set(sum(len(part.segment) - part.live for part in generation.parts))

    def taken_in(self, lag_s: float) -> None:
        self._lag.observe(lag_s)

    def refreshed(self) -> None:
        self._refreshes.inc()

    def merged(self) -> None:
        self._merges.inc()
