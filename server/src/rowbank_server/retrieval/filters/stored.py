"""Filters that are stored with a model, and what stands for their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rowbank.closest import closest_first, listed
from rowbank.errors import InvalidRequest
from rowbank_server import wording
from rowbank_server.retrieval.filters.fields import FilterFields, invalid
from rowbank_server.retrieval.filters.json import filter_from_json
from rowbank_server.retrieval.filters.words import And, Filter, Named, Not, Or


def storable_from_json(given: Any, fields: FilterFields, place: str = "filter") -> Filter:
    """A filter that may be stored: it names no stored one.

    Raises:
        InvalidRequest: what is wrong and where.
    """
    made = filter_from_json(given, fields, place)
    if named := names_of(made):
        raise invalid(place, f"a stored filter names no other, got {wording.show(named[0])}; write out what it says")
    return made


def names_of(given: Filter) -> list[str]:
    """The stored filters that a filter names."""
    if isinstance(given, Named):
        return [given.name]
    if isinstance(given, Not):
        return names_of(given.filter)
    if isinstance(given, (And, Or)):
        return [name for one in given.filters for name in names_of(one)]
    return []


class StoredFilters:
    """Those of one model, as one of its versions understands them.

    Args:
        by_name: in JSON, as they were stored.
        fields: of the version.
    """

    def __init__(self, by_name: dict[str, Any], fields: FilterFields) -> None:
        self._by_name = by_name
        self._fields = fields
        self._made: dict[str, Filter | InvalidRequest] = {}

    def get(self, name: str) -> Filter:
        """What a name stands for.

        Raises:
            InvalidRequest: there is none of that name; or it does not fit the features of the version any more.
        """
        if name not in self._by_name:
            known = listed(closest_first(name, self._by_name), most=20)
            raise invalid("filter", f"no filter {wording.show(name)} is stored with the model; stored: {known}")
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make(name)
        if isinstance(made, InvalidRequest):
            raise InvalidRequest(made.message, metadata=made.metadata)
        return made

    def resolve(self, given: Filter) -> Filter:
        """A filter with what its names stand for. Raises as `get`."""
        return resolved(given, self.get)

    def _make(self, name: str) -> Filter | InvalidRequest:
        try:
            return storable_from_json(self._by_name[name], self._fields, f"stored filter {name!r}")
        except InvalidRequest as error:
            return InvalidRequest(
                f"{error.message}; it was stored for other features than this version's: store it anew or leave it out",
                metadata={"field": "filter", "filter": name},
            )


def resolved(given: Filter, get: Callable[[str], Filter]) -> Filter:
    """A filter with what its names stand for; the same object where it names none."""
    if isinstance(given, Named):
        return get(given.name)
    if not names_of(given):
        return given
    if isinstance(given, Not):
        return Not(resolved(given.filter, get))
    if isinstance(given, (And, Or)):
        return type(given)(tuple(resolved(one, get) for one in given.filters))
    return given
