"""Features that come with a query, checked against what the query tower takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rowbank.errors import InvalidFeature, InvalidRequest, shown
from rowbank.tower_keys import input_numbers
from rowbank_server.features.values import FeatureType, check
from rowbank_server.registry.inputs import TowerInputs
from rowbank_server.retrieval.queries import Query


def short(name: str) -> str:
    """A feature's name without its view, which is how callers know it."""
    return name.rpartition(":")[2]


def given_features(inputs: TowerInputs, query: Query) -> dict[str, Any]:
    """The features of a query by the names that the tower has for them; the feature's name alone will do, too.

    Raises:
        InvalidRequest: a feature that the tower does not take, a value of another type, a number that a tower cannot
            take, none at all where nobody is named, or another user than the query's.
    """
    names = {short(name): name for name in inputs.takes}
    asked = {names.get(name, name): name for name in query.features or {}}
    if len(asked) < len(query.features or {}):
        twice = next(name for name in query.features or {} if asked[names.get(name, name)] != name)
        raise InvalidRequest(f"features: {twice!r} is given twice, also by its view's name; give one of the two")
    if not asked and query.user_id is None:
        raise InvalidRequest(f"features: expected at least one; the query tower takes {', '.join(names)}")
    for name in asked:
        if name not in inputs.takes:
            raise InvalidRequest(f"features: {name!r} is unknown; the query tower takes {', '.join(names)}")
    checked: dict[str, Any] = {}
    try:
        for name, word in asked.items():
            checked[name] = check((query.features or {})[word], _type(inputs, name), f"features: {word}")
    except InvalidFeature as error:
        raise InvalidRequest(error.message) from error
    _check_numbers(inputs, checked, asked)
    if query.user_id is not None and checked.get(inputs.entity, query.user_id) != query.user_id:
        raise InvalidRequest(
            f"features: {inputs.entity!r} is {checked[inputs.entity]}, but user_id is {query.user_id}; give one of the "
            "two"
        )
    return checked


def left_out(inputs: TowerInputs, features: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the features that the tower takes and that are not there; the entity's own id is none of them."""
    return tuple(short(name) for name in inputs.fields if name not in features)


def _type(inputs: TowerInputs, name: str) -> FeatureType:
    field = inputs.fields.get(name)
    return FeatureType.INT64 if field is None else field.type


def _check_numbers(inputs: TowerInputs, checked: Mapping[str, Any], words: Mapping[str, str]) -> None:
    for part in inputs.inputs:
        value = checked.get(part.feature)
        if part.kind != "numbers" or value is None or input_numbers(part, [value]).there[0]:
            continue
        what = f"features: {words[part.feature]}"
        if isinstance(value, list) and len(value) != part.dim:
            raise InvalidRequest(f"{what}: expected {part.dim} numbers, got {len(value)}")
        raise InvalidRequest(f"{what}: expected a finite float32, got {shown(value)}")
