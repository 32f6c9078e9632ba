"""Filters, boosts and diversity as values: what HTTP and gRPC turn their messages into. Nothing here knows an item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Scalar: TypeAlias = "int | float | bool | str"


@dataclass(frozen=True, slots=True)
class Now:
    """The time of the query in Unix seconds, and so many more: "now", "now-7d"."""

    offset_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Range:
    """At least one bound; `gte` and `gt` exclude each other, and so do `lte` and `lt`."""

    gte: Scalar | Now | None = None
    gt: Scalar | Now | None = None
    lte: Scalar | Now | None = None
    lt: Scalar | Now | None = None


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The feature is one of the values, or a list with one of them."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """The feature has every one of the values."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    """The feature has none of the values; an absent one has none."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Exists:
    """Whether a value is stored; a view's default is none."""

    wanted: bool = True


Test: TypeAlias = "AnyOf | AllOf | NoneOf | Range | Exists"


@dataclass(frozen=True, slots=True)
class Condition:
    """A test of one feature of the item view.

    Values are of the feature's type, or of its elements' type. An absent feature without a default passes `NoneOf` and
    `Exists(False)` alone; a list passes a `Range` if one element lies within it.
    """

    feature: str
    test: Test


@dataclass(frozen=True, slots=True)
class And:
    """Passed by what passes every one; by everything if there is none."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Passed by what passes one of them; by nothing if there is none."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Passed by what the filter does not let through."""

    filter: Filter


@dataclass(frozen=True, slots=True)
class Named:
    """A filter that is stored with the model; stored ones name no others."""

    name: str


Filter: TypeAlias = "Condition | And | Or | Not | Named"


@dataclass(frozen=True, slots=True)
class Boost:
    """Adds `add` to the score, after logit_scale, of the items that a filter lets through."""

    filter: Filter
    add: float
    name: str


@dataclass(frozen=True, slots=True)
class Diversity:
    """At most `max_per_value` items of an answer have the same value of a feature; of a list each element counts."""

    feature: str
    max_per_value: int
