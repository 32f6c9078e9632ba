"""The cluster's tables as the model registry sees them."""

from __future__ import annotations

from rowbank_server.ps.tables.custody import Custody
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.registry.binding import BoundTable
from rowbank_server.registry.pruning import TableFacts


class ClusterTables:
    """Thread-safe. Sizes are those of this shard."""

    def __init__(self, shard: Shard, custody: Custody) -> None:
        self._shard = shard
        self._custody = custody

    def note_hold(self) -> None:
        self._custody.note_hold()

    def bound(self, name: str) -> BoundTable | None:
        found = self._custody.identify(name)
        if found is None:
            return None
        table, identity = found
        return BoundTable(table.dim, table.frozen, identity.table_id, identity.lineage, identity.run)

    def facts(self) -> list[TableFacts]:
        tables = self._shard.current_tables()
        return [TableFacts(table.name, table.frozen, table.entry.created_at_s, table.rows.bytes()) for table in tables]

    def drop(self, name: str) -> None:
        self._shard.drop(name, missing_ok=True)
