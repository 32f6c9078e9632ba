"""Which tables a cycle of write-back writes, and which may wait because the journal has what changed.

A relaxed table has nothing but write-back, so it is written in every cycle. What changed in a journaled or synced table
is in the journal, and a row that is pushed again and again is better written once than every second. So those tables
wait until the journal takes long to replay or fills, or too many rows wait, or too much time has passed; or until
nothing is pushed any more, when writing costs nobody anything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from rowbank.errors import RedisUnavailable
from rowbank_server.journal.journal import Journal
from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.settings import PsSettings
from rowbank_server.storage.connection import Redis
from rowbank_server.storage.layout import Layout
from rowbank_server.storage.memory import memory_share
from rowbank_server.storage.stored_rows import StoredRows

_log = logging.getLogger("rowbank.ps")
_SHARE = 0.5  # Of the target, and of the dirty rows: as much again may come while a write-back runs.
_MEMORY_SHARE = 0.7  # Of the memory that Redis may use.
_MEMORY_FROM_BYTES = 32 << 20  # A journal below that is not worth a question.
_CYCLES_UNTIL_TRUSTED = 2  # What was pushed before a table became a journaled one is nowhere else.


class Schedule:
    """For one thread at a time.

    Args:
        settings: `recovery_target_s`, `journaled_flush_interval_s`, `flush_interval_s` and `max_dirty_rows`.
        redis: asked how full it is, and whether somebody wants to read rows there.
    """

    def __init__(self, journal: Journal, settings: PsSettings, redis: Redis) -> None:
        self._journal = journal
        self._recovery_target_s = settings.recovery_target_s
        self._longest_s = settings.journaled_flush_interval_s
        self._idle_s = settings.flush_interval_s * 0.9  # A cycle later, whatever the clock makes of it.
        self._max_dirty_rows = settings.max_dirty_rows
        self._redis = redis
        self._rows = StoredRows(redis, Layout(settings.namespace))
        self._since_s = self._moved_s = time.monotonic()
        self._position = -1
        self._journaled: dict[int, int] = {}  # Table id -> cycles since it is a journaled one.

    def choose(self, tables: Sequence[ShardTable]) -> list[ShardTable] | None:
        """The tables to write now; None: all, and the journal is to be trimmed."""
        now_s, position = time.monotonic(), self._journal.last_position()
        if position != self._position:
            self._position, self._moved_s = position, now_s
        self._journaled = {
            table.entry.table_id: self._journaled.get(table.entry.table_id, 0) + 1
            for table in tables
            if table.journaled
        }
        # Followers are told of whole write-backs alone, and what they keep of evicted rows meanwhile is bounded.
        if any(table.second_chance.on or table.second_chance.wipe_due for table in tables):
            return None
        # What a relaxed table got after a removal has no position: a replay of the removal would take it away again.
        trimmed = self._journal.gone_through()
        if any(table.removal_position > trimmed for table in tables if not table.journaled):
            return None
        now = [table for table in tables if not self._may_wait(table)]
        if len(now) == len(tables) or now_s - self._moved_s >= self._idle_s or self._is_due(tables, now_s):
            return None
        return now

    def all_written(self, began_s: float) -> None:
        """A write-back of all tables, begun at `began_s` (monotonic), has ended."""
        self._since_s = began_s

    def _may_wait(self, table: ShardTable) -> bool:
        trusted = self._journaled.get(table.entry.table_id, 0) > _CYCLES_UNTIL_TRUSTED
        return trusted and not (table.frozen or table.mirror_unknown)

    def _is_due(self, tables: Sequence[ShardTable], now_s: float) -> bool:
        return (
            now_s - self._since_s >= self._longest_s
            or self._journal.filling
            or self._journal.replay_s >= self._recovery_target_s * _SHARE
            or sum(table.rows.dirty_rows() for table in tables) >= self._max_dirty_rows * _SHARE
            or self._redis_asks()
        )

    def _redis_asks(self) -> bool:
        """Whether somebody wants to read rows there, or it fills: when it is full it takes neither rows nor journal, so
        that nothing makes room any more."""
        try:
            if self._rows.newest_wanted():
                return True
            large = self._journal.stored_bytes >= _MEMORY_FROM_BYTES
            return large and memory_share(self._redis) >= _MEMORY_SHARE
        except RedisUnavailable as error:
            _log.debug("%s", error)
            return True
