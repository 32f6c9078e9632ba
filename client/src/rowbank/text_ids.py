"""Entities whose ids are texts: they are known by their texts' keys, and views keep the texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rowbank.errors import IdCollision, InvalidFeature, shown
from rowbank.text import id_fault, token_key

ID_TEXT = "_id"  # The string feature that holds an entity's id, where ids are texts and entities are their keys.


def entity_key(text: Any) -> int:
    """The key of an id that is a text. Raises InvalidFeature: it is no text, or cannot be an id."""
    if not isinstance(text, str):
        raise InvalidFeature(f"entity: expected a text, as text_ids says, got {shown(text)}")
    if fault := id_fault(text):
        raise InvalidFeature(f"entity: the text {shown(text)} {fault}")
    return token_key(text)


def by_key(texts: Iterable[Any]) -> dict[int, str]:
    """Texts by their keys.

    Raises:
        InvalidFeature: as `entity_key`.
        IdCollision: two of them have the same key.
    """
    made: dict[int, str] = {}
    for text in texts:
        first = made.setdefault(entity_key(text), text)
        if first != text:
            raise collision(text, first)
    return made


def collision(text: str, known: str) -> IdCollision:
    """What is said of two texts that have the same key."""
    return IdCollision(
        f"ids {shown(known)} and {shown(text)} have the same key, {token_key(text)}; nothing was written: write one of "
        "them differently",
        metadata={"id": text, "stored": known},
    )
