"""How an answer came to be, for a query that asks for it; other queries pay nothing for it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rowbank.tower_feeding import Fed, Ids, Rows, are_read
from rowbank.tower_keys import Keys, input_numbers
from rowbank_protos.v1 import models_pb2
from rowbank_server.features import FeatureStatus
from rowbank_server.retrieval.generation import Bitmap, Generation, Positions
from rowbank_server.retrieval.given import short
from rowbank_server.retrieval.index.bitmaps import bits_at, set_bits
from rowbank_server.retrieval.queries import CandidateCount, FeatureUse, ScoreParts, TableUse
from rowbank_server.retrieval.stages import over
from rowbank_server.retrieval.stages.eligible import Eligible
from rowbank_server.retrieval.stages.work import Work


def features(generation: Generation, work: Work) -> None:
    """Where the query tower had each of its features from."""
    if work.explanation is None or work.features is None:
        return
    inputs, read = generation.model.query_inputs, work.read
    age_s = max(0.0, time.time() - read.event_time_s) if read is not None and read.event_time_s > 0 else 0.0
    stale = read is not None and read.status is FeatureStatus.OUTSIDE_MAX_AGE
    for name in inputs.takes:
        field = inputs.fields.get(name)
        value = work.features.get(name)
        if name in work.given or (field is None and value is not None):
            use = FeatureUse(short(name), "given", 0.0)
        elif value is not None:
            use = FeatureUse(short(name), "stored" if _usable(generation, name, value) else "unusable", age_s)
        elif stale:
            use = FeatureUse(short(name), "stale", age_s)
        else:
            has_default = field is not None and field.default is not None
            use = FeatureUse(short(name), "default" if has_default else "missing", 0.0)
        work.explanation.features.append(use)


def _usable(generation: Generation, name: str, value: Any) -> bool:
    parts = [part for part in generation.model.query_inputs.inputs if part.feature == name and part.kind == "numbers"]
    return all(bool(input_numbers(part, [value]).there[0]) for part in parts)


def tables(generation: Generation, fed: Fed, place: int, read: Mapping[str, tuple[Ids, Rows]]) -> list[TableUse]:
    """What one query of a batch read of each table.

    Args:
        place: of the query in `fed`.
        read: by table, the distinct keys of the whole batch, ascending, and their rows.
    """
    manifest = generation.model.manifest
    keys: dict[str, list[Ids]] = {}
    for tower_input, part in zip(generation.model.query_inputs.inputs, fed.parts, strict=True):
        if isinstance(part, Keys):
            mine = part.keys[place][are_read(tower_input, part)[place]]
            keys.setdefault(tower_input.table, []).append(np.atleast_1d(mine))
    known = {table.name: table for table in manifest.tables}
    frozen = manifest.rows == models_pb2.ROWS_MODE_FROZEN
    age_s = max(0.0, time.time() - manifest.created_at_s) if frozen else 0.0
    made = []
    for table, lists in keys.items():
        mine = np.unique(np.concatenate(lists))
        all_keys, (_, found) = read[table]
        hits = int(found[np.searchsorted(all_keys, mine)].sum()) if len(mine) else 0
        step = int(known[table].step) if table in known else 0
        made.append(TableUse(table, len(mine), hits, "frozen" if frozen else "live", step, age_s))
    return made


def candidates(generation: Generation, work: Work, eligible: Eligible, *, indexed: bool) -> None:
    """How many items were left before and after each step, in the order in which they were taken out.

    Args:
        indexed: only items with a vector took part.
    """
    if work.explanation is None:
        return
    query, steps = work.query, work.explanation.candidates
    left: Bitmap = ~generation.gone
    count = _count(left)
    steps.append(CandidateCount("catalogue", count, count))
    taken_out: list[tuple[str, Bitmap | Sequence[int]]] = []
    if indexed:
        taken_out.append(("indexed", generation.unindexed))
    if work.filter is not None:
        taken_out.append(("filter", ~over.allowed(generation, work.filter)))
    if query.exclude:
        taken_out.append(("exclude", query.exclude))
    if query.exclude_seen:
        taken_out.append(("seen", [*work.seen, *(query.items or ())]))
    if query.shown:
        taken_out.append(("shown", query.shown))
    for step, out in taken_out:
        if not isinstance(out, np.ndarray):
            bits = np.zeros_like(left)
            set_bits(bits, generation.positions(np.asarray(out, np.int64)))
            out = bits
        left = left & ~out
        before, count = count, _count(left)
        steps.append(CandidateCount(step, before, count))
    indexes = dict.fromkeys(part.segment.index.describe() for part in generation.parts if len(part.segment))
    work.explanation.index = ", ".join(indexes) if indexed else ""


def named(work: Work, given: int, scored: int) -> None:
    """Of items that the caller named, how many were scored."""
    if work.explanation is not None:
        work.explanation.candidates.append(CandidateCount("candidates", given, scored))


def score_parts(
    generation: Generation, work: Work, positions: Positions, scores: Sequence[float | None]
) -> Sequence[ScoreParts | None]:
    """What the scores of items are made of; of those that were not scored by a vector, how popular they are."""
    if work.explanation is None or not len(positions):
        return [None] * len(positions)
    counts = generation.interactions_at(positions).tolist()
    if work.vector is None:
        return [ScoreParts(0.0, 0.0, {}, count) for count in counts]
    scale = generation.model.logit_scale
    dots = generation.vectors_at(positions).astype(np.float64) @ work.vector.astype(np.float64)
    added = [
        (boost.name, boost.add, bits_at(over.allowed(generation, boost.filter), positions)) for boost in work.boosts
    ]
    made = []
    for place, (dot, score, count) in enumerate(zip(dots.tolist(), scores, counts, strict=False)):
        if score is None:
            made.append(ScoreParts(0.0, 0.0, {}, count))
        else:
            boosts = {name: add for name, add, hit in added if hit[place]}
            made.append(ScoreParts(dot, scale, boosts, count))
    return made


def _count(bits: Bitmap) -> int:
    return int(np.unpackbits(bits).sum())
