"""Who may count on a table's rows: holds, and how others notice that rows are not what training made them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rowbank.errors import TableNotFound
from rowbank_server.ps.tables.holders import Holders
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.storage.catalog import Catalog, Identity


class Custody:
    """Thread-safe. Every method raises RedisUnavailable when Redis cannot be used."""

    def __init__(self, shard: Shard, catalog: Catalog, holders: Holders) -> None:
        self._shard = shard
        self._catalog = catalog
        self._holders = holders

    def prepare_clear(self, name: str, *, force: bool) -> None:
        """Before a table is cleared: refuses if somebody holds it, and lets those who read it live notice.

        Raises:
            TableNotFound, TableFrozen, TableHeld, RedisUnavailable: it must not be cleared.
        """
        table = self._shard.get(name)
        table.require_mutable()
        if not force:
            self._holders.require_free(name, "cleared")
        self._catalog.raise_lineage(table.entry.table_id)

    def note_import(self, table: ShardTable) -> None:
        """Before rows are imported into a table: lets those who read it live notice. Raises RedisUnavailable."""
        self._catalog.raise_lineage(table.entry.table_id)

    def note_hold(self) -> None:
        """Whoever is about to drop a table has to look again who holds it. Raises RedisUnavailable."""
        self._catalog.note_hold()

    def hold(self, holder: str, tables: Sequence[str], *, run: str, ttl_s: float) -> None:
        """Lets a job hold tables; those that exist are trained by `run` from now on. Raises RedisUnavailable."""
        self._catalog.note_hold()
        self._holders.jobs.hold(holder, tables, run=run, ttl_s=ttl_s)
        if run:
            for name in tables:
                identity = self._catalog.identity(name)
                if identity is not None:
                    self._trained_by(identity, run)

    def held_by(self, holder: str) -> tuple[str, ...]:
        """The tables that a job holds. Raises RedisUnavailable."""
        return next((hold.tables for hold in self._holders.jobs.current() if hold.holder == holder), ())

    def release(self, holder: str) -> bool:
        """Ends what a job holds; False: nothing. Raises RedisUnavailable."""
        return self._holders.jobs.release(holder)

    def holders_of(self, name: str) -> list[str]:
        """Who holds a table. Raises TableNotFound, RedisUnavailable."""
        return self._holders.of(self._shard.get(name).name)

    def identify(self, name: str) -> tuple[ShardTable, Identity] | None:
        """A table with its identity as the catalog has it now; None: there is none. Raises RedisUnavailable.

        A run that holds the table trains it, also if the table is newer than the hold.
        """
        try:
            table = self._shard.get(name)
        except TableNotFound:
            return None
        identity = self._catalog.identity(name)
        if identity is None or identity.table_id != table.entry.table_id:
            return None
        runs = [hold.run for hold in self._holders.jobs.current() if name in hold.tables and hold.run]
        return table, self._trained_by(identity, runs[-1]) if runs else identity

    def _trained_by(self, identity: Identity, run: str) -> Identity:
        """The table's identity once `run` trains it, which the catalog is told if it is new."""
        if run != identity.run:
            self._catalog.set_trained_by(identity.table_id, run)
        return dataclasses.replace(identity, run=run)
