"""Filters, boosts and diversity between the API's messages and JSON, which is where they are checked.

One form is checked, so that gRPC and HTTP take and refuse the same, with the same words.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rowbank_protos.v1 import features_pb2, retrieval_pb2
from rowbank_server.retrieval.filters.fields import FilterFields, invalid
from rowbank_server.retrieval.filters.json import (
    MAX_DEPTH,
    boosts_from_json,
    diversity_from_json,
    filter_from_json,
)
from rowbank_server.retrieval.filters.words import Boost, Diversity, Filter

_BOUNDS = ("gte", "gt", "lte", "lt")


def filter_from_proto(message: retrieval_pb2.Filter, fields: FilterFields, place: str = "filter") -> Filter:
    """A filter in words. Raises InvalidRequest, as `filter_from_json`."""
    return filter_from_json(filter_to_json(message, place), fields, place)


def boosts_from_proto(
    messages: Iterable[retrieval_pb2.Boost], fields: FilterFields, place: str = "boosts"
) -> tuple[Boost, ...]:
    """Boosts in words. Raises InvalidRequest, as `boosts_from_json`."""
    return boosts_from_json(boosts_to_json(messages, place), fields, place)


def diversity_from_proto(message: retrieval_pb2.Diversity, fields: FilterFields, place: str = "diversity") -> Diversity:
    """Diversity in words. Raises InvalidRequest, as `diversity_from_json`."""
    return diversity_from_json(diversity_to_json(message), fields, place)


def filter_to_json(message: retrieval_pb2.Filter, place: str = "filter", depth: int = 1) -> dict[str, Any]:
    """A filter as HTTP callers write it, not checked yet.

    Raises:
        InvalidRequest: a message that says nothing, or is nested too deep.
    """
    if depth > MAX_DEPTH:
        raise invalid(place, f"filters may be nested {MAX_DEPTH} deep, and this is deeper; say it flatter")
    kind = message.WhichOneof("kind")
    if kind == "named":
        return {"named": message.named}
    if kind == "not_filter":
        return {"not": filter_to_json(message.not_filter, f"{place}.not", depth + 1)}
    if kind in ("and_filters", "or_filters"):
        word = kind[: -len("_filters")]
        parts = getattr(message, kind).filters
        return {word: [filter_to_json(one, f"{place}.{word}.{i}", depth + 1) for i, one in enumerate(parts)]}
    if kind == "condition":
        return {"feature": message.condition.feature, **_test_to_json(message.condition, place)}
    raise invalid(place, "expected and_filters, or_filters, not_filter, named or a condition, got none of them")


def boosts_to_json(messages: Iterable[retrieval_pb2.Boost], place: str = "boosts") -> list[dict[str, Any]]:
    """Boosts as HTTP callers write them, not checked yet. Raises InvalidRequest."""
    return [
        {"filter": filter_to_json(one.filter, f"{place}.{i}.filter"), "add": one.add, "name": one.name}
        for i, one in enumerate(messages)
    ]


def diversity_to_json(message: retrieval_pb2.Diversity) -> dict[str, Any]:
    """Diversity as HTTP callers write it, not checked yet."""
    return {"feature": message.feature, "max_per_value": message.max_per_value}


def filter_to_proto(given: Any) -> retrieval_pb2.Filter:
    """The message of a filter in JSON that was checked before."""
    message = retrieval_pb2.Filter()
    _fill(message, given)
    return message


def _test_to_json(condition: retrieval_pb2.Condition, place: str) -> dict[str, Any]:
    test = condition.WhichOneof("test")
    if test is None:
        return {}
    if test == "exists":
        return {"exists": condition.exists}
    if test == "range":
        return {
            name: _bound_to_json(getattr(condition.range, name), f"{place}.{name}")
            for name in _BOUNDS
            if condition.range.HasField(name)
        }
    values = getattr(condition, test).values
    return {test: [_value_to_json(one, f"{place}.{test}.{i}") for i, one in enumerate(values)]}


def _value_to_json(value: features_pb2.FeatureValue, place: str) -> Any:
    member = value.WhichOneof("value")
    if member is None or member.endswith("_list"):
        raise invalid(place, f"expected a single value, got {member or 'nothing'}")
    return getattr(value, member)


def _bound_to_json(bound: retrieval_pb2.Bound, place: str) -> Any:
    member = bound.WhichOneof("value")
    if member is None:
        raise invalid(place, "expected integer, number or text, got nothing")
    return getattr(bound, member)


def _fill(message: retrieval_pb2.Filter, given: Any) -> None:
    for word, filters in (("and", message.and_filters), ("or", message.or_filters)):
        if word in given:
            for one in given[word]:
                _fill(filters.filters.add(), one)
            return
    if "not" in given:
        _fill(message.not_filter, given["not"])
    elif "named" in given:
        message.named = given["named"]
    else:
        _fill_condition(message.condition, given)


def _fill_condition(condition: retrieval_pb2.Condition, given: Any) -> None:
    condition.feature = given["feature"]
    for name, value in given.items():
        if name in _BOUNDS:
            _fill_bound(getattr(condition.range, name), value)
        elif name == "exists":
            condition.exists = value
        elif name != "feature":
            for one in value:
                _fill_value(getattr(condition, name).values.add(), one)


def _fill_bound(bound: retrieval_pb2.Bound, value: Any) -> None:
    if isinstance(value, str):
        bound.text = value
    elif isinstance(value, int) and -(2**63) <= value < 2**63:
        bound.integer = value
    else:  # A whole number beyond 64 bits is of a double.
        bound.number = value


def _fill_value(message: features_pb2.FeatureValue, value: Any) -> None:
    if isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, int) and -(2**63) <= value < 2**63:
        message.int64_value = value
    else:
        message.double_value = value
