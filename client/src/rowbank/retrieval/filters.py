"""Filters: which items may be in an answer, by their features.

    from rowbank.retrieval.filters import F, named

    (F("year") >= 1990) & F("genres").any("Drama", "Comedy") & ~named("hidden")

The same in JSON's form, as HTTP and the command line take it, is a `dict`, and every call takes that as well:

    {"and": [{"feature": "year", "gte": 1990}, {"feature": "genres", "any": ["Drama", "Comedy"]}, ...]}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from rowbank.closest import did_you_mean
from rowbank.errors import InvalidRequest, shown
from rowbank_protos.v1 import features_pb2, retrieval_pb2

__all__ = ["F", "Filter", "filter_from_proto", "filter_to_proto", "named"]

_LISTS = ("any", "all", "none")
_BOUNDS = ("gte", "gt", "lte", "lt")
_TESTS = (*_LISTS, *_BOUNDS, "exists")
_KINDS = ("feature", "and", "or", "not", "named")
_DEEPEST = 32


@dataclass(frozen=True)
class Filter:
    """A filter, as `F` and `named` make it; `json` is its form as JSON. Combine filters by `&`, `|` and `~`."""

    json: Mapping[str, Any]

    def __and__(self, other: Filter) -> Filter:
        return _joined("and", self, other)

    def __or__(self, other: Filter) -> Filter:
        return _joined("or", self, other)

    def __invert__(self) -> Filter:
        return Filter({"not": self.json})

    def __bool__(self) -> bool:
        raise TypeError("a filter is neither true nor false: combine filters by &, | and ~, each in parentheses")


class F:
    """A feature of items, to be compared: `F("year") >= 1990`, `F("brand") == "acme"`, `F("genres").any("Drama")`.

    Bounds of a feature that holds Unix seconds may be texts: "now", "now-7d", "now+12h" (s, m, h, d, w).
    """

    __slots__ = ("feature",)
    __hash__ = None  # type: ignore[assignment]  # It compares to a filter.

    def __init__(self, feature: str) -> None:
        self.feature = feature

    def any(self, *values: Any) -> Filter:
        """The feature is one of the values, or a list with one of them."""
        return Filter({"feature": self.feature, "any": list(values)})

    def all(self, *values: Any) -> Filter:
        """The feature has all of the values."""
        return Filter({"feature": self.feature, "all": list(values)})

    def none(self, *values: Any) -> Filter:
        """The feature has none of the values; an absent one has none."""
        return Filter({"feature": self.feature, "none": list(values)})

    def exists(self, wanted: bool = True) -> Filter:
        """Whether a value is stored."""
        return Filter({"feature": self.feature, "exists": wanted})

    def between(self, low: Any, high: Any) -> Filter:
        """At least `low` and less than `high`; of a list, one element has to be."""
        return Filter({"feature": self.feature, "gte": low, "lt": high})

    def __eq__(self, value: Any) -> Filter:  # type: ignore[override]
        return self.any(value)

    def __ne__(self, value: Any) -> Filter:  # type: ignore[override]
        return self.none(value)

    def __ge__(self, bound: Any) -> Filter:
        return Filter({"feature": self.feature, "gte": bound})

    def __gt__(self, bound: Any) -> Filter:
        return Filter({"feature": self.feature, "gt": bound})

    def __le__(self, bound: Any) -> Filter:
        return Filter({"feature": self.feature, "lte": bound})

    def __lt__(self, bound: Any) -> Filter:
        return Filter({"feature": self.feature, "lt": bound})

    def __bool__(self) -> bool:
        raise TypeError(f'F({self.feature!r}) is a feature and no filter: compare it, as in F({self.feature!r}) == "a"')


def named(name: str) -> Filter:
    """The filter that is stored with the model under a name."""
    return Filter({"named": name})


def _joined(word: str, first: Filter, second: Filter) -> Filter:
    """Both under one word; what is joined by the same word already is not nested."""
    parts: list[Any] = []
    for one in (first, second):
        if not isinstance(one, Filter):
            return NotImplemented
        held = one.json.get(word)
        parts.extend(held if isinstance(held, list) else [one.json])
    return Filter({word: parts})


def filter_to_proto(given: Any, where: str = "filter") -> retrieval_pb2.Filter:
    """The message of a filter.

    Args:
        given: a `Filter`, or a mapping in JSON's form.
        where: the field, as the message of an error names it.
    Raises:
        InvalidRequest: it is no filter. Whether the features exist, and are of the values' type, the service knows.
    """
    return _to_proto(given, where, 0)


def _to_proto(given: Any, where: str, depth: int) -> retrieval_pb2.Filter:
    held = given.json if isinstance(given, Filter) else given
    if isinstance(held, F):
        _wrong(where, f'a filter, such as F({held.feature!r}) == "a"', "a feature that is compared to nothing")
    if not isinstance(held, Mapping):
        _wrong(where, 'a filter such as {"feature": "year", "gte": 1990}', shown(held))
    if depth > _DEEPEST:
        raise InvalidRequest(f"{where}: filters are nested more than {_DEEPEST} deep")
    kinds = [kind for kind in _KINDS if kind in held]
    if len(kinds) != 1:
        _wrong(where, f"one of {', '.join(_KINDS)}", f"{', '.join(kinds) or 'none'} in {shown(dict(held))}")
    kind = kinds[0]
    if kind == "feature":
        return retrieval_pb2.Filter(condition=_condition(held, where))
    for name in held:
        if name != kind:
            _wrong(where, f"nothing beside {kind!r}", repr(name))
    value = held[kind]
    if kind == "named":
        return retrieval_pb2.Filter(named=_text(value, f"{where}.named", "the name of a stored filter"))
    if kind == "not":
        return retrieval_pb2.Filter(not_filter=_to_proto(value, f"{where}.not", depth + 1))
    if not isinstance(value, list | tuple):
        _wrong(f"{where}.{kind}", "a list of filters", shown(value))
    parts = retrieval_pb2.FilterList(
        filters=[_to_proto(one, f"{where}.{kind}.{place}", depth + 1) for place, one in enumerate(value)]
    )
    return retrieval_pb2.Filter(and_filters=parts) if kind == "and" else retrieval_pb2.Filter(or_filters=parts)


def _condition(held: Mapping[str, Any], where: str) -> retrieval_pb2.Condition:
    condition = retrieval_pb2.Condition(feature=_text(held["feature"], f"{where}.feature", "the name of a feature"))
    tests = [name for name in held if name != "feature"]
    for name in tests:
        if name not in _TESTS:
            raise InvalidRequest(
                f"{where}: {name!r} is no test{did_you_mean(name, _TESTS)}; known: {', '.join(_TESTS)}"
            )
    bounds = [name for name in tests if name in _BOUNDS]
    if len(tests) - len(bounds) + bool(bounds) != 1:
        _wrong(where, f"one of any, all, none, exists, or bounds ({', '.join(_BOUNDS)})", ", ".join(tests) or "none")
    if bounds:
        for name in bounds:
            getattr(condition.range, name).CopyFrom(_bound(held[name], f"{where}.{name}"))
        return condition
    test, value = tests[0], held[tests[0]]
    if test == "exists":
        if not isinstance(value, bool | np.bool_):
            _wrong(f"{where}.exists", "true or false", shown(value))
        condition.exists = bool(value)
        return condition
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        _wrong(f"{where}.{test}", "a list of values", shown(value))
    values = [_value(one, f"{where}.{test}.{place}") for place, one in enumerate(value)]
    getattr(condition, test).CopyFrom(retrieval_pb2.FeatureValues(values=values))
    return condition


def _value(given: Any, where: str) -> features_pb2.FeatureValue:
    plain = given.item() if isinstance(given, np.generic) else given
    if isinstance(plain, bool):
        return features_pb2.FeatureValue(bool_value=plain)
    if isinstance(plain, int) and -(2**63) <= plain < 2**63:
        return features_pb2.FeatureValue(int64_value=plain)
    if isinstance(plain, float):
        return features_pb2.FeatureValue(double_value=plain)
    if isinstance(plain, str):
        return features_pb2.FeatureValue(string_value=_utf8(plain, where))
    return _wrong(where, "a text, an integer of 64 bits, a number, true or false", shown(given))


def _bound(given: Any, where: str) -> retrieval_pb2.Bound:
    plain = given.item() if isinstance(given, np.generic) else given
    if isinstance(plain, int) and not isinstance(plain, bool) and -(2**63) <= plain < 2**63:
        return retrieval_pb2.Bound(integer=plain)
    if isinstance(plain, float):
        return retrieval_pb2.Bound(number=plain)
    if isinstance(plain, str):
        return retrieval_pb2.Bound(text=_utf8(plain, where))
    return _wrong(where, 'a number, a text, or a time such as "now-7d"; dates are given as Unix seconds', shown(given))


def _text(given: Any, where: str, expected: str) -> str:
    if not isinstance(given, str) or not given:
        _wrong(where, expected, shown(given))
    return _utf8(given, where)


def _utf8(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        _wrong(where, "a text that UTF-8 can hold", shown(text))
    return text


def _wrong(where: str, expected: str, got: str) -> NoReturn:
    raise InvalidRequest(f"{where}: expected {expected}, got {got}", metadata={"field": where})


def filter_from_proto(message: retrieval_pb2.Filter) -> Filter:
    """The filter of a message."""
    return Filter(_to_json(message))


def _to_json(message: retrieval_pb2.Filter) -> dict[str, Any]:
    kind = message.WhichOneof("kind")
    if kind == "and_filters":
        return {"and": [_to_json(one) for one in message.and_filters.filters]}
    if kind == "or_filters":
        return {"or": [_to_json(one) for one in message.or_filters.filters]}
    if kind == "not_filter":
        return {"not": _to_json(message.not_filter)}
    if kind == "named":
        return {"named": message.named}
    condition = message.condition
    test = condition.WhichOneof("test")
    if test == "exists":
        return {"feature": condition.feature, "exists": condition.exists}
    if test == "range":
        bounds = {name: _of(getattr(condition.range, name)) for name in _BOUNDS if condition.range.HasField(name)}
        return {"feature": condition.feature, **bounds}
    if test is None:
        return {"feature": condition.feature}
    return {"feature": condition.feature, test: [_of(one) for one in getattr(condition, test).values]}


def _of(message: Any) -> Any:
    member = message.WhichOneof("value")
    return None if member is None else getattr(message, member)
