"""The features that filters may name, and what values they take of a condition."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rowbank.closest import closest_first, listed
from rowbank.errors import InvalidFeature, InvalidRequest
from rowbank.text import id_fault, token_key
from rowbank_server import wording
from rowbank_server.features import FeatureType
from rowbank_server.features.values import check
from rowbank_server.retrieval.filters.words import Scalar

_ELEMENTS: Mapping[FeatureType, FeatureType] = {
    FeatureType.INT64_LIST: FeatureType.INT64,
    FeatureType.FLOAT_LIST: FeatureType.DOUBLE,
    FeatureType.STRING_LIST: FeatureType.STRING,
}
_DECIMAL = re.compile(r"-?[1-9][0-9]{15,18}")
_SAFE = 2**53  # Up to here every JSON library keeps an integer as it is.


def invalid(place: str, text: str) -> InvalidRequest:
    """The error of a part of a filter; the metadata has its place, too."""
    return InvalidRequest(f"{place}: {text}", metadata={"field": place})


@dataclass(frozen=True, slots=True)
class FilterField:
    """A feature as conditions take it.

    Attributes:
        element: the type of a value in a condition: the feature's, or that of its elements.
        ids_are_texts: a text may stand for an integer: the id of an item, of which the feature holds the key.
    """

    name: str
    type: FeatureType
    element: FeatureType
    ids_are_texts: bool

    @property
    def is_list(self) -> bool:
        return self.type is not self.element

    def value(self, given: Any, place: str) -> Scalar:
        """A value as it is compared with those that are stored.

        Args:
            place: what the message names it by.
        Raises:
            InvalidRequest: it is of another type, or no value of the type.
        """
        if self.ids_are_texts and isinstance(given, str):
            if fault := id_fault(given):
                raise invalid(place, f"the id {fault}")
            return token_key(given)
        if self.element is FeatureType.INT64 and isinstance(given, str) and _is_large(given):
            given = int(given)
        try:
            if self.type is FeatureType.FLOAT_LIST:
                rounded: list[Any] = check([given], self.type, place)  # type: ignore[assignment]
                return float(np.float32(rounded[0]))
            checked: Any = check(given, self.element, place)
        except InvalidFeature:
            raise self._wrong(given, place) from None
        if isinstance(checked, str) and not _is_utf8(checked):
            raise invalid(place, "the text has half of a surrogate pair, which UTF-8 cannot hold")
        return checked  # type: ignore[no-any-return]

    def _wrong(self, given: Any, place: str) -> InvalidRequest:
        of = f"a list of {self.element.value}" if self.is_list else self.element.value
        expected = {
            FeatureType.INT64: "an integer of 64 bits",
            FeatureType.DOUBLE: "a finite float32" if self.type is FeatureType.FLOAT_LIST else "a finite number",
            FeatureType.STRING: "a text",
            FeatureType.BOOL: "true or false",
        }[self.element]
        kind = "null" if given is None else type(given).__name__
        got = wording.show(given)
        return invalid(
            place,
            f"expected {expected}, as feature {self.name!r} is {of}, got {got if given is None else f'{kind} {got}'}",
        )


class FilterFields:
    """The features of a version's items that filters may name.

    Args:
        types: of the features of the item view, by name.
        item_texts: whether the model's item ids are texts.
        hidden: features that callers do not see, as those that are made of others for the tower.
    """

    def __init__(
        self, types: Mapping[str, FeatureType], *, item_texts: bool = False, hidden: Collection[str] = ()
    ) -> None:
        self._by_name = {
            name: FilterField(name, kind, _ELEMENTS.get(kind, kind), item_texts and kind is FeatureType.INT64_LIST)
            for name, kind in types.items()
            if not name.startswith("_") and name not in hidden
        }

    @property
    def names(self) -> list[str]:
        return list(self._by_name)

    def field(self, name: Any, place: str) -> FilterField:
        """A feature by its name.

        Raises:
            InvalidRequest: there is none; names those that exist, the closest first.
        """
        if not isinstance(name, str):
            raise invalid(place, f"expected the name of a feature of the items, got {wording.show(name)}")
        found = self._by_name.get(name)
        if found is None:
            known = listed(closest_first(name[:128], self._by_name), most=20)
            raise invalid(place, f"the items have no feature {wording.show(name)}; they have: {known}")
        return found


def _is_large(text: str) -> bool:
    """Whether a text is an integer of 64 bits that JavaScript could not write as a number."""
    return bool(_DECIMAL.fullmatch(text)) and abs(int(text)) > _SAFE and -(2**63) <= int(text) < 2**63


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
