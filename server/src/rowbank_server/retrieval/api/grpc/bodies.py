"""Messages into the bodies that calls over HTTP have, which are checked as those are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rowbank.errors import InvalidRequest
from rowbank_protos.v1 import features_pb2, retrieval_pb2
from rowbank_server.retrieval.filters.proto import boosts_to_json, diversity_to_json, filter_to_json


def recommend(request: retrieval_pb2.RecommendRequest, where: str = "") -> dict[str, Any]:
    """A RecommendBody's fields. Raises InvalidRequest: the message says something that JSON could not."""
    if request.HasField("seen_rule") and not request.exclude_seen:
        raise InvalidRequest(
            f"{where}seen_rule: it says which items count as seen, and exclude_seen is not set; set it, or leave the "
            "rule out",
            metadata={"field": f"{where}seen_rule"},
        )
    seen = list(request.seen_rule.kinds) or request.exclude_seen
    body = {**_subject(request), **_listed(request, where), **_scored(request, where), "exclude_seen": seen}
    return {**body, **({"features": features(request.features, where)} if request.features else {})}


def recommend_batch(request: retrieval_pb2.RecommendBatchRequest) -> dict[str, Any]:
    """A RecommendBatchBody's fields."""
    return {"requests": [recommend(one, f"requests.{place}.") for place, one in enumerate(request.requests)]}


def similar(request: retrieval_pb2.SimilarItemsRequest) -> dict[str, Any]:
    """A SimilarBody's fields."""
    return {"item_ids": _ids(request, "item_ids", "item_texts"), **_listed(request), **_scored(request)}


def score(request: retrieval_pb2.ScoreRequest) -> dict[str, Any]:
    """A ScoreBody's fields."""
    body = {"item_ids": _ids(request, "item_ids", "item_texts"), **_subject(request), **_asked(request)}
    if request.features:
        body["features"] = features(request.features)
    return {**body, "explain": request.explain, "boosts": boosts_to_json(request.boosts)}


def embed(request: retrieval_pb2.EmbedRequest) -> dict[str, Any]:
    """An EmbedBody's fields."""
    body = _asked(request)
    for name, ids in (
        ("user_ids", _ids(request, "user_ids", "user_texts")),
        ("item_ids", _ids(request, "item_ids", "item_texts")),
    ):
        if ids:
            body[name] = ids
    if request.features:
        body["features"] = features(request.features)
    return body


def popular(request: retrieval_pb2.PopularRequest) -> dict[str, Any]:
    """A PopularBody's fields."""
    body = _listed(request)
    if request.window_s:
        body["window"] = request.window_s
    if request.kinds:
        body["kinds"] = list(request.kinds)
    return body


def entity_ref(request: retrieval_pb2.GetEntityRequest | retrieval_pb2.DeleteItemRequest) -> dict[str, Any]:
    """An EntityRef's fields."""
    body: dict[str, Any] = {"id": request.text or request.id, "model": request.model}
    if isinstance(request, retrieval_pb2.GetEntityRequest):
        body["vector"] = request.vector
    return body


def entity(message: retrieval_pb2.Entity) -> dict[str, Any]:
    """An EntityLine's fields."""
    given = features(message.features)
    for name, texts in message.item_lists.items():
        if name in given:
            raise InvalidRequest(f"features.{name}: it is given twice, also in item_lists; give one of the two")
        given[name] = list(texts.values)
    return {"id": message.text or message.id, "features": given}


def events(request: retrieval_pb2.RecordEventsRequest) -> dict[str, Any]:
    """An EventsBody's fields."""
    made = []
    for one in request.events:
        event: dict[str, Any] = {"user_id": one.user_text or one.user_id, "item_id": one.item_text or one.item_id}
        event["kind"] = one.kind
        if one.HasField("weight"):
            event["weight"] = one.weight
        if one.time_s:
            event["time_s"] = one.time_s
        if one.id:
            event["id"] = one.id
        made.append(event)
    return {"events": made, "model": request.model}


def put_filter(request: retrieval_pb2.PutFilterRequest) -> dict[str, Any]:
    """A FilterBody's fields."""
    return {"filter": filter_to_json(request.filter.filter), "model": request.model}


def traffic(request: retrieval_pb2.SetTrafficRequest) -> dict[str, Any]:
    """A TrafficBody's fields; which version is active is not for callers to say here."""
    given = request.traffic
    return {"shares": dict(given.shares), "shadow": given.shadow, "model": given.model}


def probe(request: retrieval_pb2.ProbeIndexRequest) -> dict[str, Any]:
    """A ProbeBody's fields; numbers that are 0 are left to their defaults."""
    body = {**_asked(request), **{name: getattr(request, name) for name in ("queries", "k") if getattr(request, name)}}
    if request.HasField("filter"):
        body["filter"] = filter_to_json(request.filter)
    return body


def activate(request: retrieval_pb2.ActivateVersionRequest) -> dict[str, Any]:
    """An ActivateBody's fields."""
    return {"force": request.force, "model": request.model}


def features(given: Mapping[str, features_pb2.FeatureValue], where: str = "") -> dict[str, Any]:
    """Values by name, of whatever type they are. Raises InvalidRequest: one has no value."""
    return {name: _value(f"{where}features: {name}", value) for name, value in given.items()}


def _value(where: str, message: features_pb2.FeatureValue) -> Any:
    member = message.WhichOneof("value")
    if member is None:
        raise InvalidRequest(f"{where}: expected a value, got none", metadata={"field": where})
    held = getattr(message, member)
    return list(held.values) if member.endswith("_list") else held


def _subject(request: retrieval_pb2.RecommendRequest | retrieval_pb2.ScoreRequest) -> dict[str, Any]:
    subject = request.WhichOneof("subject")
    if subject is None:
        return {}
    if subject == "session":
        return {"session_items": _ids(request.session, "item_ids", "item_texts")}
    if subject == "vector":
        return {"vector": list(request.vector.values)}
    return {"user_id": getattr(request, subject)}


def _asked(request: Any) -> dict[str, Any]:
    return {"model": request.model, "version": request.version}


def _listed(request: Any, where: str = "") -> dict[str, Any]:
    """What every question for a list of items may say; a `k` of 0 is none."""
    body = {**_asked(request), "explain": request.explain, "offset": request.offset}
    if request.k:
        body["k"] = request.k
    if request.cursor:
        body["cursor"] = request.cursor
    if request.exclude or request.exclude_texts:
        body["exclude"] = _ids(request, "exclude", "exclude_texts")
    if request.HasField("filter"):
        body["filter"] = filter_to_json(request.filter, f"{where}filter")
    if request.HasField("diversity"):
        body["diversity"] = diversity_to_json(request.diversity)
    return body


def _scored(request: Any, where: str = "") -> dict[str, Any]:
    body: dict[str, Any] = {"boosts": boosts_to_json(request.boosts, f"{where}boosts")}
    if request.HasField("min_score"):
        body["min_score"] = request.min_score
    return body


def _ids(message: Any, numbers: str, texts: str) -> list[Any]:
    """The ids that two fields of a message name, one with integers and one with texts."""
    return [*getattr(message, numbers), *getattr(message, texts)]
