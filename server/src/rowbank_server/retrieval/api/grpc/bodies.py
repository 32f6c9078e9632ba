"""Messages into the bodies that calls over HTTP have, which are checked as those are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rowbank.errors import InvalidRequest
from rowbank_protos.v1 import features_pb2, retrieval_pb2


def recommend(request: retrieval_pb2.RecommendRequest) -> dict[str, Any]:
    """A RecommendBody's fields."""
    body: dict[str, Any] = {"exclude_seen": request.exclude_seen, "explain": request.explain}
    subject = request.WhichOneof("subject")
    if subject in ("user_id", "user_text"):
        body["user_id"] = getattr(request, subject)
    elif subject == "session":
        body["session_items"] = _ids(request.session, "item_ids", "item_texts")
    if request.features:
        body["features"] = features(request.features)
    if request.HasField("min_score"):
        body["min_score"] = request.min_score
    return {**body, **_common(request)}


def similar(request: retrieval_pb2.SimilarItemsRequest) -> dict[str, Any]:
    """A SimilarBody's fields."""
    return {"item_ids": _ids(request, "item_ids", "item_texts"), **_common(request)}


def features(given: Mapping[str, features_pb2.FeatureValue]) -> dict[str, Any]:
    """Values by name, of whatever type they are. Raises InvalidRequest: one has no value."""
    return {name: _value(name, value) for name, value in given.items()}


def _value(name: str, message: features_pb2.FeatureValue) -> Any:
    member = message.WhichOneof("value")
    if member is None:
        raise InvalidRequest(f"features: {name}: expected a value, got none", metadata={"field": f"features.{name}"})
    held = getattr(message, member)
    return list(held.values) if member.endswith("_list") else held


def _common(request: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"k": request.k} if request.k else {}
    if request.exclude or request.exclude_texts:
        body["exclude"] = _ids(request, "exclude", "exclude_texts")
    return body


def _ids(message: Any, numbers: str, texts: str) -> list[Any]:
    """The ids that two fields of a message name, one with integers and one with texts."""
    return [*getattr(message, numbers), *getattr(message, texts)]
