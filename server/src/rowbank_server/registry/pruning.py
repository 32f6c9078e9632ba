"""Removes what old versions and forgotten runs leave behind.

What a version has for itself: its manifest and files, its frozen tables, its views. The manifest goes first, since it
is what holds the rest; what a crash leaves after that is found again, because nothing refers to it any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rowbank.errors import InvalidRequest, ModelNotFound, TableHeld
from rowbank_protos.v1 import models_pb2
from rowbank_server.features import FeatureStore
from rowbank_server.registry.store import ModelRegistry

_UNOWNED_AGE_S = 3600.0  # Of a frozen table that no version names: one that is being published is younger.


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What pruning asks of a table. `created_at_s` is in Unix seconds, `bytes` is RAM."""

    name: str
    frozen: bool
    created_at_s: int
    bytes: int


class Tables(Protocol):
    """The tables of the cluster."""

    def facts(self) -> list[TableFacts]:
        """Of every table."""

    def drop(self, name: str) -> None:
        """Drops a table. Raises TableHeld if somebody holds it."""


@dataclass(slots=True)
class Pruned:
    """What was removed, or would be."""

    versions: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    bytes: int = 0


class Pruning:
    """Thread-safe, as its parts are."""

    def __init__(
        self, registry: ModelRegistry, store: FeatureStore, tables: Tables, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._registry = registry
        self._store = store
        self._tables = tables
        self._clock = clock

    def prune(self, name: str, keep: int, *, dry_run: bool) -> Pruned:
        """Keeps the `keep` newest versions, the active one and the one before it, those that traffic names and those
        that a service has loaded; and the `keep` newest runs.

        Raises:
            ModelNotFound: the registry has no such model.
            InvalidRequest: `keep` is 0.
        """
        if keep < 1:
            raise InvalidRequest(f"keep: expected at least 1, got {keep}")
        stored = [entry.manifest for entry in self._registry.list(name)]
        if not stored:
            raise ModelNotFound(f"model {name!r} has no versions", metadata={"model": name})
        traffic = self._registry.traffic(name)
        kept_names = {traffic.active, self._registry.previous(name), traffic.shadow, *traffic.shares}
        kept_names |= self._registry.loaded(name, self._clock())
        kept = [model for place, model in enumerate(stored) if place < keep or model.version in kept_names]
        gone = [model for model in stored if model not in kept]
        done = Pruned(versions=[model.version for model in gone])
        for model in gone:
            if not dry_run:
                self._registry.remove(model)
                self._drop_views(model, kept)
        self._drop_tables(self._unneeded(name, kept, gone, keep), done, dry_run=dry_run)
        return done

    def _drop_views(self, model: models_pb2.ModelManifest, kept: Sequence[models_pb2.ModelManifest]) -> None:
        """Views are a version's own if callers write to others over them."""
        shared = {view for other in kept for view in (other.item_view, other.user_view)}
        for view, overlay in ((model.item_view, model.item_overlay), (model.user_view, model.user_overlay)):
            if view and overlay and view not in shared:
                self._store.drop_view(view)

    def _unneeded(
        self,
        name: str,
        kept: Sequence[models_pb2.ModelManifest],
        gone: Sequence[models_pb2.ModelManifest],
        keep: int,
    ) -> list[TableFacts]:
        needed = _tables_of(kept)
        was_theirs = _tables_of(gone)
        mine = [
            table for table in self._tables.facts() if table.name.startswith(f"{name}/") and table.name not in needed
        ]
        old = self._clock() - _UNOWNED_AGE_S
        runs = _newest_runs([table for table in mine if not table.frozen], keep)
        return [
            table
            for table in mine
            if (
                table.name in was_theirs or table.created_at_s < old
                if table.frozen
                else _run_of(table.name) not in runs
            )
        ]

    def _drop_tables(self, tables: Iterable[TableFacts], done: Pruned, *, dry_run: bool) -> None:
        for table in tables:
            if not dry_run:
                try:
                    self._tables.drop(table.name)
                except TableHeld:
                    continue  # A running job has it, or a version of another model.
            done.tables.append(table.name)
            done.bytes += table.bytes


def _tables_of(models: Iterable[models_pb2.ModelManifest]) -> set[str]:
    names: set[str] = set()
    for model in models:
        names |= {part.table for part in (*model.query.inputs, *model.candidate.inputs) if part.table}
        names |= {part.source for part in model.tables}
    return names


def _run_of(table: str) -> str:
    """`<model>/<run>.<table>` -> run."""
    return table.partition("/")[2].partition(".")[0]


def _newest_runs(tables: Collection[TableFacts], keep: int) -> set[str]:
    began: dict[str, int] = {}
    for table in tables:
        run = _run_of(table.name)
        began[run] = max(began.get(run, 0), table.created_at_s)
    return set(sorted(began, key=lambda run: (began[run], run), reverse=True)[:keep])
