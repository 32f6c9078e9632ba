"""Vectors of queries: by the query tower, else near items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rowbank.errors import RequestError
from rowbank.tower_feeding import Fed, Ids, Rows, gather, usable
from rowbank.tracing import stage
from rowbank_server.retrieval.budget import ROWS_SHARE, Budget, QueryParts
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.given import left_out
from rowbank_server.retrieval.queries import Source
from rowbank_server.retrieval.rows import RowReader
from rowbank_server.retrieval.stages import explain
from rowbank_server.retrieval.stages.work import Work


def embed(parts: QueryParts, reader: RowReader, generation: Generation, batch: Sequence[Work], budget: Budget) -> None:
    """Runs the query tower for everybody of whom something is known."""
    lost = [f"rows:{loss.value}" for loss in sorted(set(generation.lost.values()))]
    for work in batch:
        if work.query.is_for_somebody:
            work.degraded += lost
    asked = [work for work in batch if work.features is not None]
    if not asked or generation.query_lost:
        return
    fed = _feed(generation, asked)
    model = generation.model
    read: dict[str, tuple[Ids, Rows]] = {}

    def lookup(keys: Mapping[str, Ids]) -> Mapping[str, Rows]:
        rows = reader.lookup(keys)
        read.update({table: (wanted, rows[table]) for table, wanted in keys.items()})
        return rows

    try:
        with stage("query.rows"):
            rows, known = parts.rows.call(
                lambda: gather(model.query_inputs.inputs, fed, lookup, own_only=True),
                within_s=budget.share_s(ROWS_SHARE),
            )
    except RequestError:
        for work in asked:
            work.degraded.append("rows:unavailable")
        return
    with stage("query.tower"):
        vectors = model.query.run(rows)
    known &= usable(vectors)
    for place, work in enumerate(asked):
        if known[place]:
            work.vector, work.source = vectors[place], Source.PERSONAL
        else:
            work.degraded.append("user:unknown")
        if work.explanation is not None:
            work.explanation.rows = explain.tables(generation, fed, place, read)


def _feed(generation: Generation, asked: Sequence[Work]) -> Fed:
    inputs = generation.model.query_inputs
    fed = inputs.feed([work.features or {} for work in asked])
    for work, is_unusable in zip(asked, fed.unusable, strict=True):
        work.defaulted = left_out(inputs, work.features or {})
        if is_unusable:
            work.degraded.append("features:unusable")
        if work.query.user_id is None and work.defaulted:
            work.degraded.append("features:defaulted")
    return fed


def fall_back(generation: Generation, work: Work) -> None:
    """Gives a query without a vector the mean vector of the items it names, or of the user's history."""
    if work.vector is not None:
        return
    near = work.query.items if work.query.items is not None else work.history
    positions = generation.positions(np.asarray(near, np.int64))
    positions = positions[generation.are_indexed(positions)]
    if len(positions):
        work.vector = generation.vectors_at(positions).mean(axis=0, dtype=np.float32)
        work.source = Source.SESSION
    elif work.query.items is not None:
        work.degraded.append("session:unknown_items")
