"""Which items a filter lets through: vectorised over the columns of a segment, and kept with the segment.

A mask is packed: [ceil(n / 8)] uint8, the least significant bit first, an eighth of a byte per item. So joining
conditions costs next to nothing, and many masks can be kept. A segment never changes, so neither do its masks.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank_server.retrieval.columns import Column, Texts
from rowbank_server.retrieval.filters import texts
from rowbank_server.retrieval.filters.kept import Kept
from rowbank_server.retrieval.filters.words import (
    AllOf,
    And,
    AnyOf,
    Boost,
    Condition,
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
from rowbank_server.retrieval.segments import Segment

Mask = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

_KEPT_BYTES = 16 << 20  # Of masks a segment, or two numbers per item; of bonuses as much, or two.
_FEW = 4  # So many values are compared one by one.
_LARGEST = np.float32(1e18)  # An index takes no larger bonus.
_SPARSE = 16  # Hits are rare if they are fewer than one of so many.


_COMPARED: Sequence[tuple[str, Callable[[Any, Any], Bools]]] = (
    ("gte", operator.ge),
    ("gt", operator.gt),
    ("lte", operator.le),
    ("lt", operator.lt),
)


def at_time(given: Filter, now_s: float) -> Filter:
    """A filter with the time put in, in whole seconds, so that a second's queries share their masks."""
    if isinstance(given, Condition):
        if not isinstance(given.test, Range):
            return given
        bounds = {name: getattr(given.test, name) for name in ("gte", "gt", "lte", "lt")}
        times = {name: int(now_s) + int(one.offset_s) for name, one in bounds.items() if isinstance(one, Now)}
        return Condition(given.feature, dataclasses.replace(given.test, **times)) if times else given
    if isinstance(given, Not):
        inner = at_time(given.filter, now_s)
        return given if inner is given.filter else Not(inner)
    if isinstance(given, (And, Or)):
        parts = tuple(at_time(one, now_s) for one in given.filters)
        return given if all(a is b for a, b in zip(parts, given.filters, strict=True)) else type(given)(parts)
    return given


def mask(segment: Segment, given: Filter) -> Mask:
    """[ceil(n / 8)] uint8: the bits of the items that pass, read-only; those behind the last item mean nothing.

    Args:
        given: without names, and with the time put in.
    """
    return _kept(segment).get(given, lambda: _mask(segment, given))


def bonus(segment: Segment, boosts: Sequence[Boost], scale: float) -> npt.NDArray[np.float32]:
    """[n] float32: what boosts add to the dot product of each item, read-only: to its score, divided by `scale`."""
    kept: Kept | None = segment.masks.get("bonuses")
    if kept is None:
        limit = max(_KEPT_BYTES, 2 * 4 * len(segment))
        kept = segment.masks.setdefault("bonuses", Kept(limit))
    return kept.get((*boosts, scale), lambda: _bonus(segment, boosts, scale))


def passing(segment: Segment, given: Filter) -> Bools:
    """[n] bool: the items that pass."""
    return unpacked(mask(segment, given), len(segment))


def holders(segment: Segment, feature: str, values: tuple[Scalar, ...]) -> Mask:
    """[ceil(n / 8)] uint8: the bits of the items with one of the values; it is not kept."""
    return np.packbits(_condition(segment, Condition(feature, AnyOf(values))), bitorder="little")


def unpacked(bits: Mask, count: int) -> Bools:
    """[count] bool of packed bits."""
    return np.unpackbits(bits, count=count, bitorder="little").view(np.bool_)


def _kept(segment: Segment) -> Kept:
    """The masks of a segment, and what its words were made to."""
    kept: Kept | None = segment.masks.get("masks")
    if kept is None:
        limit = max(_KEPT_BYTES, 2 * 8 * len(segment))
        kept = segment.masks.setdefault("masks", Kept(limit))
    return kept


def _bonus(segment: Segment, boosts: Sequence[Boost], scale: float) -> npt.NDArray[np.float32]:
    total = np.zeros(len(segment), np.float32)
    for boost in boosts:
        added = np.float32(np.clip(boost.add / scale, -_LARGEST, _LARGEST))  # Two infinite ones would be no number.
        np.add(total, added, out=total, where=passing(segment, boost.filter))
    return np.clip(total, -_LARGEST, _LARGEST)


def _mask(segment: Segment, given: Filter) -> Mask:
    if isinstance(given, Condition):
        return np.packbits(_condition(segment, given), bitorder="little")
    if isinstance(given, Not):
        return ~mask(segment, given.filter)
    if isinstance(given, Named):
        raise AssertionError(f"filter {given.name!r} was not resolved")
    joined = np.full((len(segment) + 7) // 8, 255 if isinstance(given, And) else 0, np.uint8)
    join = np.bitwise_and if isinstance(given, And) else np.bitwise_or
    for one in given.filters:
        join(joined, mask(segment, one), out=joined)
    return joined


def _condition(segment: Segment, given: Condition) -> Bools:
    column, test = segment.columns.get(given.feature), given.test
    if column is None:  # It came to the view later: no item has it.
        passed = isinstance(test, NoneOf) or (isinstance(test, Exists) and not test.wanted)
        return np.full(len(segment), passed, np.bool_)
    if isinstance(test, Exists):
        return column.stored if test.wanted else ~column.stored
    if isinstance(test, NoneOf):
        return ~_any(segment, given.feature, column, test.values)
    if isinstance(test, AnyOf):
        return _any(segment, given.feature, column, test.values)
    if isinstance(test, AllOf):
        found = column.present
        for value in test.values:
            found = found & _any(segment, given.feature, column, (value,))
            if not found.any():
                break
        return found
    return _items(column, _between(segment, given.feature, column, test))


def _any(segment: Segment, feature: str, column: Column, values: tuple[Any, ...]) -> Bools:
    """[n] bool: items with one of the values."""
    words = column.words
    if words is None:
        return _items(column, _equal(column.values, values))
    prints = _kept(segment).get(("fingerprints", feature), lambda: texts.fingerprints(words))
    return _items(column, _coded(column, texts.among(words, prints, values)))


def _items(column: Column, hits: Bools) -> Bools:
    """[n] bool: items of which an element is a hit; of absent ones none is."""
    if column.ends is None:
        return hits & column.present
    count, found = np.count_nonzero(hits), np.zeros(len(column.present), np.bool_)
    if count * _SPARSE < len(hits):
        found[np.searchsorted(column.ends, np.flatnonzero(hits), side="right")] = True
    elif count:
        until = np.zeros(len(hits) + 1, np.int64)
        np.cumsum(hits, out=until[1:])
        found = np.diff(until[column.ends], prepend=0) > 0
    return found & column.present


def _coded(column: Column, words: Bools) -> Bools:
    """[E] bool: elements whose word is one of those."""
    codes = np.flatnonzero(words)
    if not len(codes) or not len(column.values):
        return np.zeros(len(column.values), np.bool_)
    if len(codes) <= _FEW:
        return _equal(column.values, codes.tolist())
    found: Bools = words[column.values]
    return found


def _equal(held: npt.NDArray[Any], values: Sequence[Any]) -> Bools:
    """[E] bool: those that are one of the values."""
    if len(values) <= _FEW:
        found = np.zeros(len(held), np.bool_)
        for value in values:
            found |= held == held.dtype.type(value)
        return found
    wanted = np.asarray(values, held.dtype)
    if held.dtype == np.int64:
        return texts.is_one_of(held, wanted)
    wanted = np.unique(wanted)
    at = np.minimum(np.searchsorted(wanted, held), len(wanted) - 1)
    return np.asarray(wanted[at] == held)


def _between(segment: Segment, feature: str, column: Column, test: Range) -> Bools:
    """[E] bool: elements that lie within all bounds."""
    if column.words is not None:
        return _coded(column, _words_between(segment, feature, column.words, test))
    held: Any = column.values
    found = np.ones(len(held), np.bool_)
    for bound, compare in _COMPARED:
        value = getattr(test, bound)
        if value is not None:
            found &= compare(held, value)
    return found


def _words_between(segment: Segment, feature: str, words: Texts, test: Range) -> Bools:
    begins = _kept(segment).get(("beginnings", feature), lambda: texts.beginnings(words))
    found = np.ones(len(words), np.bool_)
    for bound, kinds in ((test.gte, (0, 1)), (test.gt, (1,)), (test.lte, (-1, 0)), (test.lt, (-1,))):
        if bound is not None:
            found &= np.isin(texts.order(words, begins, str(bound)), kinds)
    return found
