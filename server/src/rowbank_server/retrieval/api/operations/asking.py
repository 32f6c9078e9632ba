"""Bodies into queries, and answers into what callers see."""

from __future__ import annotations

from rowbank.errors import UnknownItem
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.ids import ModelIds, shown_item
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.queries import Answer, Query


def recommend_query(generation: Generation, body: schemas.RecommendBody, where: str = "") -> Query:
    """As the engine asks it.

    Args:
        where: what the message says before the name of a field.
    Raises:
        InvalidRequest: an id is not of the model's kind.
    """
    model = generation.model
    ids, session, given = ModelIds.of(model), body.session_items, body.features
    return Query(
        user_id=None if body.user_id is None else ids.users.key(body.user_id, f"{where}user_id"),
        items=None if session is None else tuple(ids.items.keys(session, f"{where}session_items")),
        features=None if given is None else ids.features(model, given, body.user_id),
        k=body.k,
        exclude=tuple(ids.items.keys(body.exclude, f"{where}exclude")) if body.exclude else (),
        exclude_seen=body.exclude_seen,
        min_score=body.min_score,
    )


def similar_query(generation: Generation, body: schemas.SimilarBody) -> Query:
    """Asks for items near others.

    Raises:
        InvalidRequest: an id is not of the model's kind.
        UnknownItem: the catalogue does not have one of them.
    """
    ids = ModelIds.of(generation.model).items
    keys = ids.keys(body.item_ids, "item_ids")
    unknown = [item for item, key in zip(body.item_ids, keys, strict=True) if not len(generation.positions([key]))]
    if unknown:
        named = ", ".join(str(item) for item in unknown[:10])
        raise UnknownItem(f"the catalogue has no item {named}", metadata={"item": str(unknown[0])})
    return Query(items=tuple(keys), k=body.k, exclude=tuple(ids.keys(body.exclude, "exclude")), exclude_seen=True)


def shown_answer(answer: Answer, *, as_strings: bool, explain: bool = False) -> schemas.Recommendations:
    """An answer as callers see it."""
    return schemas.Recommendations(
        items=[
            schemas.Item(shown_item(found, as_strings=as_strings), found.score, rank, found.title)
            for rank, found in enumerate(answer.items, start=1)
        ],
        model_version=answer.model_version,
        index_version=answer.index_version,
        source=answer.source.value,
        degraded=answer.degraded,
        timings_ms=dict(answer.timings_ms) if explain else None,
        defaulted=list(answer.defaulted) if explain else None,
    )
