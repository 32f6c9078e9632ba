"""The catalogue and the histories of a model version, in views of its own that are written once.

What callers write goes to other views, the overlays, which all versions of a model share; so it survives every publish.
A reader takes both together, entity by entity: what is newer wins. The event time of a version's own views is when its
data was read, so that what callers wrote meanwhile counts as newer. See docs/retrieval.md, "Catalogues".
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rowbank.errors import IdCollision, InvalidFeature, ModelNotFound, RequestError, shown
from rowbank.features import FeatureField, FeatureResult, FeatureView, normalized
from rowbank.text_ids import ID_TEXT

if TYPE_CHECKING:
    from rowbank.client import Client
    from rowbank.features import Features

REMOVED = "_removed"  # The boolean feature of an entity that was taken out of a catalogue, where a view has it.
TITLE_FIELDS = (FeatureField("title", "string"),)
HISTORY_FIELDS = (FeatureField("history", "int64_list"),)

_ENTITIES_PER_PART = 16_384
_LONGEST_PART = 48  # Of a model's or a version's name within a view's, which may have 128 characters.
_HASH_CHARACTERS = 8

Rows = Mapping[int, Mapping[str, Any]]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class ViewNames:
    """What the views of a version are called. Attributes are those of `ModelManifest` of the same names."""

    item_view: str
    user_view: str
    item_overlay: str
    user_overlay: str

    @classmethod
    def of(cls, model: str, version: str) -> ViewNames:
        """`<model>_<version>_items` and `_users`, and the model's overlays `<model>_items` and `_users`.

        A character that views' names cannot have becomes "_"; then, and where a name is cut, a hash tells it apart.
        """
        name = _fit(model)
        own = f"{name}_{re.sub(r'[^A-Za-z0-9_]', '_', version)[:_LONGEST_PART]}"
        return cls(f"{own}_items", f"{own}_users", f"{name}_items", f"{name}_users")


@dataclass(frozen=True, slots=True)
class CatalogueReport:
    """What became of the items that the active version serves.

    Attributes:
        views: what to write into the manifest.
        items: that the version's files list.
        users: with a history.
        added: items that were not served before.
        changed: items of the files that were served before with other features.
        left: items that were served before and are not any more.
        kept: items that are as callers wrote them, because only they did, or later than the files were read; deletions
            that came later count too.
    """

    views: ViewNames
    items: int
    users: int
    added: int
    changed: int
    left: int
    kept: int


def write_catalogue(
    client: Client,
    model: str,
    version: str,
    *,
    items: Rows,
    users: Rows,
    read_at_s: float,
    item_fields: Sequence[FeatureField] = TITLE_FIELDS,
    user_fields: Sequence[FeatureField] = HISTORY_FIELDS,
    item_names: Mapping[int, str] | None = None,
    user_names: Mapping[int, str] | None = None,
    progress: Progress | None = None,
) -> CatalogueReport:
    """Writes a version's own views, before it is published, and makes the model's overlays if there are none.

    Items that the active version's own view lists and `items` does not are marked as removed, unless callers wrote them
    after `read_at_s`. Nothing that callers wrote is changed.

    Args:
        items: every item that can be recommended -> its features.
        users: user -> features, such as {"history": ids of all items met, oldest first}.
        read_at_s: Unix seconds at which the data was read, before training.
        item_fields, user_fields: the features. Callers may write these too.
        item_names, user_names: the text of each id, where ids are texts (`item_ids="string"` in the manifest): `items`,
            `users` and histories then have the texts' keys, `rowbank.text.token_key`.
        progress: told what is written, how many entities are done and how many there are.
    Returns:
        The views' names, for the manifest, and what changes for those who are served.
    Raises:
        InvalidFeature: a feature is not of its field's type, or the version's views exist: choose another version; or
            callers write a feature with another type, and nothing was written.
        IdCollision: a text has the key of another one that is stored for the model; nothing was written.
    """
    features, names = client.features, ViewNames.of(model, version)
    fields = (*_fields(item_fields, item_names), FeatureField(REMOVED, "bool"))
    user_fields = _fields(user_fields, user_names)
    items, users = _with_texts(items, item_names, "item"), _with_texts(users, user_names, "user")
    known = {view.name: view for view in features.list_views()}
    for view in (names.item_view, names.user_view):
        if view in known:
            raise InvalidFeature(
                f"view {view!r} exists, so version {version!r} of model {model!r} has its catalogue already; "
                "publish under another version",
                metadata={"view": view},
            )
    _require_types(known.get(names.item_overlay), fields)
    _require_types(known.get(names.user_overlay), user_fields)
    before = _Before.read(client, model, known, fields)
    if item_names is not None:
        _require_same_texts("item", before.base, item_names)
        _require_same_texts("item", _texts(features, known.get(names.item_overlay), item_names), item_names)
    if user_names is not None:
        _require_same_texts("user", _texts(features, known.get(names.user_overlay), user_names), user_names)
    for view, entity, view_fields in (
        (names.item_overlay, "item_id", fields),
        (names.user_overlay, "user_id", user_fields),
    ):
        features.put_view(_extended(known.get(view), FeatureView(view, entity, view_fields)))
    gone = before.withdrawn(items, read_at_s)
    rows = itertools.chain(
        ((item, {**values, REMOVED: False}) for item, values in items.items()),
        ((item, {REMOVED: True, **before.text(item)}) for item in gone),
    )
    try:
        features.put_view(FeatureView(names.item_view, "item_id", fields))
        features.put_view(FeatureView(names.user_view, "user_id", user_fields))
        _write(features, names.item_view, rows, len(items) + len(gone), "items", read_at_s, progress)
        _write(features, names.user_view, users.items(), len(users), "users", read_at_s, progress)
    except BaseException:
        drop_catalogue(client, names)
        raise
    return before.report(names, items, len(users), gone, read_at_s, fields)


def _fields(fields: Sequence[FeatureField], names: Mapping[int, str] | None) -> tuple[FeatureField, ...]:
    """The fields and, where ids are texts, one for the text."""
    taken = [field.name for field in fields if field.name in (ID_TEXT, REMOVED)]
    if taken:
        raise InvalidFeature(f"feature {taken[0]!r}: that name is Rowbank's own; choose another")
    return tuple(fields) if names is None else (*fields, FeatureField(ID_TEXT, "string"))


def _with_texts(rows: Rows, names: Mapping[int, str] | None, what: str) -> Rows:
    if names is None:
        return rows
    nameless = next((entity for entity in rows if entity not in names), None)
    if nameless is not None:
        raise InvalidFeature(f"{what}_names: {what} {nameless} has no text; expected one for each of the {what}s")
    return {entity: {**values, ID_TEXT: names[entity]} for entity, values in rows.items()}


def _texts(features: Features, view: FeatureView | None, among: Mapping[int, str]) -> dict[int, FeatureResult]:
    """What a view holds of the texts of some entities."""
    if view is None or all(field.name != ID_TEXT for field in view.fields):
        return {}
    asked = [entity for entity in features.entities(view.name).tolist() if entity in among]
    return {result.entity: result for result in features.read(view.name, asked, [ID_TEXT])}


def _require_same_texts(what: str, rows: Mapping[int, FeatureResult], names: Mapping[int, str]) -> None:
    """Raises IdCollision if a key has another text in what is stored than in what is to be."""
    for entity, row in rows.items():
        known, new = row.values.get(ID_TEXT, ""), names.get(entity, "")
        if known and new and known != new:
            raise IdCollision(
                f"{what} ids {shown(known)}, which is stored, and {shown(new)} of the new data have the same key, "
                f"{entity}; nothing was published: write one of them differently, or number all ids yourself",
                metadata={"stored": known, "new": new},
            )


def drop_catalogue(client: Client, views: ViewNames) -> None:
    """Removes a version's own views if the version did not come to be; where it did, this changes nothing."""
    for view in (views.item_view, views.user_view):
        with contextlib.suppress(RequestError):
            client.features.drop_view(view)


@dataclass(frozen=True, slots=True)
class _Before:
    """The active version's catalogue: its own view, and what callers wrote over it. Empty if there is none."""

    base: Mapping[int, FeatureResult]
    overlay: Mapping[int, FeatureResult]

    @classmethod
    def read(
        cls, client: Client, model: str, known: Mapping[str, FeatureView], fields: Sequence[FeatureField]
    ) -> _Before:
        try:
            manifest = client.models.get(model).manifest
        except ModelNotFound:
            return cls({}, {})
        wanted = [field.name for field in fields]
        return cls(
            _read_view(client.features, known.get(manifest.item_view), wanted),
            _read_view(client.features, known.get(manifest.item_overlay), [REMOVED]),
        )

    def withdrawn(self, items: Rows, read_at_s: float) -> list[int]:
        """Items to be marked as removed: the files list them no more, and no caller wrote them since.

        One that was marked before stays so only where callers had written it earlier, or it would come back.
        """
        gone = []
        for item, row in self.base.items():
            over = self.overlay.get(item)
            if item in items or (over is not None and over.event_time_s > read_at_s):
                continue
            marked = row.values.get(REMOVED, False)
            if not marked or (over is not None and over.event_time_s <= row.event_time_s):
                gone.append(item)
        return gone

    def text(self, item: int) -> dict[str, str]:
        """The text of an item's id as a feature, where there is one."""
        text = self.base[item].values.get(ID_TEXT, "")
        return {ID_TEXT: text} if text else {}

    def served(self, item: int) -> bool:
        """Whether the item was in the catalogue."""
        base, over = self.base.get(item), self.overlay.get(item)
        newer = over if base is None or (over is not None and over.event_time_s > base.event_time_s) else base
        return newer is not None and not newer.values.get(REMOVED, False)

    def report(
        self,
        views: ViewNames,
        items: Rows,
        users: int,
        gone: Iterable[int],
        read_at_s: float,
        fields: Sequence[FeatureField],
    ) -> CatalogueReport:
        added = changed = left = kept = 0
        withdrawn = set(gone)
        for item, values in items.items():
            over = self.overlay.get(item)
            if over is not None and over.event_time_s > read_at_s:
                kept += 1
            elif not self.served(item):
                added += 1
            elif self._differs(item, values, fields):
                changed += 1
        for item in (self.base.keys() | self.overlay.keys()) - items.keys():
            over = self.overlay.get(item)
            if over is not None and item not in withdrawn and not over.values.get(REMOVED, False):
                kept += 1
            elif self.served(item):
                left += 1
        return CatalogueReport(views, len(items), users, added, changed, left, kept)

    def _differs(self, item: int, values: Mapping[str, Any], fields: Sequence[FeatureField]) -> bool:
        base = self.base.get(item)
        if base is None or base.values.get(REMOVED, False):
            return True
        return any(
            field.name not in base.values or normalized(field, values.get(field.name)) != base.values[field.name]
            for field in fields
            if field.name != REMOVED
        )


def _read_view(features: Features, view: FeatureView | None, wanted: Sequence[str]) -> dict[int, FeatureResult]:
    if view is None:
        return {}
    names = [field.name for field in view.fields if field.name in wanted]
    entities = features.entities(view.name).tolist()
    # Of a view without any of these features the times are wanted all the same.
    results = features.read(view.name, entities, names or [view.fields[0].name])
    return {result.entity: result for result in results if result.status != "not_found"}


def _write(
    features: Features,
    view: str,
    rows: Iterable[tuple[int, Mapping[str, Any]]],
    total: int,
    what: str,
    read_at_s: float,
    progress: Progress | None,
) -> None:
    source, done = iter(rows), 0
    while part := dict(itertools.islice(source, _ENTITIES_PER_PART)):
        features.write(view, part, event_time_s=read_at_s)
        done += len(part)
        if progress is not None:
            progress(what, done, total)


def _require_types(overlay: FeatureView | None, fields: Sequence[FeatureField]) -> None:
    """Raises InvalidFeature if callers write a feature with another type than the new data have."""
    kinds = {} if overlay is None else {field.name: field.type for field in overlay.fields}
    for field in fields:
        kind = kinds.get(field.name, field.type)
        if overlay is not None and kind != field.type:
            raise InvalidFeature(
                f"feature {field.name!r} is {field.type} in the new data and {kind} in view {overlay.name!r}, which "
                "callers write and all versions of the model share; a feature never changes its type: give it the type "
                "that it had or another name, or publish under another model",
                metadata={"view": overlay.name, "feature": field.name},
            )


def _extended(present: FeatureView | None, wanted: FeatureView) -> FeatureView:
    """A view with the features of both: what callers defined stays."""
    if present is None:
        return wanted
    names = {field.name for field in present.fields}
    missing = tuple(field for field in wanted.fields if field.name not in names)
    return FeatureView(present.name, present.entity, (*present.fields, *missing), present.max_age_s)


def _fit(model: str) -> str:
    """A model's name as part of a view's."""
    fit = re.sub(r"[^A-Za-z0-9_]", "_", model)
    fit = f"_{fit}" if fit[:1].isdigit() else fit
    if fit == model and len(fit) <= _LONGEST_PART:
        return fit
    digest = hashlib.blake2b(model.encode(), digest_size=_HASH_CHARACTERS // 2).hexdigest()
    return f"{fit[:_LONGEST_PART]}_{digest}"
