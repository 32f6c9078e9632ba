"""The tables of one shard: opened from the catalog, created, updated, dropped, and kept in step with other shards.

A process that follows the shard's owner has the same tables, but gets them, their rows and their end from the owner:
nothing of it is in Redis, and nothing is looked up there.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Set
from typing import TypeVar

from rowbank.closest import closest, closest_first, listed
from rowbank.errors import InvalidSpec, NotReady, RedisUnavailable, TableNotFound
from rowbank_protos.v1 import common_pb2, tables_pb2
from rowbank_server.guard import Guard
from rowbank_server.ps.tables import specs
from rowbank_server.ps.tables.holders import Holders
from rowbank_server.ps.tables.loading import load_table
from rowbank_server.ps.tables.table import Ownership, ShardTable
from rowbank_server.security.caller import current
from rowbank_server.storage.catalog import (
    Catalog,
    CatalogBehindError,
    CatalogEntry,
    CatalogView,
    HoldsChangedError,
)
from rowbank_server.storage.rows import RowStore
from rowbank_server.storage.state import ShardState

_log = logging.getLogger("rowbank.ps")
_Result = TypeVar("_Result")
_QUICK_S = 0.1  # A Redis that fails sooner keeps nobody.
_CATALOG_WAIT_S = 1.0  # For one small answer of Redis that a caller waits for.


class Shard:
    """Owns the tables. Reads of `get` take no lock; whatever changes the set of tables does. Thread-safe.

    Attributes:
        require_growth: called with the name of a table that is to be made; raises if there is no room for it.
        on_tables: called with all tables before a new one is in service, and after one was updated or went.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        store: RowStore,
        state: ShardState,
        synced_supported: Callable[[], bool],
        ownership: Ownership,
        holders: Holders,
        bucket_count: int,
        load_threads: int,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._state = state
        self._synced_supported = synced_supported
        self._ownership = ownership
        self._holders = holders
        self._bucket_count = bucket_count
        self._lookups = Guard("Redis", RedisUnavailable, threads=2, quick_s=_QUICK_S)
        self._refreshes = Guard("Redis", RedisUnavailable, threads=1, probe_aside=True, quick_s=_QUICK_S)
        self._loaders = concurrent.futures.ThreadPoolExecutor(load_threads, thread_name_prefix="load")
        self._tables: dict[str, ShardTable] = {}
        self._dropped: dict[int, str] = {}  # By table id.
        self._garbage: dict[int, range] = {}  # Table id -> buckets that are still to be deleted from Redis.
        self._applied_generation = 0
        self._ready = False
        self._followed = True  # Tables come from the shard's owner, or from nobody yet.
        self.require_growth: Callable[[str], None] = lambda name: None
        self.on_tables: Callable[[Iterable[ShardTable]], None] = lambda tables: None
        self._lock = threading.RLock()

    def open_all(self, view: CatalogView, steps: Mapping[int, int]) -> None:
        """Loads every table of `view` from Redis. `serve` must follow.

        Args:
            steps: table id -> the step to go on from.
        Raises:
            RedisUnavailable, NotReady: as `get` does.
        """
        with self._lock:
            for entry in view.entries.values():
                self._open(entry, step=steps.get(entry.table_id, 0))
                _log.info("loaded table %s: %d rows", entry.name, self._tables[entry.name].rows.size())
            self._applied_generation = view.generation

    def take_over(self, view: CatalogView, whole: Set[int], steps: Mapping[int, int]) -> set[int]:
        """Makes an owner's tables this process's own, as the catalog has them; returns ids of tables that were loaded.

        `serve` must follow.

        Args:
            whole: ids of the tables whose rows are those of the former owner; of the others Redis has them.
            steps: as stored, which may be behind or ahead of the tables'.
        Raises:
            RedisUnavailable, NotReady: as `get` does; then it may be called again.
        """
        loaded = set()
        with self._lock:
            for table in list(self._tables.values()):
                entry = view.entries.get(table.name)
                if entry is None or entry.table_id != table.entry.table_id:
                    self._close(table)
                elif entry.table_id not in whole:
                    del self._tables[table.name]
                else:
                    table.update(entry)
            for entry in view.entries.values():
                self._dropped.pop(entry.table_id, None)
                self._garbage.pop(entry.table_id, None)
                step = steps.get(entry.table_id, 0)
                if entry.name in self._tables:
                    self._tables[entry.name].raise_step(step)
                else:
                    self._open(entry, step=step)
                    loaded.add(entry.table_id)
            self._applied_generation = view.generation
        return loaded

    def forget_followed(self) -> None:
        """Gives up all tables of an owner whose rows are of no use; nothing of them is dropped."""
        with self._lock:
            self._tables.clear()
            self._dropped.clear()
            self._garbage.clear()

    def serve(self) -> None:
        """From now on this process is the shard's owner, and the tables are served and follow the catalog."""
        self._followed = False
        self._ready = True

    def serve_followed(self) -> None:
        """Lets callers read the tables while they are an owner's."""
        self._ready = True

    def adopt(self, entry: CatalogEntry, step: int) -> ShardTable:
        """Takes an empty table of the followed owner into service; one with its name and another id goes.

        It may have been dropped already, if its id says so; then it is back.
        """
        table = ShardTable(entry, self._ownership, step=step)
        with self._lock:
            former = self._tables.get(entry.name)
            if former is not None:
                self._end(former)
            self._dropped.pop(entry.table_id, None)
            self._garbage.pop(entry.table_id, None)
            # Told once: a list without the table, and then with it, would say that it is a new one.
            self.on_tables([*(other for other in self._tables.values() if other is not former), table])
            self._tables[entry.name] = table
        return table

    def discard(self, table_id: int) -> None:
        """Takes a table that the followed owner has no more out of service; nothing if there is none.

        What Redis may still have of it goes once this process is the owner, if the catalog does not have it then.
        """
        with self._lock:
            table = self.followed_tables().get(table_id)
            if table is not None:
                self._close(table)

    def followed_tables(self) -> dict[int, ShardTable]:
        """All tables, by id."""
        return {table.entry.table_id: table for table in self._tables.copy().values()}

    def tables(self) -> list[ShardTable]:
        """All tables, by name."""
        return sorted(self._tables.copy().values(), key=lambda table: table.name)

    def current_tables(self, *, within_s: float | None = None) -> list[ShardTable]:
        """All tables, those that other shards created a moment ago included; without these while Redis is away.

        Args:
            within_s: the longest wait for Redis, and for loading those; None: as long as it takes.
        Raises:
            NotReady: tables are still being loaded.
        """
        self._require_ready()
        if self._followed:
            return self.tables()
        with contextlib.suppress(RedisUnavailable):
            self._refreshes.call(self.refresh, within_s=within_s)
        return self.tables()

    def get(self, name: str) -> ShardTable:
        """The table `name`, looked up in the catalog if it is new to this shard and no owner is followed.

        Raises:
            NotReady: tables are still being loaded.
            TableNotFound: there is none.
            RedisUnavailable: it is new to this shard and the catalog cannot be read.
        """
        self._require_ready()
        table = self._tables.get(name)
        if table is not None:
            return table
        entry = None
        if not self._followed:
            entry = self._lookups.call(lambda: self._catalog.get(name), within_s=_CATALOG_WAIT_S)
        if entry is None:
            raise TableNotFound(
                f"table {name!r} does not exist; {_known(name, self.tables())}", metadata={"table": name}
            )
        with self._lock:
            return self._tables.get(name) or self._open(entry)

    def create(self, asked: tables_pb2.TableSpec, *, exist_ok: bool) -> tuple[ShardTable, bool]:
        """Creates a table for all shards: the table, and whether it is new.

        Raises:
            InvalidSpec: the spec is out of range or asks for what this server does not do.
            TableExists: the name is taken, by another spec or without `exist_ok`.
            RedisUnavailable: the catalog cannot be written; nothing was created.
        """
        self._require_ready()
        if asked.frozen:
            raise InvalidSpec(
                f"table {asked.name!r}: frozen: expected false, got true; publishing a model makes frozen tables",
                metadata={"table": asked.name, "field": "frozen"},
            )
        return self._create(specs.canonical(asked), exist_ok=exist_ok)

    def create_frozen(self, source: ShardTable, name: str, value_dtype: common_pb2.DataType) -> ShardTable:
        """An empty table for a read-only copy of `source`, the same for all shards. Raises as `create` does."""
        asked = tables_pb2.TableSpec(
            name=name,
            dim=source.dim,
            value_dtype=value_dtype or source.spec.value_dtype,
            initializer=source.spec.initializer,
            durability=common_pb2.DURABILITY_RELAXED,  # Whoever fills it waits until Redis has all of it.
            frozen=True,
        )
        table, _ = self._create(specs.canonical(asked), exist_ok=True)
        return table

    def _create(self, spec: tables_pb2.TableSpec, *, exist_ok: bool) -> tuple[ShardTable, bool]:
        specs.build_table(spec, bucket_count=1)  # The core has the last word, before anybody can see the table.
        specs.require_durable(spec, self._synced_supported)
        with self._lock:
            if spec.name not in self._tables:
                self.require_growth(spec.name)
            entry, created = self._find_or_create(spec)
            table = self._tables.get(spec.name)
            if table is None or table.entry.table_id != entry.table_id:
                if table is not None:
                    self._close(table)
                table = self._open(entry)
            if created:
                table.second_chance.begin_empty()
        if created:
            _log.info("created table %s (id %d, dim %d)", spec.name, entry.table_id, spec.dim)
            return table, True
        specs.require_equal(entry.spec, spec, exist_ok=exist_ok)
        return table, False

    def update(self, asked: tables_pb2.TableSpec) -> ShardTable:
        """Changes a table's optimizer numbers for all shards.

        Raises:
            TableNotFound, InvalidSpec, RedisUnavailable: nothing was changed.
        """
        table = self.get(asked.name)
        table.require_mutable()
        spec = specs.canonical(asked)
        specs.require_updatable(table.spec, spec)
        specs.require_durable(spec, self._synced_supported)
        with self._lock:
            old = table.entry
            entry = CatalogEntry(old.table_id, old.created_at_s, old.bucket_count, spec)
            try:
                table.update(entry)
            except ValueError as error:
                raise InvalidSpec(f"table {spec.name!r}: {error}", metadata={"table": spec.name}) from None
            try:
                found = self._guarded(functools.partial(self._catalog.update, entry))
            except BaseException:
                table.update(old)
                raise
            if not found:
                self._close(table)
                raise TableNotFound(f"table {spec.name!r} was dropped meanwhile", metadata={"table": spec.name})
            self.on_tables(self._tables.values())
        return table

    def drop(self, name: str, *, missing_ok: bool, force: bool = False) -> bool:
        """Deletes a table for all shards, in RAM and in Redis: False if there was none and `missing_ok`.

        Other shards notice when they next read the catalog.

        Args:
            force: also if somebody holds it.
        Raises:
            TableNotFound: there is none, and not `missing_ok`.
            TableHeld: somebody holds it; nothing was dropped.
            RedisUnavailable: nothing was dropped.
        """
        try:
            table = self.get(name)
        except TableNotFound:
            if missing_ok:
                return False
            raise
        with self._lock:
            self._drop_entry(table.entry, force=force)
            self._close(table)
            self._garbage[table.entry.table_id] = range(table.entry.bucket_count)  # Of shards that are down, too.
        with contextlib.suppress(RedisUnavailable):  # It is dropped; the next cycle goes on deleting.
            self.delete_garbage()
        _log.info("dropped table %s (id %d)", name, table.entry.table_id)
        return True

    def refresh(self) -> None:
        """Opens, updates and closes tables as other shards changed the catalog. Raises RedisUnavailable."""
        with self._lock:
            if self._guarded(self._catalog.generation) == self._applied_generation:
                return
            view = self._guarded(self._catalog.read)
            for table in list(self._tables.values()):
                entry = view.entries.get(table.name)
                if entry is None or entry.table_id != table.entry.table_id:
                    self._close(table)
                elif entry.spec != table.spec:
                    table.update(entry)
                    self.on_tables(self._tables.values())
            for entry in view.entries.values():
                if entry.name not in self._tables:
                    self._open(entry)
            self._applied_generation = view.generation

    def delete_garbage(self) -> None:
        """Deletes what Redis still holds of dropped tables. Raises RedisUnavailable; the rest is kept for later."""
        with self._lock:
            for table_id, buckets in list(self._garbage.items()):
                self._store.delete(table_id, buckets)
                self._store.delete_common_row(table_id)
                self._state.forget_table(table_id)
                del self._garbage[table_id]

    def restore_catalog(self) -> None:
        """Writes the catalog again after Redis lost it, wholly or in part. Raises RedisUnavailable."""
        with self._lock:
            entries = [table.entry for table in self._tables.values()]
            self._catalog.restore(entries, self._dropped)
        _log.warning("Redis had lost the catalog or a part of it; %d tables were written again", len(entries))

    def _find_or_create(self, spec: tables_pb2.TableSpec) -> tuple[CatalogEntry, bool]:
        existing = self._catalog.get(spec.name)
        if existing is not None:
            return existing, False

        def create() -> tuple[CatalogEntry, bool]:
            # The id is taken anew in each try: one from before a restore may belong to a table in RAM.
            entry = CatalogEntry(self._catalog.new_id(), int(time.time()), self._bucket_count, spec)
            return self._catalog.create(entry)

        return self._guarded(create)

    def _guarded(self, access: Callable[[], _Result]) -> _Result:
        """Reads or changes the catalog; if Redis turns out to have lost writes, restores the catalog first."""
        try:
            return access()
        except CatalogBehindError:
            self.restore_catalog()
            return access()

    def _drop_entry(self, entry: CatalogEntry, *, force: bool) -> None:
        while True:
            seen = self._catalog.holds()
            if not force:
                self._holders.require_free(entry.name, "dropped")
            with contextlib.suppress(HoldsChangedError):  # Then who began to hold a table may have taken this one.
                self._guarded(functools.partial(self._catalog.drop, entry, holds_seen=None if force else seen))
                return

    def _require_ready(self) -> None:
        if not self._ready:
            raise NotReady("this shard is loading its tables; try again in a moment")

    def _open(self, entry: CatalogEntry, *, step: int = 0) -> ShardTable:
        """Loads what is stored of a table and takes it into service."""
        table = ShardTable(entry, self._ownership, step=step)
        if self._store.claim(entry.table_id, table.buckets) > self._state.epoch:
            raise NotReady("another process has taken over this shard")
        load_table(table, self._store, self._loaders)
        self.on_tables([*(other for other in self._tables.values() if other.name != entry.name), table])
        self._tables[entry.name] = table
        return table

    def _close(self, table: ShardTable) -> None:
        """Takes a table out of service; a write-back of it that is under way ends first, and no other begins."""
        self._end(table)
        if self._tables.get(table.name) is table:
            del self._tables[table.name]
            self.on_tables(self._tables.values())

    def _end(self, table: ShardTable) -> None:
        with table.write_lock:
            table.dropped = True
        self._dropped[table.entry.table_id] = table.name
        self._garbage[table.entry.table_id] = table.buckets


def _known(name: str, tables: Iterable[ShardTable]) -> str:
    """What there is instead of `name`, as far as the caller's scope goes."""
    shown = [table.name for table in tables if current().may_use_table(table.name)]
    meant = closest(name, shown)
    known = listed(map(repr, closest_first(name, shown)))
    return f"known tables: {known}" + (f"; did you mean {meant!r}?" if meant else "")
