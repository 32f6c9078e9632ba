"""Answers of calls into messages."""

from __future__ import annotations

from rowbank_protos.v1 import retrieval_pb2
from rowbank_server.retrieval.api import schemas


def recommendations(answer: schemas.Recommendations) -> retrieval_pb2.RecommendResponse:
    """A RecommendResponse."""
    response = retrieval_pb2.RecommendResponse(
        model_version=answer.model_version,
        index_version=answer.index_version,
        source=answer.source,
        degraded=answer.degraded,
        timings_ms=answer.timings_ms,
        defaulted=answer.defaulted,
    )
    for item in answer.items:
        is_text = isinstance(item.id, str)
        response.items.add(
            item_id=0 if is_text else item.id,
            item_text=item.id if is_text else "",
            score=item.score or 0.0,
            scored=item.score is not None,
            rank=item.rank,
            title=item.title,
        )
    return response
