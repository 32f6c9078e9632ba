"""Views in layers: what a model version brought along, under what callers wrote since.

A version's own view, the base, is written once when the version is published. Callers write to another view, the
overlay, which all versions of the model share; so what they wrote survives a publication, an activation and a roll
back. Of one entity, the layer with the later event time counts first, feature by feature, and the other one fills in
what it lacks. A plain view is the same thing without an overlay: callers write it itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.catalogue import REMOVED
from rowbank.errors import InvalidFeature
from rowbank.text_ids import ID_TEXT
from rowbank.tower_keys import HISTORY
from rowbank_server.features import reading
from rowbank_server.features.reading import FeatureRead, FeatureStatus, Plan, StoredRow
from rowbank_server.features.store import FeatureStore
from rowbank_server.features.transforms import Derived
from rowbank_server.features.values import ABSENT, FeatureData, FeatureType
from rowbank_server.features.views import HISTORY_TIMES, FeatureField, FeatureView, is_kept


@dataclass(frozen=True, slots=True)
class LayeredView:
    """Features of one kind of entity as a model version sees them. Thread-safe, as the store is.

    Attributes:
        base: the version's own view, or the only one.
        overlay: the view that callers write; empty: they write `base`.
        derived: features that are made of others wherever they are absent, or older than what they are made of.
        united: list features of which a newer base does not hide what the overlay has: base first, then what the
            overlay has besides.
    """

    store: FeatureStore
    base: str
    overlay: str = ""
    derived: tuple[Derived, ...] = ()
    united: Collection[str] = ()

    @property
    def written(self) -> str:
        """The view that callers write, by which they know all of it."""
        return self.overlay or self.base

    def definition(self) -> FeatureView:
        """The features of both layers as callers know them; the base's definition counts where both have one.

        Raises:
            ViewNotFound: a layer does not exist.
            InvalidFeature: the layers do not fit on each other, or not to the transforms.
        """
        base, *upper = self._views()
        fields = {field.name: field for field in base.fields}
        for overlay in upper:
            if overlay.entity != base.entity:
                raise InvalidFeature(
                    f"view {overlay.name!r} is of {overlay.entity!r} and cannot lie over view {base.name!r} of "
                    f"{base.entity!r}"
                )
            for field in overlay.fields:
                kind = fields.setdefault(field.name, field).type
                if field.type is not kind:
                    raise InvalidFeature(
                        f"view {overlay.name!r} cannot lie over view {base.name!r}: feature {field.name!r} is "
                        f"{field.type.value}, the other has {kind.value}"
                    )
        fields.pop(REMOVED, None)
        return base.model_copy(update={"fields": tuple(fields.values())})

    def check(self, *, removable: bool) -> None:
        """Refuses layers that could not be served.

        Args:
            removable: callers may remove entities, so the overlay has to be able to say so.
        Raises:
            ViewNotFound, InvalidFeature: what is wrong.
        """
        definition = self.definition()
        for derived in self.derived:
            derived.check(definition)
        if removable and self.overlay:
            kinds = {field.name: field.type for field in self.store.view(self.overlay).fields}
            if kinds.get(REMOVED) is not FeatureType.BOOL:
                raise InvalidFeature(
                    f"view {self.overlay!r} lies over view {self.base!r}, so it needs a bool feature {REMOVED!r} to "
                    "say which entities were removed; define the view with it"
                )

    def read(self, entities: Sequence[int], names: Sequence[str] = ()) -> list[FeatureRead]:
        """Reads features, in the order of `entities`, both layers in one request.

        A removed entity is not found, as one that was never written.

        Args:
            names: the features wanted; none: all of them, but for the id's text.
        Raises:
            ViewNotFound, InvalidFeature (no such feature, or stored bytes that are no value of its type).
        """
        wanted = self._fields(names)
        plans = self._plans([*(field.name for field in wanted), *self._besides(wanted)])
        rows = self.store.read_rows(plans, entities)
        return [self._merged(entity, layers, wanted) for entity, layers in zip(entities, rows, strict=True)]

    def read_sound(self, entities: Sequence[int], names: Sequence[str] = (), *, note: bool = True) -> list[FeatureRead]:
        """As `read`, without entities whose stored bytes cannot be read: they are noted in the store's `unreadable`.

        Args:
            note: False: they are not, as by a read of some entities that says itself whom it could not read.
        """
        wanted = self._fields(names)
        plans = self._plans([*(field.name for field in wanted), *self._besides(wanted)])
        rows = self.store.read_sound_rows(plans, entities, note=note)
        pairs = zip(entities, rows, strict=True)
        return [self._merged(entity, layers, wanted) for entity, layers in pairs if layers is not None]

    def plans(self) -> list[Plan]:
        """A read of every feature of each layer, the base first."""
        return [reading.plan(view, view.fields) for view in self._views()]

    @property
    def has_unreadable(self) -> bool:
        """Whether something of these layers was found unreadable and has not been read since."""
        counts = self.store.unreadable.counts()
        return any(counts.get(name) for name in (self.base, f"{self.base}:{ID_TEXT}"))

    def note_sound(self, entities: npt.NDArray[np.int64]) -> None:
        """Says that entities could be read."""
        if self.has_unreadable:
            self.store.unreadable.update(self.base, {}, entities.tolist())

    def note_unreadable(self, bad: Mapping[int, str], sound: Sequence[int]) -> None:
        """As `read_sound` notes what it leaves out: why, by entity, and which were sound."""
        self.store.unreadable.update(f"{self.base}:{ID_TEXT}", bad, sound)

    def entities(self) -> npt.NDArray[np.int64]:
        """Every entity that a layer lists, ascending: [N] int64; removed ones are among them and read as not found."""
        # Layers are written through the store alone; one that nobody wrote yet is nothing to search Redis for.
        lists = [self.store.entities(name, indexed_only=bool(self.overlay)) for name in self._names()]
        return np.unique(np.concatenate(lists))

    def some_entities(self, count: int) -> list[int]:
        """A few entities that a layer lists, ascending, the same ones each time: those of the base first."""
        found: set[int] = set()
        for name in self._names():
            if len(found) < count:
                found.update(self.store.some_entities(name, count - len(found)))
        return sorted(found)[:count]

    def write(self, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> int:
        """Writes what callers say, now; features that a row leaves out keep their values, but what is made of a
        feature goes with it.

        Returns, raises: as `FeatureStore.write`.
        """
        view = self.store.view(self.written)
        has = {field.name for field in view.fields}
        for entity, values in rows:
            if REMOVED in values:
                raise InvalidFeature(
                    f"{view.entity} {entity}: {REMOVED!r} cannot be written; remove the entity instead"
                )
        full = [(entity, values and {**self._outdated(values, has), **values}) for entity, values in rows]
        return self.store.write(view.name, full)

    def write_each(self, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> list[bool | InvalidFeature]:
        """As `write`, but the rows that are right are written whatever is wrong with others; an outcome per row, as
        of `FeatureStore.write_each`."""
        has = self.store.view(self.written).has
        full = [(entity, values and {**self._outdated(values, has), **values}) for entity, values in rows]
        return self.store.write_each(self.written, full)

    def remove(self, entity: int) -> bool:
        """Removes an entity from sight; True if it was there."""
        if not self.overlay:
            return self.store.remove(self.base, entity)
        view = self.store.view(self.overlay)
        if self._merged(entity, self.store.read_rows(self._plans([REMOVED]), [entity])[0], ()).status is (
            FeatureStatus.NOT_FOUND
        ):
            return False
        # The id's text stays: users' histories may name the item, and no other id may get its key.
        gone: dict[str, Any] = {field.name: ABSENT for field in view.fields if field.name != ID_TEXT}
        return bool(self.store.write(view.name, [(entity, {**gone, REMOVED: True})]))

    def append(self, name: str, entity: int, items: Sequence[Any], *, limit: int) -> int:
        """Appends to a list feature and keeps its last `limit` elements, in one atomic step over both layers.

        The first append to an entity copies what the base has into the overlay.

        Returns, raises: as `FeatureStore.append`.
        """
        plans = self._plans([name])

        def longer(layers: list[StoredRow]) -> dict[str, list[Any]]:
            return {name: [*self._held(name, layers), *items][-limit:]}

        return self.store.change_lists(self.written, entity, plans, longer)[name]

    def change_lists(
        self, entity: int, names: Sequence[str], change: Callable[[dict[str, list[Any]]], Mapping[str, list[Any]]]
    ) -> dict[str, int]:
        """Changes several list features of an entity together, in one atomic step over both layers.

        Args:
            names: of the lists that are read.
            change: the new lists, given the present ones; called again if somebody else was faster.
        Returns, raises: as `FeatureStore.change_lists`.
        """

        def changed(layers: list[StoredRow]) -> Mapping[str, list[Any]]:
            return change({name: self._held(name, layers) for name in names})

        return self.store.change_lists(self.written, entity, self._plans(names), changed)

    def _held(self, name: str, layers: Sequence[StoredRow]) -> list[Any]:
        held = self._list(name, _newest_first(layers), layers[0])
        return list(held) if isinstance(held, list) else []

    def require_texts(self, what: str) -> None:
        """Refuses layers that have no place for the texts of ids.

        Args:
            what: whose ids are texts, as in "the item ids of model 'shop' v1".
        Raises:
            InvalidFeature: says which view lacks it.
        """
        for view in self._views():
            if all(field.name != ID_TEXT for field in view.fields):
                raise InvalidFeature(
                    f"{what} are texts, so view {view.name!r} needs a string feature {ID_TEXT!r} that holds them; "
                    "define the view with it"
                )

    def texts(self, entities: Sequence[int]) -> list[tuple[str, str]]:
        """For each entity the text of its id, and that of the layer which callers write; "" where there is none.

        Removed entities have theirs.
        """
        rows = self.store.read_rows(self._plans([ID_TEXT]), entities)
        found = []
        for layers in rows:
            texts = [str(row.values.get(ID_TEXT, "")) for row in layers]
            found.append((next((text for text in texts if text), ""), texts[-1]))
        return found

    def _names(self) -> list[str]:
        return [self.base, self.overlay] if self.overlay else [self.base]

    def _views(self) -> list[FeatureView]:
        return [self.store.view(name) for name in self._names()]

    def _fields(self, names: Sequence[str]) -> list[FeatureField]:
        definition = self.definition()
        if names:
            return [definition.field(name) for name in names]
        return [field for field in definition.fields if field.name != ID_TEXT and not is_kept(field.name)]

    def _plans(self, names: Sequence[str]) -> list[Plan]:
        """The same read of each layer, as far as the layer has the features."""
        wanted = dict.fromkeys(names)
        return [reading.plan(view, [f for f in view.fields if f.name in wanted]) for view in self._views()]

    def _besides(self, wanted: Sequence[FeatureField]) -> list[str]:
        """What has to be read to know the wanted features, besides them."""
        names = {field.name for field in wanted}
        return [REMOVED, *(derived.input for derived in self.derived if derived.output in names)]

    def _outdated(self, values: Mapping[str, Any], has: Collection[str]) -> dict[str, Any]:
        """What was made of the values before these, or says something of them, and is not among them."""
        gone = [derived.output for derived in self.derived if derived.input in values]
        if HISTORY in values:  # Nothing is known of when its items were met.
            gone.append(HISTORY_TIMES)
        return {name: ABSENT for name in gone if name in has}

    def _merged(self, entity: int, layers: list[StoredRow], wanted: Sequence[FeatureField]) -> FeatureRead:
        if len(layers) == 1 and not self.derived:
            return _alone(entity, layers[0], wanted)
        rows = _newest_first([row for row in layers if row.status is FeatureStatus.PRESENT])
        status = FeatureStatus.PRESENT if rows else _absence(layers)
        event_time_s = max(row.event_time_s for row in layers)
        if rows and rows[0].values.get(REMOVED, False):
            status, rows = FeatureStatus.NOT_FOUND, []
        made = {derived.output: derived for derived in self.derived}
        values: dict[str, FeatureData] = {}
        absent: set[str] = set()
        for field in wanted:
            value = self._list(field.name, rows, layers[0]) if field.name in self.united else _first(field.name, rows)
            if field.name in made:
                value = _derive(made[field.name], rows)
            values[field.name] = field.absent if value is None else value
            if value is None:
                absent.add(field.name)
        base = layers[0].values if layers[0].status is FeatureStatus.PRESENT else {}
        return FeatureRead(entity, values, status, event_time_s, absent, base)

    def _list(self, name: str, rows: Sequence[StoredRow], base: StoredRow) -> FeatureData | None:
        """A list over the layers, newest first: that of the newer layer, to which a newer base adds the overlay's."""
        lists: list[Any] = [row.values[name] for row in rows if name in row.values]
        if name not in self.united or len(lists) < 2 or rows[0] is not base:
            return lists[0] if lists else None
        known = set(lists[0])
        return [*lists[0], *(item for item in lists[1] if item not in known)]


def _alone(entity: int, row: StoredRow, wanted: Sequence[FeatureField]) -> FeatureRead:
    """What a view in one layer has of an entity, where nothing is made of anything."""
    base = row.values if row.status is FeatureStatus.PRESENT else {}
    status, held = row.status, base
    if held.get(REMOVED, False):
        status, held = FeatureStatus.NOT_FOUND, {}
    values: dict[str, FeatureData] = {}
    absent: set[str] = set()
    for field in wanted:
        value = held.get(field.name)
        if value is None:
            absent.add(field.name)
        values[field.name] = field.absent if value is None else value
    return FeatureRead(entity, values, status, row.event_time_s, absent, base)


def _newest_first(rows: Sequence[StoredRow]) -> list[StoredRow]:
    """Of equally old rows the base comes first, as it does in `rows`."""
    return sorted(rows, key=lambda row: row.event_time_s, reverse=True)


def _absence(layers: Sequence[StoredRow]) -> FeatureStatus:
    old = any(row.status is FeatureStatus.OUTSIDE_MAX_AGE for row in layers)
    return FeatureStatus.OUTSIDE_MAX_AGE if old else FeatureStatus.NOT_FOUND


def _first(name: str, rows: Sequence[StoredRow]) -> FeatureData | None:
    return next((row.values[name] for row in rows if name in row.values), None)


def _derive(derived: Derived, rows: Sequence[StoredRow]) -> FeatureData | None:
    """The output as it was written, unless its input is newer: then it is made of that."""
    for row in rows:
        if derived.output in row.values:
            return row.values[derived.output]
        if derived.input in row.values:
            return derived.make(str(row.values[derived.input]))
    return None
