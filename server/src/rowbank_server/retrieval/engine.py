"""Answers batches of queries from one generation.

A batch is one trip through every stage: features of all its users in one pipeline, rows of all of them in one call per
table, one run of the query tower, one search. What fails on the way, or takes more than its part of the budget,
degrades an answer and never loses it: personal, else near the user's history, else popular.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.errors import InvalidRequest, NotReady, RequestError
from rowbank.tower_feeding import gather, usable
from rowbank.tower_keys import HISTORY
from rowbank_server.features import FeatureRead, FeatureStatus, LayeredView
from rowbank_server.registry.inputs import TowerInputs
from rowbank_server.registry.model import Model
from rowbank_server.retrieval.budget import FEATURES_SHARE, ROWS_SHARE, Budget, QueryParts
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.given import given_features, left_out
from rowbank_server.retrieval.metrics import Metrics
from rowbank_server.retrieval.parts import with_bits
from rowbank_server.retrieval.queries import Answer, Found, Query, Source
from rowbank_server.retrieval.rows import RowReader


@dataclass(slots=True)
class _Work:
    """A query on its way through the stages."""

    query: Query
    given: Mapping[str, Any]  # Features that came with the query; they count before stored ones.
    features: Mapping[str, Any] | None = None  # Of the query tower, by name.
    history: Sequence[int] = ()
    vector: npt.NDArray[np.float32] | None = None
    source: Source = Source.POPULAR
    degraded: list[str] = field(default_factory=list)
    defaulted: tuple[str, ...] = ()


class Engine:
    """Thread-safe.

    Args:
        current: the generation to answer from; None while there is none.
        problem: why there is none, for the error.
        parts: guards what queries wait for, and says how long they may.
    """

    def __init__(
        self,
        current: Callable[[], Generation | None],
        problem: Callable[[], str],
        rows: RowReader,
        metrics: Metrics,
        parts: QueryParts,
    ) -> None:
        self._current = current
        self._problem = problem
        self._rows = rows
        self._metrics = metrics
        self._parts = parts

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

        Args:
            arrived_s: when the first of them came, by `time.monotonic`.
        Raises:
            NotReady: there is no generation.
        """
        generation = self.generation()
        budget = self._parts.budget(arrived_s)
        watch = _Stopwatch(self._metrics)
        started = [_start(generation, query) for query in queries]
        batch = [work for work in started if isinstance(work, _Work)]
        self._read_features(generation, batch, budget)
        watch.lap("features")
        self._embed(generation, batch, budget)
        watch.lap("rows_and_tower")
        for work in batch:
            _fall_back(generation, work)
        answers = _search(generation, batch)
        watch.lap("search")
        for answer in answers:
            answer.timings_ms = watch.laps_ms
            self._metrics.answered(answer)
        in_order = iter(answers)
        return [next(in_order) if isinstance(work, _Work) else work for work in started]

    def _read_features(self, generation: Generation, batch: list[_Work], budget: Budget) -> None:
        """Fills in the features and histories of stored users."""
        model = generation.model
        inputs = model.query_inputs
        stored = [work for work in batch if work.query.user_id is not None]
        names = list(dict.fromkeys([*inputs.names, *([HISTORY] if model.has_history else [])]))
        for work in stored:
            work.features = {inputs.entity: work.query.user_id, **work.given}
        if model.users is None or not stored or not names:
            return
        view = model.users
        reads = self._read_users(inputs, view, stored, names, budget)
        view.store.freshness.read(view.written, [read for read in reads if read is not None], time.time())
        for work, read in zip(stored, reads, strict=True):
            if read is None:
                work.degraded.append("features:unavailable")
                continue
            if read.status is FeatureStatus.OUTSIDE_MAX_AGE:
                work.degraded.append("features:outside_max_age")
            history = read.values.get(HISTORY, [])
            work.history = history if isinstance(history, list) else []  # type: ignore[assignment]
            named = {f"{view.base}:{name}": value for name, value in read.held.items()}
            work.features = {inputs.entity: read.entity, **named, **work.given}

    def _read_users(
        self, inputs: TowerInputs, view: LayeredView, stored: list[_Work], names: list[str], budget: Budget
    ) -> Sequence[FeatureRead | None]:
        """One read per user; None for those that cannot be read, of whom one does not cost the others theirs."""
        users = [work.query.user_id or 0 for work in stored]
        try:
            reads = self._parts.features.call(
                lambda: _sound_reads(inputs, view, users, names), within_s=budget.share_s(FEATURES_SHARE)
            )
        except RequestError:
            return [None] * len(users)
        found = {read.entity: read for read in reads}
        return [found.get(user) for user in users]

    def _embed(self, generation: Generation, batch: list[_Work], budget: Budget) -> None:
        """Runs the query tower for everybody of whom something is known."""
        lost = [f"rows:{loss.value}" for loss in sorted(set(generation.lost.values()))]
        for work in batch:
            if work.query.is_for_somebody:
                work.degraded += lost
        asked = [work for work in batch if work.features is not None]
        if not asked or generation.query_lost:
            return
        model = generation.model
        fed = model.query_inputs.feed([work.features or {} for work in asked])
        for work, is_unusable in zip(asked, fed.unusable, strict=True):
            work.defaulted = left_out(model.query_inputs, work.features or {})
            if is_unusable:
                work.degraded.append("features:unusable")
            if work.query.user_id is None and work.defaulted:
                work.degraded.append("features:defaulted")
        try:
            rows, known = self._parts.rows.call(
                lambda: gather(model.query_inputs.inputs, fed, self._rows.lookup, own_only=True),
                within_s=budget.share_s(ROWS_SHARE),
            )
        except RequestError:
            for work in asked:
                work.degraded.append("rows:unavailable")
            return
        vectors = model.query.run(rows)
        known &= usable(vectors)
        for work, vector, is_known in zip(asked, vectors, known, strict=True):
            if is_known:
                work.vector, work.source = vector, Source.PERSONAL
            else:
                work.degraded.append("user:unknown")


def _sound_reads(
    inputs: TowerInputs, view: LayeredView, users: Sequence[int], names: Sequence[str]
) -> list[FeatureRead]:
    inputs.require_types(view)
    return view.read_sound(users, names, note=False)


def _start(generation: Generation, query: Query) -> _Work | RequestError:
    """Checks what can only be checked against the model; a query that fails is answered with the error."""
    try:
        given = {} if query.features is None else given_features(generation.model.query_inputs, query)
        if query.exclude_seen:
            _check_seen(generation.model, query)
    except RequestError as error:
        return error
    return _Work(query, given, features=given if query.features is not None else None)


def _check_seen(model: Model, query: Query) -> None:
    """Refuses `exclude_seen` where nothing says what was seen; it is never just left undone."""
    if query.items is not None:
        return
    if query.user_id is None:
        raise InvalidRequest(
            "exclude_seen: nobody's history is known without a user_id; give user_id as well, or name the items in "
            "exclude"
        )
    if not model.has_history:
        raise InvalidRequest(
            f"exclude_seen: model {model.manifest.name!r} {model.version} keeps no histories (its users have no "
            f"feature {HISTORY!r}); name the items in exclude"
        )


def _fall_back(generation: Generation, work: _Work) -> None:
    """Gives a query without a vector the mean vector of the items it names, or of the user's history."""
    if work.vector is not None:
        return
    near = work.query.items if work.query.items is not None else work.history
    positions = generation.positions(near)
    positions = positions[generation.are_indexed(positions)]
    if len(positions):
        work.vector = generation.vectors_at(positions).mean(axis=0, dtype=np.float32)
        work.source = Source.SESSION
    elif work.query.items is not None:
        work.degraded.append("session:unknown_items")


def _excluded(generation: Generation, work: _Work) -> npt.NDArray[np.int64]:
    """Positions that may not be in the answer."""
    unwanted = list(work.query.exclude)
    if work.query.exclude_seen:
        unwanted += [*work.history, *(work.query.items or ())]
    return generation.positions(unwanted)


def _search(generation: Generation, batch: list[_Work]) -> list[Answer]:
    """Answers every query of the batch: those with a vector by one search, all of them filled up to k."""
    excluded = [_excluded(generation, work) for work in batch]
    hits: dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]] = {}
    scored = [i for i, work in enumerate(batch) if work.vector is not None]
    if scored and generation.span:
        bitmaps = np.stack([with_bits(generation.unindexed, excluded[i]) for i in scored])
        vectors = np.stack([_vector(batch[i]) for i in scored])
        k = min(max(batch[i].query.k for i in scored), generation.item_count)
        positions, scores = generation.search(vectors, max(k, 1), bitmaps)
        for row, i in enumerate(scored):
            kept = positions[row, : batch[i].query.k] >= 0
            hits[i] = positions[row, : len(kept)][kept], scores[row, : len(kept)][kept]
    return [_answer(generation, work, excluded[i], hits.get(i)) for i, work in enumerate(batch)]


def _vector(work: _Work) -> npt.NDArray[np.float32]:
    assert work.vector is not None
    return work.vector


def _answer(
    generation: Generation,
    work: _Work,
    excluded: npt.NDArray[np.int64],
    hits: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]] | None,
) -> Answer:
    query, scale = work.query, generation.model.logit_scale
    items: list[Found] = []
    taken = excluded
    if hits is not None:
        positions, scores = hits
        taken = np.concatenate([excluded, positions])
        for position, score in zip(positions.tolist(), (scores * scale).tolist(), strict=True):
            if query.min_score is None or score >= query.min_score:
                items.append(generation.found(position, score))
    if len(items) < query.k and (hits is None or query.min_score is None):
        fill = generation.most_popular(~with_bits(generation.gone, taken), query.k - len(items))
        if hits is not None and len(fill):
            work.degraded.append("filled:popular")
        for position, count in zip(fill.tolist(), generation.interactions_at(fill).tolist(), strict=True):
            if hits is None and query.min_score is not None and count < query.min_score:
                break  # Counts only fall from here.
            items.append(generation.found(position, float(count) if hits is None else None))
    source = work.source if hits is not None else Source.POPULAR
    return Answer(items, source, generation.model.version, generation.index_version, work.degraded, work.defaulted)


class _Stopwatch:
    """Milliseconds per stage, also to the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._last = time.perf_counter()
        self.laps_ms: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps_ms[stage] = round((now - self._last) * 1e3, 3)
        self._metrics.stage(stage, now - self._last)
        self._last = now
