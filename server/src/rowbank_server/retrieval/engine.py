"""Answers batches of queries from one generation.

A batch is one trip through every stage: features of all its users in one pipeline, rows of all of them in one call per
table, one run of the query tower, one search. What fails on the way, or takes more than its part of the budget,
degrades an answer and never loses it: personal, else near the user's history, else popular.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rowbank import tracing
from rowbank.errors import DeadlineExceeded, NotReady, RequestError
from rowbank.tracing import stage
from rowbank_server.retrieval.budget import Budget, QueryParts
from rowbank_server.retrieval.filters.stored import StoredFilters, resolved
from rowbank_server.retrieval.filters.words import Filter
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.metrics import Metrics
from rowbank_server.retrieval.queries import Answer, Embeddings, Query
from rowbank_server.retrieval.rows import RowReader
from rowbank_server.retrieval.stages import embedding, tower
from rowbank_server.retrieval.stages.features import read_features
from rowbank_server.retrieval.stages.ranking import Trends
from rowbank_server.retrieval.stages.search import Search
from rowbank_server.retrieval.stages.starting import start
from rowbank_server.retrieval.stages.work import Work

_ALIKE = 2.0  # Queries whose time left differs by less than this factor are answered together.

# The stored filters of a model by name, in JSON.
ReadFilters = Callable[[], Mapping[str, Any]]


class Engine:
    """Thread-safe.

    Args:
        current: the generation to answer from; None while there is none.
        problem: why there is none, for the error.
        parts: guards what queries wait for, and says how long they may.
        read_filters: called where a query names a stored filter; it may wait for Redis.
        trends: what is popular in windows of time, if that is known.
        counts_reads: whether reads of users count in what is shown of features; not those that nobody asked for.
    """

    def __init__(
        self,
        current: Callable[[], Generation | None],
        problem: Callable[[], str],
        rows: RowReader,
        metrics: Metrics,
        parts: QueryParts,
        read_filters: ReadFilters = dict,
        trends: Trends | None = None,
        *,
        counts_reads: bool = True,
    ) -> None:
        self._current = current
        self._problem = problem
        self._rows = rows
        self._metrics = metrics
        self._parts = parts
        self._read_filters = read_filters
        self._trends = trends
        self._counts_reads = counts_reads

    def generation(self) -> Generation:
        """The generation in service.

        Raises:
            NotReady: there is none; the message says what to do.
        """
        generation = self._current()
        if generation is None:
            raise NotReady(self._problem() or "no model is loaded yet; try again in a moment")
        return generation

    def answer(self, queries: Sequence[Query], arrived_s: float) -> list[Answer | RequestError]:
        """One answer or error per query, in their order, all from one generation.

        A query with a deadline of its own has no more time than that. Those with much less time than others are
        answered before them, so that nobody's deadline takes time from others.

        Args:
            arrived_s: when the first of them came, by `time.monotonic`.
        Raises:
            NotReady: there is no generation.
        """
        generation = self.generation()
        budget = self._parts.budget(arrived_s)
        answers: list[Answer | RequestError | None] = [None] * len(queries)
        for places, own in by_time(queries, budget, time.monotonic()):
            made = self._answer(generation, [queries[place] for place in places], own, arrived_s)
            for place, answer in zip(places, made, strict=True):
                answers[place] = answer
        return [answer for answer in answers if answer is not None]

    def embed(
        self, users: Sequence[int] = (), features: Mapping[str, Any] | None = None, items: Sequence[int] = ()
    ) -> Embeddings:
        """Vectors of stored users, then of one who is described by features, then of items. It may wait for Redis and
        the parameter server, as long as a query does.

        Raises:
            NotReady: there is no generation.
            InvalidRequest: the query tower does not take these features.
        """
        generation, vectors = self.generation(), []
        queries = [Query(user_id=user) for user in users]
        if features is not None:
            queries.append(Query(features=features))
        if queries:
            started = [start(generation, query, lambda one: one, time.time()) for query in queries]
            for one in started:
                if isinstance(one, RequestError):
                    raise one
            batch = [one for one in started if isinstance(one, Work)]
            budget = self._parts.budget(time.monotonic())
            read_features(self._parts, generation, batch, budget, count=self._counts_reads)
            tower.embed(self._parts, self._rows, generation, batch, budget)
            vectors = embedding.user_vectors(batch)
        vectors += embedding.item_vectors(generation, items)
        return Embeddings(vectors, generation.model.version, generation.index_version)

    def _answer(
        self, generation: Generation, queries: Sequence[Query], budget: Budget, arrived_s: float
    ) -> list[Answer | RequestError]:
        watch = _Stopwatch(self._metrics, time.monotonic() - arrived_s)
        started = self._start(generation, queries)
        batch = [work for work in started if isinstance(work, Work)]
        with stage("query.features"):
            read_features(self._parts, generation, batch, budget, count=self._counts_reads)
        watch.lap("features")
        tower.embed(self._parts, self._rows, generation, batch, budget)
        watch.lap("rows_and_tower")
        for work in batch:
            tower.fall_back(generation, work)
        answers = Search(generation, self._trends).answers(batch)
        _note(generation, batch)
        watch.lap("search")
        for answer in answers:
            if isinstance(answer, Answer):
                answer.timings_ms = watch.laps_ms
                self._metrics.answered(answer)
        in_order = iter(answers)
        return [next(in_order) if isinstance(work, Work) else work for work in started]

    def _start(self, generation: Generation, queries: Sequence[Query]) -> list[Work | RequestError]:
        now_s, now = time.time(), time.monotonic()
        stored: list[StoredFilters] = []  # Read once a batch, and only if a query names one.

        def resolve(given: Filter) -> Filter:
            def get(name: str) -> Filter:
                if not stored:
                    stored.append(StoredFilters(dict(self._read_filters()), generation.filter_fields))
                return stored[0].get(name)

            return resolved(given, get)

        return [
            _late()
            if query.deadline_s is not None and query.deadline_s <= now
            else start(generation, query, resolve, now_s)
            for query in queries
        ]


def _note(generation: Generation, batch: Sequence[Work]) -> None:
    """Says in the batch's span what it was answered from."""
    span = tracing.current()
    if span.recording:
        span.note(
            {
                "rowbank.model": generation.model.manifest.name,
                "rowbank.model_version": generation.model.version,
                "rowbank.index_version": generation.index_version,
                "rowbank.degraded": sorted({why for work in batch for why in work.degraded}),
            }
        )


def _late() -> DeadlineExceeded:
    return DeadlineExceeded("the deadline passed before the query was begun; allow more time, or try again later")


def by_time(queries: Sequence[Query], budget: Budget, now: float) -> list[tuple[list[int], Budget]]:
    """Places of queries with about the same time left, and that time; the most urgent first."""
    if all(query.deadline_s is None for query in queries):
        return [(list(range(len(queries))), budget)]
    ends = [min(budget.deadline_s, query.deadline_s or budget.deadline_s) for query in queries]
    groups: list[tuple[list[int], Budget]] = []
    for place in sorted(range(len(queries)), key=ends.__getitem__):
        if groups and ends[place] - now <= _ALIKE * max(0.0, groups[-1][1].deadline_s - now):
            groups[-1][0].append(place)
        else:
            groups.append(([place], Budget(ends[place])))
    return groups


class _Stopwatch:
    """Milliseconds per stage, also to the metrics.

    Args:
        waited_s: how long the first query of the batch had waited.
    """

    def __init__(self, metrics: Metrics, waited_s: float) -> None:
        self._metrics = metrics
        self._last = time.perf_counter()
        self.laps_ms: dict[str, float] = {"queue": round(waited_s * 1e3, 3)}

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps_ms[stage] = round((now - self._last) * 1e3, 3)
        self._metrics.stage(stage, now - self._last)
        self._last = now
