"""Binds a version to its tables: which ones they are, not only what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rowbank.errors import InvalidModel
from rowbank_protos.v1 import models_pb2


@dataclass(frozen=True, slots=True)
class BoundTable:
    """A table as it is now; see `VersionTable`."""

    dim: int
    frozen: bool
    table_id: int
    lineage: int
    trained_by: str


class TableLookup(Protocol):
    """The tables of the cluster."""

    def note_hold(self) -> None:
        """Whoever is about to drop a table has to look again who holds it."""

    def bound(self, name: str) -> BoundTable | None:
        """A table; None if there is none."""


class Binder:
    """For one publication at a time, or several. Thread-safe, as the tables are."""

    def __init__(self, tables: TableLookup) -> None:
        self._tables = tables

    def begin(self) -> None:
        """Before anything of a publication is checked."""
        self._tables.note_hold()

    def dim(self, name: str) -> int | None:
        """Values per row of a table; None if there is no such table."""
        table = self._tables.bound(name)
        return None if table is None else table.dim

    def bind(self, manifest: models_pb2.ModelManifest) -> None:
        """Fills in what the manifest's tables are now.

        Raises:
            InvalidModel: the manifest's tables are not those that its towers name, are others than the publisher saw,
                or are not frozen although it says so.
        """
        if manifest.rows == models_pb2.ROWS_MODE_UNSPECIFIED:
            return
        what = f"model {manifest.name!r} {manifest.version}"
        named = {part.table for part in (*manifest.query.inputs, *manifest.candidate.inputs) if part.table}
        listed = {table.name for table in manifest.tables}
        if listed != named:
            raise InvalidModel(
                f"{what}: tables: expected those that the towers name, {sorted(named)}, got {sorted(listed)}"
            )
        for table in manifest.tables:
            now = self._tables.bound(table.name)
            if now is None or now.table_id != table.table_id:
                raise InvalidModel(
                    f"{what}: table {table.name!r} is not the one that the publication began with; publish again",
                    metadata={"table": table.name},
                )
            if now.frozen != (manifest.rows == models_pb2.ROWS_MODE_FROZEN):
                kinds = ("a frozen copy", "a table that is trained")
                expected, got = kinds if not now.frozen else kinds[::-1]
                raise InvalidModel(f"{what}: table {table.name!r}: expected {expected}, got {got}")
            table.lineage, table.trained_by = now.lineage, now.trained_by

    def still_bound(self, manifest: models_pb2.ModelManifest) -> bool:
        """Whether every table of the manifest is still there."""
        tables = [(table.table_id, self._tables.bound(table.name)) for table in manifest.tables]
        return all(now is not None and now.table_id == table_id for table_id, now in tables)
