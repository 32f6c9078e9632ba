"""Ids that are texts, where a stored model says that a table's keys are those of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rowbank import Client
    from rowbank.models import ModelManifest

_NO_TEXT = ""


@dataclass(frozen=True, slots=True)
class IdTexts:
    """The texts of a table's keys.

    Attributes:
        views: the feature views that hold them, the one that is read first, first.
    """

    views: tuple[str, ...]

    def of(self, client: Client, keys: Sequence[int]) -> dict[int, str]:
        """The text of each key that has one; nothing where that cannot be found out."""
        from rowbank.errors import RowbankError
        from rowbank.text_ids import ID_TEXT

        found: dict[int, str] = {}
        for view in self.views:
            try:
                reads = client.features.read(view, keys, [ID_TEXT])
            except RowbankError:
                continue
            for key, read in zip(keys, reads, strict=True):
                text = read.values.get(ID_TEXT) or _NO_TEXT
                if isinstance(text, str) and text:
                    found.setdefault(key, text)
        return found


def of_table(client: Client, table: str) -> IdTexts | None:
    """How the ids of a table's rows are texts; None: they are not, or no stored model says so."""
    from rowbank.errors import RowbankError

    try:
        manifests = [entry.manifest for entry in client.models.list()]
    except RowbankError:
        return None
    return next((texts for manifest in manifests for texts in _texts(manifest, table)), None)


def _texts(manifest: ModelManifest, table: str) -> Iterator[IdTexts]:
    """Of a table that a tower reads by an entity's own id."""
    sources = {one.name: one.source for one in manifest.tables}
    sides = (
        (manifest.query, manifest.user_ids, (manifest.user_overlay, manifest.user_view)),
        (manifest.candidate, manifest.item_ids, (manifest.item_overlay, manifest.item_view)),
    )
    for tower, ids, views in sides:
        own = {one.table for one in tower.inputs if ":" not in one.feature and one.rule is None}
        if ids == "string" and table in own | {sources.get(name, "") for name in own}:
            yield IdTexts(tuple(view for view in views if view))


def key_of(client: Client, table: str, given: str, *, is_text: bool) -> int:
    """The key of a row as it was typed: an integer, or a text where the table's ids are texts.

    An integer that is no key of the table, and as a text is an id, is that id.

    Args:
        is_text: `--text-ids` says that it is a text, also where no model says so.
    """
    if is_text:
        return _text_key(given)
    try:
        number = int(given)
    except ValueError:
        if of_table(client, table) is None:
            raise typer.BadParameter(
                f"expected an integer, got {given!r}; with --text-ids it is an id that is a text", param_hint="KEY"
            ) from None
        return _text_key(given)
    rows = client.table(table)
    if not rows.describe_row(number).found and of_table(client, table) is not None:
        key = _text_key(given)
        return key if rows.describe_row(key).found else number
    return number


def _text_key(given: str) -> int:
    from rowbank.text import id_fault, token_key

    if fault := id_fault(given):
        raise typer.BadParameter(f"the id {fault}", param_hint="KEY")
    return token_key(given)
