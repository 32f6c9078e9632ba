"""Filters, boosts and diversity of JSON that is parsed already, checked against the features of the items.

    {"and": [{"feature": "genres", "any": ["Drama", "War"]}, {"feature": "year", "gte": 1990, "lt": 2000}]}

Every error names the place: "filter.and.1.gte: expected an integer ...".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rowbank_server import wording
from rowbank_server.features import FeatureType
from rowbank_server.retrieval.filters.fields import FilterField, FilterFields, invalid
from rowbank_server.retrieval.filters.words import (
    AllOf,
    And,
    AnyOf,
    Boost,
    Condition,
    Diversity,
    Exists,
    Filter,
    Named,
    NoneOf,
    Not,
    Now,
    Or,
    Range,
    Scalar,
)

MAX_DEPTH = 8
MAX_CONDITIONS = 64
MAX_VALUES = 1000
MAX_ALL = 64  # Values that an item must have all of.
MAX_BOOSTS = 16
MAX_ADD = 1000.0
MAX_NAME = 128  # Characters of the name of a boost or of a stored filter.

_KINDS = ("and", "or", "not", "named", "feature")
_BOUNDS = ("gte", "gt", "lte", "lt")
_TESTS = ("any", "all", "none", "exists", *_BOUNDS)
_NOW = re.compile(r"now(?:([+-])([0-9]{1,9})([smhdw]))?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@dataclass(slots=True)
class _Tally:
    """What a filter has used of its limits."""

    conditions: int = 0
    values: int = 0

    def condition(self, place: str) -> None:
        self.conditions += 1
        if self.conditions > MAX_CONDITIONS:
            raise invalid(place, f"a filter may have {MAX_CONDITIONS} conditions, and this is one more; say less")

    def take(self, count: int, place: str) -> None:
        self.values += count
        if self.values > MAX_VALUES:
            raise invalid(
                place,
                f"a filter may name {MAX_VALUES} values, got {self.values} up to here; store what they have in common "
                "as a feature of the items",
            )


def filter_from_json(given: Any, fields: FilterFields, place: str = "filter") -> Filter:
    """A filter in words.

    Args:
        given: as a JSON parser gives it.
        place: what messages call it.
    Raises:
        InvalidRequest: what is wrong and where; the metadata has the place as `field`.
    """
    return _filter(given, fields, place, 1, _Tally())


def boosts_from_json(given: Any, fields: FilterFields, place: str = "boosts") -> tuple[Boost, ...]:
    """Boosts in words. Raises as `filter_from_json`; names may not repeat."""
    if not isinstance(given, list):
        raise invalid(place, f"expected a list of boosts, got {wording.show(given)}")
    if len(given) > MAX_BOOSTS:
        raise invalid(place, f"expected at most {MAX_BOOSTS} boosts, got {len(given)}")
    boosts = tuple(_boost(one, fields, f"{place}.{i}", i) for i, one in enumerate(given))
    seen: set[str] = set()
    for i, boost in enumerate(boosts):
        if boost.name in seen:
            raise invalid(f"{place}.{i}.name", f"two boosts are called {wording.show(boost.name)}; name them apart")
        seen.add(boost.name)
    return boosts


def diversity_from_json(given: Any, fields: FilterFields, place: str = "diversity") -> Diversity:
    """Diversity in words. Raises as `filter_from_json`."""
    _object(given, ("feature", "max_per_value"), place, 'such as {"feature": "brand", "max_per_value": 2}')
    _require(given, ("feature", "max_per_value"), place)
    field = fields.field(given["feature"], f"{place}.feature")
    most = given["max_per_value"]
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= 1000:
        raise invalid(f"{place}.max_per_value", f"expected an integer from 1 to 1000, got {wording.show(most)}")
    return Diversity(field.name, most)


def filter_name(given: Any, place: str) -> str:
    """The name of a stored filter. Raises InvalidRequest: it cannot be one."""
    if not isinstance(given, str) or not _NAME.fullmatch(given):
        raise invalid(
            place,
            f"expected the name of a stored filter, 1 to {MAX_NAME} letters, digits, '_', '-' and '.', got "
            f"{wording.show(given)}",
        )
    return given


def _filter(given: Any, fields: FilterFields, place: str, depth: int, tally: _Tally) -> Filter:
    if depth > MAX_DEPTH:
        raise invalid(place, f"filters may be nested {MAX_DEPTH} deep, and this is deeper; say it flatter")
    kind = _kind(given, place)
    if kind in ("and", "or"):
        parts = _list(given[kind], f"{place}.{kind}", "filters")
        made = tuple(_filter(one, fields, f"{place}.{kind}.{i}", depth + 1, tally) for i, one in enumerate(parts))
        return And(made) if kind == "and" else Or(made)
    if kind == "not":
        return Not(_filter(given["not"], fields, f"{place}.not", depth + 1, tally))
    tally.condition(place)
    if kind == "named":
        return Named(filter_name(given["named"], f"{place}.named"))
    return _condition(given, fields, place, tally)


def _kind(given: Any, place: str) -> str:
    """Which kind of filter an object is."""
    _object(given, (*_KINDS, *_TESTS), place, 'such as {"feature": "genres", "any": ["Drama"]}')
    kinds = [kind for kind in _KINDS if kind in given]
    if len(kinds) != 1:
        got = " and ".join(map(repr, kinds)) or "none of them"
        raise invalid(place, f"expected one of 'and', 'or', 'not', 'named' and 'feature', got {got}")
    if kinds[0] != "feature" and len(given) > 1:
        other = next(name for name in given if name != kinds[0])
        raise invalid(place, f"{other!r} cannot stand beside {kinds[0]!r}; join filters with 'and'")
    return kinds[0]


def _condition(given: Mapping[str, Any], fields: FilterFields, place: str, tally: _Tally) -> Condition:
    field = fields.field(given["feature"], f"{place}.feature")
    tests = [name for name in given if name != "feature"]
    is_range = bool(tests) and all(name in _BOUNDS for name in tests)
    if not tests:
        raise invalid(place, f"expected a test of feature {field.name!r}: {', '.join(_TESTS)}")
    if len(tests) > 1 and not is_range:
        named = " and ".join(repr(name) for name in tests)
        raise invalid(place, f"a condition has one test, got {named}; join conditions with 'and'")
    if is_range:
        return Condition(field.name, _range(given, field, place, tally))
    test = tests[0]
    if test == "exists":
        wanted = given["exists"]
        if not isinstance(wanted, bool):
            raise invalid(f"{place}.exists", f"expected true or false, got {wording.show(wanted)}")
        return Condition(field.name, Exists(wanted))
    values = _values(given[test], field, f"{place}.{test}", tally)
    if test == "any":
        return Condition(field.name, AnyOf(values))
    if test == "none":
        return Condition(field.name, NoneOf(values))
    return Condition(field.name, _all(values, field, f"{place}.all"))


def _values(given: Any, field: FilterField, place: str, tally: _Tally) -> tuple[Scalar, ...]:
    """Each once, in the order given."""
    listed = _list(given, place, "values")
    tally.take(len(listed), place)
    return tuple(dict.fromkeys(field.value(one, f"{place}.{i}") for i, one in enumerate(listed)))


def _all(values: tuple[Scalar, ...], field: FilterField, place: str) -> AllOf:
    if len(values) > 1 and not field.is_list:
        raise invalid(
            place,
            f"feature {field.name!r} has one value, which cannot be all of {len(values)}; 'any' takes one of them",
        )
    if len(values) > MAX_ALL:
        raise invalid(place, f"expected at most {MAX_ALL} values that an item must have all of, got {len(values)}")
    return AllOf(values)


def _range(given: Mapping[str, Any], field: FilterField, place: str, tally: _Tally) -> Range:
    if field.element is FeatureType.BOOL:
        raise invalid(place, f'feature {field.name!r} is bool, which has no order; test it with "any": [true]')
    bounds = {name: _bound(given[name], field, f"{place}.{name}") for name in _BOUNDS if name in given}
    tally.take(len(bounds), place)
    for one, other in (("gte", "gt"), ("lte", "lt")):
        if one in bounds and other in bounds:
            raise invalid(place, f"{one!r} and {other!r} are given; give one of the two")
    low, high = _either(bounds, "gte", "gt"), _either(bounds, "lte", "lt")
    if low is not None and high is not None and _is_empty(low[1], high[1], strict="gt" in bounds or "lt" in bounds):
        raise invalid(
            place,
            f"nothing lies between {low[0]} {_shown(low[1])} and {high[0]} {_shown(high[1])}; the lower bound comes "
            "first",
        )
    return Range(**bounds)


def _bound(given: Any, field: FilterField, place: str) -> Scalar | Now:
    now = _NOW.fullmatch(given) if isinstance(given, str) else None
    if now is None:
        if isinstance(given, str) and given.startswith("now") and field.element is not FeatureType.STRING:
            raise invalid(
                place,
                f"expected a number, 'now', or as 'now-7d' and 'now+12h' (s, m, h, d, w), got {wording.show(given)}",
            )
        return field.value(given, place)
    if field.element is FeatureType.STRING or field.ids_are_texts:
        raise invalid(
            place,
            f"{given!r} is a time in Unix seconds, and feature {field.name!r} is {field.type.value}; give a text "
            "that is none",
        )
    sign, count, unit = now.groups()
    return Now(0.0 if sign is None else float(int(f"{sign}{count}") * _SECONDS[unit]))


def _either(bounds: Mapping[str, Any], one: str, other: str) -> tuple[str, Any] | None:
    return next(((name, bounds[name]) for name in (one, other) if name in bounds), None)


def _is_empty(low: Any, high: Any, *, strict: bool) -> bool:
    if isinstance(low, Now) is not isinstance(high, Now):
        return False  # That depends on when it is asked.
    if isinstance(low, Now):
        low, high = low.offset_s, high.offset_s
    return bool(low > high or (strict and low == high))


def _shown(bound: Any) -> str:
    return f"now{bound.offset_s:+g}s" if isinstance(bound, Now) else wording.show(bound)


def _boost(given: Any, fields: FilterFields, place: str, number: int) -> Boost:
    _object(given, ("filter", "add", "name"), place, 'such as {"filter": {...}, "add": 0.5, "name": "fresh"}')
    _require(given, ("filter", "add"), place)
    add = given["add"]
    if isinstance(add, bool) or not isinstance(add, (int, float)) or not -MAX_ADD <= add <= MAX_ADD:
        raise invalid(f"{place}.add", f"expected a number from {-MAX_ADD:g} to {MAX_ADD:g}, got {wording.show(add)}")
    name = given.get("name", "") if given.get("name") is not None else ""
    if not isinstance(name, str) or len(name) > MAX_NAME:
        raise invalid(f"{place}.name", f"expected a text of at most {MAX_NAME} characters, got {wording.show(name)}")
    made = filter_from_json(given["filter"], fields, f"{place}.filter")
    return Boost(made, float(add), name or f"boost {number}")


def _object(given: Any, known: Sequence[str], place: str, example: str) -> None:
    if not isinstance(given, Mapping):
        raise invalid(place, f"expected an object, {example}, got {wording.show(given)}")
    for name in given:
        if name not in known:
            raise invalid(f"{place}.{str(name)[:80]}", wording.unknown_field(str(name)[:80], known))


def _require(given: Mapping[str, Any], names: Sequence[str], place: str) -> None:
    for name in names:
        if name not in given:
            raise invalid(f"{place}.{name}", "is missing")


def _list(given: Any, place: str, what: str) -> list[Any]:
    if not isinstance(given, (list, tuple)):
        raise invalid(place, f"expected a list of {what}, got {wording.show(given)}")
    if not given:
        raise invalid(place, f"expected at least one of the {what}, got an empty list; leave the filter out instead")
    return list(given)
