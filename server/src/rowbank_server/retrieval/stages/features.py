"""The features and histories of stored users, all of a batch in one request."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rowbank.errors import RequestError
from rowbank.tower_keys import HISTORY
from rowbank_server.features import FeatureRead, FeatureStatus, LayeredView
from rowbank_server.registry.inputs import TowerInputs
from rowbank_server.retrieval.budget import FEATURES_SHARE, Budget, QueryParts
from rowbank_server.retrieval.events.seen import seen_features, seen_items
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.stages.work import Work


def read_features(
    parts: QueryParts, generation: Generation, batch: Sequence[Work], budget: Budget, *, count: bool
) -> None:
    """Fills in the features, histories and seen items of stored users.

    Args:
        count: whether the reads count in what is shown of features.
    """
    model = generation.model
    inputs = model.query_inputs
    stored = [work for work in batch if work.query.user_id is not None]
    for work in stored:
        work.features = {inputs.entity: work.query.user_id, **work.given}
    names = list(dict.fromkeys([*inputs.names, *([HISTORY] if model.has_history else [])]))
    if model.users is None or not stored or not names:
        return
    view = model.users
    by_kind = any(work.query.exclude_seen and work.query.seen_kinds is not None for work in stored)
    reads = _read_users(parts, inputs, view, stored, names, budget, by_kind=by_kind)
    if count:
        view.store.freshness.read(view.written, [read for read in reads if read is not None], time.time())
    for work, read in zip(stored, reads, strict=True):
        if read is None:
            work.degraded.append("features:unavailable")
        else:
            _take(view, inputs, work, read)


def _take(view: LayeredView, inputs: TowerInputs, work: Work, read: FeatureRead) -> None:
    if read.status is FeatureStatus.OUTSIDE_MAX_AGE:
        work.degraded.append("features:outside_max_age")
    work.read = read
    history = read.values.get(HISTORY, [])
    work.history = history if isinstance(history, list) else []  # type: ignore[assignment]
    if work.query.exclude_seen:
        kinds = work.query.seen_kinds
        work.seen = work.history if kinds is None else seen_items(view, read, kinds)
    wanted = inputs.fields
    named = {name: value for short, value in read.held.items() if (name := f"{view.base}:{short}") in wanted}
    work.features = {inputs.entity: read.entity, **named, **work.given}


def _read_users(
    parts: QueryParts,
    inputs: TowerInputs,
    view: LayeredView,
    stored: Sequence[Work],
    names: Sequence[str],
    budget: Budget,
    *,
    by_kind: bool,
) -> Sequence[FeatureRead | None]:
    """One read per user; None for those that cannot be read, of whom one does not cost the others theirs."""
    users = [work.query.user_id or 0 for work in stored]

    def read() -> list[FeatureRead]:
        inputs.require_types(view)
        return view.read_sound(users, [*names, *(seen_features(view) if by_kind else [])], note=False)

    try:
        reads = parts.features.call(read, within_s=budget.share_s(FEATURES_SHARE))
    except RequestError:
        return [None] * len(users)
    found = {read.entity: read for read in reads}
    return [found.get(user) for user in users]
