"""Makes this process its shard's owner: claims it, fences who had it, loads or keeps the rows, opens the journal."""

from __future__ import annotations

import logging
import time

from rowbank.errors import RedisUnavailable
from rowbank_server.ps.durability.recovery import Recovery
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.ps.tables.table import Ownership
from rowbank_server.storage.catalog import Catalog, CatalogBehindError, CatalogView
from rowbank_server.storage.rows import RowStore
from rowbank_server.storage.state import Claim, ShardState

_log = logging.getLogger("rowbank.ps")


class Claiming:
    """For one thread.

    The order is what makes it safe: once buckets and journal are fenced, no predecessor can write or acknowledge
    anything that is not loaded or replayed afterwards.
    """

    def __init__(
        self,
        *,
        shard: Shard,
        catalog: Catalog,
        store: RowStore,
        state: ShardState,
        recovery: Recovery,
        ownership: Ownership,
    ) -> None:
        self._shard = shard
        self._catalog = catalog
        self._store = store
        self._state = state
        self._recovery = recovery
        self._ownership = ownership

    def load(self) -> None:
        """Claims the shard, loads every table of the catalog and replays the journal; afterwards it serves.

        Raises:
            RedisUnavailable: Redis failed.
            NotReady: another process took over the shard meanwhile.
            UnfinishedJournalError: see `ShardState.claim`.
        """
        started = time.monotonic()
        try:
            claim, view = self._claim()
        except CatalogBehindError:
            raise RedisUnavailable(
                "Redis lost writes of the catalog while this shard started; start it again once Redis is whole"
            ) from None
        self._shard.open_all(view, claim.steps)
        tables = self._shard.tables()
        self._recovery.replay(claim.windows, tables)
        self._recovery.start_journal(claim.epoch)
        self._shard.serve()
        rows = sum(table.rows.size() for table in tables)
        _log.info("loaded %d rows of %d tables in %.2f s", rows, len(tables), time.monotonic() - started)

    def _claim(self) -> tuple[Claim, CatalogView]:
        """Claims the shard, seals its journal, then claims the buckets of all tables that exist.

        The catalog is read last of all, so that it has every table that a sealed journal speaks of. A bucket with a
        higher epoch says that Redis lost the shard's own; then everything is claimed again, above that.
        """
        claim = self._state.claim()
        while True:
            self._store.use_epoch(claim.epoch)
            self._recovery.seal(claim.epoch)
            view = self._catalog.read()
            highest = max(
                (
                    self._store.claim(entry.table_id, self._ownership.buckets(entry.bucket_count))
                    for entry in view.entries.values()
                ),
                default=0,
            )
            if highest <= claim.epoch:
                return claim, view
            claim = self._state.claim(highest + 1)
