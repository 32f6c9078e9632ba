"""Answers into what callers see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.ids import GivenId, shown_id
from rowbank_server.retrieval.api.operations.paging import next_cursor
from rowbank_server.retrieval.queries import Answer, Explanation, Found, Query


def shown_answer(answer: Answer, query: Query, model: str, split: str, *, as_strings: bool) -> schemas.Recommendations:
    """An answer to a question for a list.

    Args:
        split: why its version answered.
    """
    return schemas.Recommendations(
        items=shown_items(answer.items, as_strings=as_strings),
        model=model,
        model_version=answer.model_version,
        index_version=answer.index_version,
        source=answer.source.value,
        degraded=answer.degraded,
        next_cursor=next_cursor(query, model, [found.item_id for found in answer.items]) if answer.more else "",
        timings_ms=dict(answer.timings_ms) if query.explain else None,
        defaulted=list(answer.defaulted) if query.explain else None,
        explanation=_explanation(answer.explanation, split) if query.explain else None,
    )


def shown_scores(
    answer: Answer, query: Query, model: str, split: str, ids: Mapping[int, GivenId], *, as_strings: bool
) -> schemas.Scores:
    """An answer about given items.

    Args:
        ids: by key, as they were asked for.
    """
    return schemas.Scores(
        items=shown_items(answer.items, as_strings=as_strings),
        unscored=[
            schemas.Unscored(str(ids[key]) if as_strings else ids[key], reason) for key, reason in answer.unscored
        ],
        model=model,
        model_version=answer.model_version,
        index_version=answer.index_version,
        source=answer.source.value,
        degraded=answer.degraded,
        timings_ms=dict(answer.timings_ms) if query.explain else None,
        explanation=_explanation(answer.explanation, split) if query.explain else None,
    )


def shown_items(found: Sequence[Found], *, as_strings: bool) -> list[schemas.Item]:
    """Items, ranked."""
    return [
        schemas.Item(
            shown_id(one.item_id, one.text, as_strings=as_strings),
            one.score,
            rank,
            one.title,
            None if one.parts is None else schemas.ScoreParts(*one.parts[:2], dict(one.parts.boosts), one.parts[3]),
        )
        for rank, one in enumerate(found, start=1)
    ]


def _explanation(told: Explanation | None, split: str) -> schemas.Explanation:
    told = told or Explanation()
    return schemas.Explanation(
        features=[schemas.FeatureUse(*one) for one in told.features],
        candidates=[schemas.CandidateCount(*one) for one in told.candidates],
        rows=[schemas.TableUse(*one) for one in told.rows],
        index=told.index,
        split=split,
    )
