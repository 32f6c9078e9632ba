"""Answers of calls into messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rowbank_protos.v1 import retrieval_pb2
from rowbank_server.features.values import FeatureType, fill_message
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.operations.bulk import Outcome
from rowbank_server.retrieval.filters.proto import filter_to_proto


def recommendations(answer: schemas.Recommendations) -> retrieval_pb2.RecommendResponse:
    """A RecommendResponse."""
    return retrieval_pb2.RecommendResponse(
        items=_items(answer.items),
        model=answer.model,
        model_version=answer.model_version,
        index_version=answer.index_version,
        source=answer.source,
        degraded=answer.degraded,
        next_cursor=answer.next_cursor,
        timings_ms=answer.timings_ms,
        defaulted=answer.defaulted,
        explanation=_explanation(answer.explanation),
    )


def batch(answer: schemas.RecommendationsBatch) -> retrieval_pb2.RecommendBatchResponse:
    """A RecommendBatchResponse."""
    return retrieval_pb2.RecommendBatchResponse(answers=map(recommendations, answer.answers))


def scores(answer: schemas.Scores) -> retrieval_pb2.ScoreResponse:
    """A ScoreResponse."""
    return retrieval_pb2.ScoreResponse(
        items=_items(answer.items),
        unscored=[
            retrieval_pb2.UnscoredItem(**_named("item_id", "item_text", one.id), reason=one.reason)
            for one in answer.unscored
        ],
        model=answer.model,
        model_version=answer.model_version,
        index_version=answer.index_version,
        source=answer.source,
        degraded=answer.degraded,
        explanation=_explanation(answer.explanation),
        timings_ms=answer.timings_ms,
    )


def embeddings(answer: schemas.Embeddings) -> retrieval_pb2.EmbedResponse:
    """An EmbedResponse."""
    return retrieval_pb2.EmbedResponse(
        embeddings=[
            retrieval_pb2.Embedding(
                **({} if one.id is None else _named("id", "text", one.id)),
                vector=_packed(one.vector),
                reason=one.reason,
            )
            for one in answer.embeddings
        ],
        model=answer.model,
        model_version=answer.model_version,
        index_version=answer.index_version,
        dim=answer.dim,
    )


def item(answer: schemas.CatalogueItem) -> retrieval_pb2.GetItemResponse:
    """A GetItemResponse."""
    response = retrieval_pb2.GetItemResponse(
        **_named("id", "text", answer.id),
        status=answer.status,
        event_time_s=answer.event_time_s,
        indexed=answer.indexed,
        interactions=answer.interactions,
        not_indexed=answer.not_indexed,
        vector=_packed(answer.vector),
    )
    _fill_features(response, answer.features)
    return response


def user(answer: schemas.Entity) -> retrieval_pb2.GetUserResponse:
    """A GetUserResponse."""
    response = retrieval_pb2.GetUserResponse(
        **_named("id", "text", answer.id), status=answer.status, event_time_s=answer.event_time_s
    )
    _fill_features(response, answer.features)
    return response


def written(outcome: Outcome) -> retrieval_pb2.UpsertEntitiesResponse:
    """An UpsertEntitiesResponse."""
    return retrieval_pb2.UpsertEntitiesResponse(
        written=outcome.written,
        outdated=outcome.outdated,
        errors=[
            retrieval_pb2.EntityError(index=place, reason=fault.reason, message=fault.message)
            for place, fault in sorted(outcome.faults.items())
        ],
    )


def removed(answer: schemas.Removed) -> retrieval_pb2.DeleteItemResponse:
    """A DeleteItemResponse."""
    return retrieval_pb2.DeleteItemResponse()


def recorded(answer: schemas.Recorded) -> retrieval_pb2.RecordEventsResponse:
    """A RecordEventsResponse."""
    return retrieval_pb2.RecordEventsResponse(users=answer.users, events=answer.events, repeats=answer.repeats)


def filters(answer: schemas.StoredFilters) -> retrieval_pb2.ListFiltersResponse:
    """A ListFiltersResponse."""
    return retrieval_pb2.ListFiltersResponse(
        filters=[retrieval_pb2.NamedFilter(name=one.name, filter=filter_to_proto(one.filter)) for one in answer.filters]
    )


def models(answer: schemas.ModelVersions) -> retrieval_pb2.ListServedModelsResponse:
    """A ListServedModelsResponse."""
    return retrieval_pb2.ListServedModelsResponse(
        models=[retrieval_pb2.ServedModel(**_fields(one)) for one in answer.models],
        default_model=answer.default_model,
    )


def traffic(answer: schemas.TrafficSplit) -> retrieval_pb2.Traffic:
    """A Traffic."""
    return retrieval_pb2.Traffic(**_fields(answer))


def probe(answer: schemas.ProbeReport) -> retrieval_pb2.ProbeIndexResponse:
    """A ProbeIndexResponse."""
    return retrieval_pb2.ProbeIndexResponse(**_fields(answer))


def activated(answer: schemas.Activated) -> retrieval_pb2.ActivateVersionResponse:
    """An ActivateVersionResponse."""
    return retrieval_pb2.ActivateVersionResponse(version=answer.version, previous_version=answer.previous_version)


def _items(items: Iterable[schemas.Item]) -> list[retrieval_pb2.ScoredItem]:
    return [
        retrieval_pb2.ScoredItem(
            **_named("item_id", "item_text", one.id),
            score=one.score or 0.0,
            scored=one.score is not None,
            rank=one.rank,
            title=one.title,
            parts=None if one.parts is None else retrieval_pb2.ScoreParts(**_fields(one.parts)),
        )
        for one in items
    ]


def _named(number: str, text: str, given: int | str) -> dict[str, Any]:
    return {text: given} if isinstance(given, str) else {number: given}


def _explanation(told: schemas.Explanation | None) -> retrieval_pb2.Explanation | None:
    if told is None:
        return None
    return retrieval_pb2.Explanation(
        features=[retrieval_pb2.FeatureUse(**_fields(one)) for one in told.features],
        candidates=[retrieval_pb2.CandidateCount(**_fields(one)) for one in told.candidates],
        rows=[retrieval_pb2.TableUse(**_fields(one)) for one in told.rows],
        index=told.index,
        split=told.split,
    )


def _fields(of: Any) -> dict[str, Any]:
    return {name: getattr(of, name) for name in of.__struct_fields__}


def _packed(vector: list[float] | None) -> bytes:
    return b"" if vector is None else np.asarray(vector, "<f4").tobytes()


def _fill_features(
    message: retrieval_pb2.GetItemResponse | retrieval_pb2.GetUserResponse, features: Mapping[str, Any]
) -> None:
    """Features by the types that their values have; a list of items' texts, in which one may be missing, as texts."""
    for name, value in features.items():
        if isinstance(value, list) and value and all(one is None or isinstance(one, str) for one in value):
            message.item_lists[name].values.extend(one or "" for one in value)
        else:
            fill_message(message.features[name], value, _type(value))


def _type(value: Any) -> FeatureType:
    if isinstance(value, list):
        if value and isinstance(value[0], float):
            return FeatureType.FLOAT_LIST
        return FeatureType.INT64_LIST
    kinds = {bool: FeatureType.BOOL, int: FeatureType.INT64, float: FeatureType.DOUBLE}
    return kinds.get(type(value), FeatureType.STRING)
