"""Messages turned into answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.retrieval import answers
from rowbank.retrieval.filters import filter_from_proto
from rowbank.retrieval.words import Id
from rowbank.tower_keys import HISTORY
from rowbank.traffic import Traffic
from rowbank_protos.v1 import retrieval_pb2


def recommendations(message: retrieval_pb2.RecommendResponse) -> answers.Recommendations:
    """One answer."""
    return answers.Recommendations(
        items=_ranked(message.items),
        model=message.model,
        model_version=message.model_version,
        index_version=message.index_version,
        source=message.source,
        degraded=tuple(message.degraded),
        next_cursor=message.next_cursor,
        timings_ms=dict(message.timings_ms),
        defaulted=tuple(message.defaulted),
        explanation=_explanation(message),
    )


def batch(message: retrieval_pb2.RecommendBatchResponse) -> list[answers.Recommendations]:
    """Answers in the order of the requests."""
    return [recommendations(answer) for answer in message.answers]


def scores(message: retrieval_pb2.ScoreResponse) -> answers.Scores:
    """Given items, ranked."""
    return answers.Scores(
        items=_ranked(message.items),
        unscored=tuple(answers.Unscored(one.item_text or one.item_id, one.reason) for one in message.unscored),
        model=message.model,
        model_version=message.model_version,
        index_version=message.index_version,
        source=message.source,
        degraded=tuple(message.degraded),
        timings_ms=dict(message.timings_ms),
        explanation=_explanation(message),
    )


def embeddings(message: retrieval_pb2.EmbedResponse, *, with_features: bool) -> answers.Embeddings:
    """Vectors; the last is that of given features, if there were some."""
    count, last = len(message.embeddings), len(message.embeddings) - 1
    vectors = np.full((count, message.dim), np.nan, np.float32)
    found = np.zeros(count, bool)
    ids: list[Id | None] = []
    for place, one in enumerate(message.embeddings):
        ids.append(None if with_features and place == last else one.text or one.id)
        if one.vector:
            vectors[place], found[place] = _vector(one.vector), True
    reasons = tuple(one.reason for one in message.embeddings)
    return answers.Embeddings(
        tuple(ids), vectors, found, reasons, message.model, message.model_version, message.index_version
    )


def item(message: retrieval_pb2.GetItemResponse) -> answers.StoredItem:
    """A stored item."""
    return answers.StoredItem(
        id=message.text or message.id,
        features=_features(message),
        status=message.status,
        event_time_s=message.event_time_s,
        indexed=message.indexed,
        not_indexed=message.not_indexed,
        interactions=message.interactions,
        vector=_vector(message.vector) if message.vector else None,
    )


def user(message: retrieval_pb2.GetUserResponse) -> answers.StoredUser:
    """A stored user."""
    return answers.StoredUser(message.text or message.id, _features(message), message.status, message.event_time_s)


def served_models(message: retrieval_pb2.ListServedModelsResponse) -> answers.ServedModels:
    """Versions."""
    models = tuple(
        answers.ServedModel(
            name=one.name,
            version=one.version,
            active=one.active,
            serving=one.serving,
            created_at_s=one.created_at_s,
            vector_dim=one.vector_dim,
            metrics=dict(one.metrics),
            share=one.share,
            previous=one.previous,
            shadow=one.shadow,
            index_version=one.index_version,
            items=one.items,
            index=one.index,
            memory_bytes=one.memory_bytes,
            load_s=one.load_s,
            warm_up_s=one.warm_up_s,
            problem=one.problem,
        )
        for one in message.models
    )
    return answers.ServedModels(models, message.default_model)


def activated(message: retrieval_pb2.ActivateVersionResponse) -> answers.Activated:
    """What is active now."""
    return answers.Activated(message.version, message.previous_version)


def traffic(message: retrieval_pb2.Traffic) -> Traffic:
    """Shares of versions."""
    return Traffic(dict(message.shares), message.shadow, message.active)


def named_filters(message: retrieval_pb2.ListFiltersResponse) -> list[answers.NamedFilter]:
    """Stored filters."""
    return [answers.NamedFilter(one.name, filter_from_proto(one.filter)) for one in message.filters]


def index_probe(message: retrieval_pb2.ProbeIndexResponse) -> answers.IndexProbe:
    """A probe's figures."""
    return answers.IndexProbe(
        model_version=message.model_version,
        index_version=message.index_version,
        index=message.index,
        queries=message.queries,
        k=message.k,
        recall=message.recall,
        worst_recall=message.worst_recall,
        served_p50_ms=message.served_p50_ms,
        exact_p50_ms=message.exact_p50_ms,
        items=message.items,
        eligible=message.eligible,
    )


def _ranked(messages: Iterable[retrieval_pb2.ScoredItem]) -> tuple[answers.RankedItem, ...]:
    return tuple(
        answers.RankedItem(
            id=one.item_text or one.item_id,
            score=one.score if one.scored else None,
            rank=one.rank,
            title=one.title,
            parts=_parts(one.parts) if one.HasField("parts") else None,
        )
        for one in messages
    )


def _parts(message: retrieval_pb2.ScoreParts) -> answers.ScoreParts:
    return answers.ScoreParts(message.dot, message.logit_scale, dict(message.boosts), message.interactions)


def _explanation(
    message: retrieval_pb2.RecommendResponse | retrieval_pb2.ScoreResponse,
) -> answers.Explanation | None:
    if not message.HasField("explanation"):
        return None
    told = message.explanation
    return answers.Explanation(
        features=tuple(answers.FeatureUse(one.name, one.status, one.age_s) for one in told.features),
        candidates=tuple(answers.CandidateCount(one.step, one.before, one.after) for one in told.candidates),
        rows=tuple(
            answers.TableUse(one.table, one.keys, one.found, one.mode, one.step, one.age_s) for one in told.rows
        ),
        index=told.index,
        split=told.split,
    )


def _features(message: retrieval_pb2.GetItemResponse | retrieval_pb2.GetUserResponse) -> Mapping[str, Any]:
    """Features by name; lists are tuples. Lists of items have the items' ids."""
    made: dict[str, Any] = {}
    for name, value in message.features.items():
        member = value.WhichOneof("value")
        if member is not None:
            held = getattr(value, member)
            made[name] = tuple(held.values) if member.endswith("_list") else held
    made.update({name: tuple(listed.values) for name, listed in message.item_lists.items()})
    if HISTORY in message.item_lists:  # An item of which nobody wrote the id is none there.
        made[HISTORY] = tuple(item or None for item in made[HISTORY])
    return dict(sorted(made.items()))


def _vector(data: bytes) -> npt.NDArray[np.float32]:
    return np.frombuffer(data, dtype="<f4")
