"""The feature store: typed views over Feast's online-store layout."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import redis

from rowbank.catalogue import REMOVED
from rowbank.closest import closest_first, listed
from rowbank.errors import InvalidFeature, ViewNotFound, shown
from rowbank.text_ids import ID_TEXT
from rowbank_server.features import layout, reading
from rowbank_server.features.bulk import CHUNK, BulkWriter, Locks, is_later
from rowbank_server.features.changes import ChangeFeed
from rowbank_server.features.column_reader import ColumnReader
from rowbank_server.features.columns import Columns
from rowbank_server.features.entity_reader import EntityReader
from rowbank_server.features.foreign import ForeignEntities
from rowbank_server.features.freshness import Freshness
from rowbank_server.features.reading import FeatureRead, Plan, StoredRow
from rowbank_server.features.redis_errors import translated
from rowbank_server.features.unreadable import Unreadable
from rowbank_server.features.values import ABSENT, ABSENT_BYTES, check, encode, encode_time
from rowbank_server.features.views import FeatureView, is_kept, parse_view

_VIEW_AGE_S = 1.0  # How long a definition read from Redis may be used without asking again.
_TRIES = 20  # Of a step that others may come between.


class FeatureStore:
    """Features by view and entity. Thread-safe, as its Redis client is.

    Args:
        client: must answer bytes (`decode_responses=False`).
        namespace: Feast's project, and the prefix of our own keys.
        clock: Unix seconds; ages are judged by it.
    """

    def __init__(
        self, client: redis.Redis, namespace: str = "rowbank", *, clock: Callable[[], float] = time.time
    ) -> None:
        self._redis: Any = client
        self._namespace = namespace
        self._clock = clock
        self._views_key = layout.views_key(namespace)
        self._views: dict[str, tuple[float, FeatureView]] = {}
        self._reader = EntityReader(client, namespace, clock)
        self._foreign = ForeignEntities(client, namespace)
        self._locks = Locks()
        self.changes = ChangeFeed(client, namespace)
        self.columns = ColumnReader(client, namespace)
        self._bulk = BulkWriter(client, namespace, self._locks, self.changes)
        self.unreadable = Unreadable()
        self.freshness = Freshness()

    def put_view(self, view: FeatureView) -> bool:
        """Defines or changes a view; True if that changed anything.

        Raises:
            InvalidFeature: values stored under the view's present definition could not be read under the new one; or
                another program filled the view under keys that are not read here, as far as a sample shows.
        """
        return self._define(view.name, lambda known: view if known is None else _succeeding(known, view))

    def keep_lists(self, view_name: str, names: Iterable[str]) -> None:
        """Makes sure that a view has lists for the recording of events, whoever else defines it at the moment.

        Raises:
            ViewNotFound: there is no such view.
        """
        if self.view(view_name).has.issuperset(names):
            return
        self._define(view_name, lambda known: known and known.with_kept(names))

    def _define(self, name: str, successor: Callable[[FeatureView | None], FeatureView | None]) -> bool:
        """Replaces a definition by what follows from it, in one atomic step; True if that changed anything."""
        with translated(f"view {name!r}"):
            for _ in range(_TRIES):
                with self._redis.pipeline(transaction=True) as pipe:
                    try:
                        pipe.watch(self._views_key)
                        stored = pipe.hget(self._views_key, name)
                        known = None if stored is None else parse_view(stored)
                        new = successor(known)
                        if new is None:
                            return False
                        if new == known:  # Also where somebody else has just made it so.
                            self._views[name] = (time.monotonic(), new)
                            return False
                        if known is None:
                            self._foreign.require_readable(new)
                        pipe.multi()
                        pipe.hset(self._views_key, name, new.model_dump_json())
                        pipe.execute()
                    except redis.WatchError:
                        continue
                self._views[name] = (time.monotonic(), new)
                self.changes.note_definition(name)
                return True
            raise redis.TimeoutError(f"the views were changed by others {_TRIES} times in a row")

    def list_views(self) -> list[FeatureView]:
        """Every view, by name."""
        with translated("list of views"):
            stored = self._redis.hgetall(self._views_key)
        return [parse_view(stored[name]) for name in sorted(stored)]

    def view(self, name: str) -> FeatureView:
        """A view's definition, at most a second old.

        Raises:
            ViewNotFound: there is none of that name.
        """
        cached = self._views.get(name)
        if cached is not None and time.monotonic() - cached[0] < _VIEW_AGE_S:
            return cached[1]
        with translated(f"view {name!r}"):
            stored = self._redis.hget(self._views_key, name)
        if stored is None:
            self._views.pop(name, None)
            known = listed(closest_first(name, [view.name for view in self.list_views()]))
            raise ViewNotFound(f"view {name!r} does not exist; known views: {known}", metadata={"view": name})
        view = parse_view(stored)
        self._views[name] = (time.monotonic(), view)
        return view

    def forget_views(self, names: Iterable[str]) -> None:
        """Has the definitions of some views read anew when they are needed next, however old they are."""
        for name in names:
            self._views.pop(name, None)

    def write(
        self, view_name: str, rows: Sequence[tuple[int, Mapping[str, Any]]], event_time_s: float | None = None
    ) -> int:
        """Writes features of entities; features that a row leaves out keep their values.

        Everything is checked before anything is written. A row whose entity was last written by a later event is
        left out. Two writers of one entity at the same moment: the last one wins.

        Args:
            rows: (entity, values by feature name); of repeated entities the last row counts per feature. The value
                `ABSENT` takes a feature away. A removed entity that is written is there again.
            event_time_s: Unix seconds when this was true; None: now.
        Returns:
            The number of rows written.
        Raises:
            ViewNotFound, InvalidFeature: nothing was written.
        """
        view = self.view(view_name)
        encoded = [(_int64(entity), _encode_row(view, entity, values)) for entity, values in rows]
        return sum(self._write_encoded(view, encoded, event_time_s))

    def write_each(self, view_name: str, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> list[bool | InvalidFeature]:
        """As `write`, now, but the rows that are right are written whatever is wrong with others.

        Returns:
            For each row whether it was written (otherwise a later event had written the entity), or what is wrong.
        """
        view = self.view(view_name)
        outcomes: list[bool | InvalidFeature] = [False] * len(rows)
        encoded, places = [], []
        for place, (entity, values) in enumerate(rows):
            row = _encoded_or_fault(view, entity, values)
            if isinstance(row, InvalidFeature):
                outcomes[place] = row
            else:
                encoded.append((_int64(entity), row))
                places.append(place)
        for place, written in zip(places, self._write_encoded(view, encoded, None), strict=True):
            outcomes[place] = written
        return outcomes

    def _write_encoded(
        self, view: FeatureView, rows: list[tuple[int, dict[bytes, bytes]]], event_time_s: float | None
    ) -> list[bool]:
        """Whether each row was written."""
        now = self._clock() if event_time_s is None else event_time_s
        written: list[bool] = []
        with translated(f"write to view {view.name!r}"):
            for start in range(0, len(rows), CHUNK):
                written += self._write_chunk(view, rows[start : start + CHUNK], now)
        if any(written):
            self.freshness.wrote(view.name, now)
        return written

    def _write_chunk(self, view: FeatureView, rows: list[tuple[int, dict[bytes, bytes]]], now: float) -> list[bool]:
        keys = [layout.entity_key(view.entity, entity, self._namespace) for entity, _ in rows]
        stamp_field, stamp = layout.timestamp_field(view.name), encode_time(now)
        with self._locks.of(view.name):
            with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.hget(key, stamp_field)
                outdated = [known is not None and is_later(known, now) for known in pipe.execute()]
            with self._redis.pipeline(transaction=False) as pipe:
                for (entity, fields), key, is_outdated in zip(rows, keys, outdated, strict=True):
                    if not is_outdated:
                        pipe.hset(key, mapping={**fields, stamp_field: stamp})
                        pipe.sadd(layout.index_key(self._namespace, view.name, entity), entity)
                pipe.execute()
        written = [entity for (entity, _), is_outdated in zip(rows, outdated, strict=True) if not is_outdated]
        self.changes.note(view.name, written)
        return [not one for one in outdated]

    def write_columns(self, view: FeatureView, columns: Columns) -> int:
        """Writes many rows; of each entity the latest event counts, within the rows and against what is stored.

        Returns:
            The number of rows written; the others are of entities that a later event had written.
        Raises:
            RedisUnavailable: some of the rows may have been written; to write them again does no harm.
            ViewNotFound, InvalidFeature: the view was dropped or replaced meanwhile.
        """
        with translated(f"write to view {view.name!r}"):
            written = self._bulk.write(view, columns)
        if written:
            self.freshness.wrote(view.name, float(columns.event_times_us.max()) / 1e6)
        return written

    def read(self, view_name: str, entities: Sequence[int], names: Sequence[str] = ()) -> list[FeatureRead]:
        """Reads features, in the order of `entities`.

        Args:
            names: the features wanted; none: all of the view that are callers'.
        Raises:
            ViewNotFound, InvalidFeature (no such feature, or stored bytes that are no value of its type).
        """
        view = self.view(view_name)
        own = [field for field in view.fields if not is_kept(field.name)]
        plan = reading.plan(view, [view.field(name) for name in names] if names else own)
        rows = self.read_rows([plan], entities)
        return [reading.with_defaults(plan, entity, row) for entity, (row,) in zip(entities, rows, strict=True)]

    def read_rows(self, plans: Sequence[Plan], entities: Sequence[int]) -> list[list[StoredRow]]:
        """What several views of the same kind of entity hold, in one request per entity: a row per entity and plan.

        Raises:
            InvalidFeature: stored bytes that are no value of a feature's type.
        """
        with translated(f"read of {_named(plans)}"):
            outcomes = [outcome for chunk in _chunks(entities) for outcome in self._reader.read(plans, chunk)]
        rows = []
        for outcome in outcomes:
            if isinstance(outcome, InvalidFeature):
                raise outcome
            rows.append(outcome)
        return rows

    def read_sound_rows(
        self, plans: Sequence[Plan], entities: Sequence[int], *, note: bool = True
    ) -> list[list[StoredRow] | None]:
        """As `read_rows`, but None for an entity whose stored bytes cannot be read; with `note` it is noted in
        `unreadable`."""
        with translated(f"read of {_named(plans)}"):
            outcomes = [outcome for chunk in _chunks(entities) for outcome in self._reader.read(plans, chunk)]
        pairs = list(zip(entities, outcomes, strict=True))
        bad = {entity: outcome.message for entity, outcome in pairs if isinstance(outcome, InvalidFeature)}
        if note:
            self.unreadable.update(plans[0].view.name, bad, [entity for entity in entities if entity not in bad])
        return [None if isinstance(outcome, InvalidFeature) else outcome for outcome in outcomes]

    def reads_other_keys(self, join_key: str) -> bool:
        """Whether entities of this join key were met under other kinds of keys than ours."""
        return self._reader.has_met_others(join_key)

    def append(self, view_name: str, name: str, entity: int, items: Sequence[Any], *, limit: int) -> int:
        """Appends to a list feature in one atomic step and keeps its last `limit` elements.

        Returns:
            The length of the list now.
        Raises:
            ViewNotFound, InvalidFeature: nothing was changed.
            RedisUnavailable: also when other writers kept changing the entity at the same moments.
        """
        view = self.view(view_name)
        plan = reading.plan(view, [view.field(name)])

        def longer(rows: list[StoredRow]) -> dict[str, list[Any]]:
            held: Any = rows[0].values.get(name, [])
            return {name: [*held, *items][-limit:]}

        return self.change_lists(view_name, entity, [plan], longer)[name]

    def change_lists(
        self,
        view_name: str,
        entity: int,
        plans: Sequence[Plan],
        change: Callable[[list[StoredRow]], Mapping[str, list[Any]]],
    ) -> dict[str, int]:
        """Writes list features that depend on what is stored, in one atomic step.

        Args:
            plans: what is read of the entity; any of its views.
            change: the lists by name, given what was read, a row per plan; called again if somebody else was faster.
        Returns:
            The lengths of the lists now.
        Raises:
            As `append`.
        """
        view = self.view(view_name)
        key = layout.entity_key(view.entity, _int64(entity), self._namespace)
        with translated(f"append to view {view_name!r}"):
            for _ in range(_TRIES):
                with self._redis.pipeline(transaction=True) as pipe:
                    try:
                        pipe.watch(key)
                        lists = change(self._reader.read_own(pipe, plans, entity))
                        fields = _encode_lists(view, entity, lists)
                        now = self._clock()
                        pipe.multi()
                        pipe.hset(key, mapping={**fields, layout.timestamp_field(view_name): encode_time(now)})
                        pipe.execute()
                    except redis.WatchError:
                        continue
                self._redis.sadd(layout.index_key(self._namespace, view_name, entity), entity)
                self.freshness.wrote(view_name, now)
                return {name: len(items) for name, items in lists.items()}
            raise redis.TimeoutError(f"{view.entity} {entity} was changed by others {_TRIES} times in a row")

    def remove(self, view_name: str, entity: int) -> bool:
        """Removes a view's features of one entity; True if there were any."""
        view = self.view(view_name)
        fields = [layout.feature_field(view.name, field.name) for field in view.fields]
        with translated(f"removal from view {view_name!r}"), self._redis.pipeline(transaction=False) as pipe:
            pipe.srem(layout.index_key(self._namespace, view.name, entity), entity)
            for key in self._reader.keys(view.entity, _int64(entity)):
                pipe.hdel(key, *fields, layout.timestamp_field(view.name))
            were_there = any(pipe.execute()[1:])
            self.changes.note(view.name, [entity])
        return were_there

    def drop_view(self, view_name: str) -> None:
        """Forgets a view with the features of all its entities. What a crash leaves of it is read by nobody."""
        try:
            view = self.view(view_name)
            entities = self.entities(view_name).tolist()
        except ViewNotFound:
            return
        except InvalidFeature:  # Its entities are others', and stay.
            entities = []
        fields = [
            *(layout.feature_field(view.name, field.name) for field in view.fields),
            layout.timestamp_field(view.name),
        ]
        with translated(f"removal of view {view_name!r}"), self._locks.of(view_name):
            for start in range(0, len(entities), CHUNK):
                with self._redis.pipeline(transaction=False) as pipe:
                    for entity in entities[start : start + CHUNK]:
                        pipe.hdel(layout.entity_key(view.entity, entity, self._namespace), *fields)
                    pipe.execute()
            for shard in range(layout.INDEX_SETS):
                self._redis.delete(layout.index_key(self._namespace, view_name, shard))
            self._redis.hdel(self._views_key, view_name)
            self.changes.drop(view_name)
        self._views.pop(view_name, None)
        self.freshness.forget(view_name)

    def entities(self, view_name: str, *, indexed_only: bool = False) -> npt.NDArray[np.int64]:
        """Every entity that has the view's features, ascending: [N] int64.

        Entities written through this store are indexed. Without an index, as when another program filled the store,
        the key space is scanned once, which takes seconds per million keys.

        Args:
            indexed_only: nobody else writes the view, so one without an index is empty.
        Raises:
            InvalidFeature: another program filled the view, and all its keys are of a kind that is not read here.
        """
        view = self.view(view_name)
        with translated(f"entities of view {view_name!r}"):
            found = [int(member) for shard in range(layout.INDEX_SETS) for member in self._members(view_name, shard)]
            if not found and not indexed_only:
                found = self._foreign.entities(view)
        return np.unique(np.asarray(found, dtype=np.int64))

    def some_entities(self, view_name: str, count: int) -> list[int]:
        """Up to about `count` of the entities that were written through this store, found by few requests."""
        found: list[int] = []
        with translated(f"entities of view {view_name!r}"):
            for shard in range(layout.INDEX_SETS):
                if len(found) >= count:
                    break
                key = layout.index_key(self._namespace, view_name, shard)
                _, members = self._redis.sscan(key, count=count)
                found += map(int, members)
        return sorted(found)[:count]

    def _members(self, view_name: str, shard: int) -> Iterator[bytes]:
        yield from self._redis.sscan_iter(layout.index_key(self._namespace, view_name, shard), count=CHUNK)


def _int64(entity: int) -> int:
    if isinstance(entity, bool) or not isinstance(entity, (int, np.integer)) or not -(2**63) <= entity < 2**63:
        raise InvalidFeature(f"entity must be a 64-bit integer, got {entity!r}")
    return int(entity)


def _encode_row(view: FeatureView, entity: int, values: Mapping[str, Any]) -> dict[bytes, bytes]:
    if not values:
        raise InvalidFeature(f"{view.entity} {entity}: a row of view {view.name!r} holds no feature")
    marks = any(field.name == REMOVED for field in view.fields)
    values = {REMOVED: False, **values} if marks else values  # What is written is there.
    encoded = {}
    named = shown(values[ID_TEXT]) if isinstance(values.get(ID_TEXT), str) else entity
    for name, value in values.items():
        kind = view.field(name).type
        field = layout.feature_field(view.name, name)
        if value is ABSENT:
            encoded[field] = ABSENT_BYTES
            continue
        checked = check(value, kind, f"{view.name}:{name} of {view.entity} {named}")
        encoded[field] = encode(checked, kind)
    return encoded


def _encoded_or_fault(view: FeatureView, entity: int, values: Mapping[str, Any]) -> dict[bytes, bytes] | InvalidFeature:
    try:
        return _encode_row(view, _int64(entity), values)
    except InvalidFeature as error:
        return error


def _encode_lists(view: FeatureView, entity: int, lists: Mapping[str, list[Any]]) -> dict[bytes, bytes]:
    encoded = {}
    for name, items in lists.items():
        kind = view.field(name).type
        if not kind.value.endswith("_list"):
            raise InvalidFeature(f"{view.name}:{name} is a {kind.value}; only lists can be appended to")
        checked = check(items, kind, f"{view.name}:{name} of {view.entity} {entity}")
        encoded[layout.feature_field(view.name, name)] = encode(checked, kind)
    return encoded


def _succeeding(known: FeatureView, new: FeatureView) -> FeatureView:
    """A new definition with the lists that the present one keeps for the recording of events."""
    known.check_successor(new)
    return new.with_kept(name for name in known.has if is_kept(name))


def _chunks(entities: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(entities), CHUNK):
        yield [_int64(entity) for entity in entities[start : start + CHUNK]]


def _named(plans: Sequence[Plan]) -> str:
    names = " and ".join(repr(plan.view.name) for plan in plans)
    return f"view {names}" if len(plans) == 1 else f"views {names}"
