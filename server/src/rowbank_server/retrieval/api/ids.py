"""Ids as callers know them, integers or texts, on their way to keys and back.

A model says in its manifest what its ids are. Callers of a model whose ids are texts never see a key; those of a model
whose ids are integers may write one as a text, and have it answered so, as JavaScript's numbers end at 2**53.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from rowbank.errors import IdCollision, InvalidFeature, InvalidRequest
from rowbank.text import MAX_ID_BYTES, id_fault, token_key
from rowbank.text_ids import ID_TEXT
from rowbank.tower_keys import HISTORY
from rowbank_server import wording
from rowbank_server.features import LayeredView
from rowbank_server.features.values import FeatureType
from rowbank_server.features.views import is_kept
from rowbank_server.registry.model import Model
from rowbank_server.retrieval.generation import Generation

GivenId: TypeAlias = "int | str"
_PLAIN = re.compile(r"0|-?[1-9][0-9]*")


def in_range(number: int) -> bool:
    """Whether an integer is one of 64 bits with a sign."""
    return -(2**63) <= number < 2**63


@dataclass(frozen=True, slots=True)
class Ids:
    """What the ids of users, or of items, of a model version are.

    Attributes:
        role: "user" or "item".
        are_texts: whether they are texts; otherwise integers.
        model: the version, in words.
    """

    role: Literal["user", "item"]
    are_texts: bool
    model: str

    def key(self, given: Any, where: str) -> int:
        """The key of an id.

        Args:
            where: the field, as the message names it.
        Raises:
            InvalidRequest: it is not of this kind; the metadata has the field.
        """
        if self.are_texts:
            if not isinstance(given, str):
                example = f'such as "{given}"' if isinstance(given, int) else 'such as "lamp-7"'
                raise self._wrong(where, f"expected a text in quotes, {example}", given)
            if fault := id_fault(given):
                raise InvalidRequest(f"{where}: the id {fault}", metadata={"field": where})
            return token_key(given)
        number = given
        if isinstance(given, str):
            number = int(given) if len(given) <= 20 and _PLAIN.fullmatch(given) else None
        if isinstance(number, bool) or not isinstance(number, int) or not in_range(number):
            raise self._wrong(where, 'expected an integer of 64 bits, such as 42 or "42"', given)
        return number

    def keys(self, given: Sequence[Any], where: str) -> list[int]:
        """The keys of several ids; of integers nothing is made anew. Raises as `key`."""
        kinds = set(map(type, given))
        if not self.are_texts and kinds <= {int}:
            return list(given)
        if self.are_texts and kinds == {str} and all(given) and 4 * max(map(len, given)) <= MAX_ID_BYTES:
            return list(map(token_key, given))
        return [self.key(one, f"{where}.{place}") for place, one in enumerate(given)]

    def _wrong(self, where: str, expected: str, given: Any) -> InvalidRequest:
        kind = "texts" if self.are_texts else "integers"
        return InvalidRequest(
            f"{where}: {expected}, got {wording.show(given)}; the {self.role} ids of {self.model} are {kind}",
            metadata={"field": where},
        )


@dataclass(frozen=True, slots=True)
class ModelIds:
    """Both kinds of a model version."""

    users: Ids
    items: Ids

    @classmethod
    def of(cls, model: Model) -> ModelIds:
        """What a model's manifest says."""
        return _ids_of(model.manifest.name, model.version, model.user_texts, model.item_texts)

    def features(self, model: Model, given: Mapping[str, Any], user_id: GivenId | None) -> dict[str, Any]:
        """Features given with a query, with keys where they are ids: the user's own, and those of a history.

        Raises:
            InvalidRequest: an id is not of its kind, or the user's is not `user_id`.
        """
        made, entity = dict(given), model.query_inputs.entity
        for name, value in given.items():
            short = name.rpartition(":")[2]
            if name == entity:
                made[name] = self.users.key(value, f"features: {name}")
                if self.users.are_texts and user_id is not None and value != user_id:
                    raise InvalidRequest(
                        f"features: {name!r} is {value!r}, but user_id is {user_id!r}; give one of the two"
                    )
            elif short == HISTORY and isinstance(value, list):
                made[name] = self.history(value, f"features: {name}")
        return made

    def history(self, given: list[Any], where: str) -> list[Any]:
        """Keys of a history's items; of integers, what is none of them is left to those who check features."""
        if self.items.are_texts or any(isinstance(one, str) for one in given):
            return self.items.keys(given, where)
        return given


@functools.lru_cache(maxsize=256)
def _ids_of(name: str, version: str, user_texts: bool, item_texts: bool) -> ModelIds:
    what = f"model {name!r} {version}"
    return ModelIds(Ids("user", user_texts, what), Ids("item", item_texts, what))


def shown_id(key: int, text: str, *, as_strings: bool) -> GivenId:
    """An id as an answer has it."""
    return text or (str(key) if as_strings else key)


def shown_features(
    generation: Generation, values: Mapping[str, Any], derived: Collection[str], *, as_strings: bool
) -> dict[str, Any]:
    """Features as an answer has them: a history's items by their ids, and other lists that are of items' keys alone.

    Reads Redis for the texts of items that the catalogue has not. In a history, None stands for an item of which nobody
    ever said more than its id.

    Args:
        derived: features that are made of others, and so have no items' keys.
    """
    made, items = dict(values), generation.model.items
    for name, listed in values.items():
        if name == HISTORY and not generation.model.item_texts:
            made[name] = [str(item) if as_strings else item for item in listed]
        elif generation.model.item_texts and name not in derived and _are_integers(listed):
            texts = [generation.text_of(item) for item in listed]
            if not all(texts):
                texts = [text or stored for text, (stored, _) in zip(texts, items.texts(listed), strict=True)]
            if name == HISTORY or all(texts):
                made[name] = [text or None for text in texts]
    return made


def _are_integers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and set(map(type, value)) == {int}


def written_features(ids: Ids, view: LayeredView, features: Mapping[str, Any]) -> dict[str, Any]:
    """Features as they are stored: with keys where lists of integers came as items' ids.

    Args:
        ids: of items.
    Raises:
        InvalidRequest: an id in a history, or a text in another such list, is of another kind.
        ViewNotFound, InvalidFeature: as of `LayeredView.definition`.
    """
    kinds = {field.name: field.type for field in view.definition().fields}
    made = dict(features)
    for name, value in features.items():
        if not isinstance(value, list) or kinds.get(name) is not FeatureType.INT64_LIST:
            continue
        if any(isinstance(one, str) for one in value) or (name == HISTORY and ids.are_texts):
            made[name] = ids.keys(value, f"features.{name}")
    return made


def require_own(features: Mapping[str, Any]) -> None:
    """Refuses to write what is no caller's: an id's text, and what events keep. Raises InvalidFeature."""
    for name in features:
        if is_kept(name):
            raise InvalidFeature(f"features: {name!r} cannot be written; it is kept by the recording of events")
    if ID_TEXT in features:
        raise InvalidFeature(f"features: {ID_TEXT!r} cannot be written; it is the id, as the URL has it")


def claim(view: LayeredView, texts: Mapping[int, str]) -> list[int]:
    """Makes sure that keys belong to these texts; returns those whose text callers' layer does not hold yet.

    Raises:
        IdCollision: a key belongs to another text.
    """
    missing = []
    for (key, text), (known, written) in zip(texts.items(), view.texts(list(texts)), strict=True):
        if known and known != text:
            raise collision(text, known, key)
        if not written:
            missing.append(key)
    return missing


def collision(text: str, known: str, key: int) -> IdCollision:
    """What is said of two texts that have one key."""
    return IdCollision(
        f"id {wording.show(text)} has the same key, {key}, as {wording.show(known)}, which is stored already; "
        "nothing was done: write the id differently",
        metadata={"id": text, "stored": known},
    )
