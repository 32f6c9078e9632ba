"""Which tables a cycle of write-back writes, and which may wait because the journal has what changed.

A relaxed table has nothing but write-back, so it is written in every cycle. What changed in a journaled or synced table
is in the journal, and a row that is pushed again and again is better written once than every second. So those tables
wait until the journal takes long to replay or fills, or too many rows wait, or too much time has passed; or until
nothing is pushed any more, when writing costs nobody anything.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence

from rowbank.errors import RedisUnavailable
from rowbank_server.journal.journal import Journal
from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.settings import PsSettings
from rowbank_server.storage.connection import Redis
from rowbank_server.storage.layout import Layout
from rowbank_server.storage.memory import machine_bytes, memory_share
from rowbank_server.storage.stored_rows import StoredRows

_log = logging.getLogger("rowbank.ps")
_SHARE = (
    0.5  # Of the target, of the journal's bound, and of the dirty rows: as much again may come while a write-back runs.
)
_PRESSING = 0.75  # Of the target, and of the journal's bound.
_MEMORY_SHARE = 0.7  # Of the memory that Redis may use.
_MACHINE_SHARE = 1 / 8  # Of its machine's memory where it has no limit: rows, and often a shard, are there, too.
_MEMORY_FROM_BYTES = 32 << 20  # A journal below that is not worth a question.
_CYCLES_UNTIL_TRUSTED = 2  # What was pushed before a table became a journaled one is nowhere else.


class Schedule:
    """For one thread at a time.

    Args:
        settings: `recovery_target_s`, `journaled_flush_interval_s`, `flush_interval_s`, `max_dirty_rows` and
            `journal_max_bytes`.
        redis: asked how full it is, and whether somebody wants to read rows there.
        own_limit: bytes of memory that this process's control group may use, as Redis may be in it; 0: no limit.
    """

    def __init__(self, journal: Journal, settings: PsSettings, redis: Redis, *, own_limit: int = 0) -> None:
        self._journal = journal
        self._recovery_target_s = settings.recovery_target_s
        self._longest_s = settings.journaled_flush_interval_s
        self._idle_s = settings.flush_interval_s * 0.9  # A cycle later, whatever the clock makes of it.
        self._max_dirty_rows = settings.max_dirty_rows
        self._max_bytes = settings.journal_max_bytes
        self._redis = redis
        self._rows = StoredRows(redis, Layout(settings.namespace))
        self._since_s = self._moved_s = time.monotonic()
        self._position = -1
        self._own_limit = own_limit
        self._room: float | None = None
        self._journaled: dict[int, int] = {}  # Table id -> cycles since it is a journaled one.

    @property
    def pressing(self) -> bool:
        """Whether a write-back that is under way should not leave time to others any more."""
        return self._is_up_to(_PRESSING)

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
        if _second_chances(tables):
            return None
        if not self.journal_may_stay(tables):
            return None
        now = [table for table in tables if not self._may_wait(table)]
        if len(now) == len(tables) or now_s - self._moved_s >= self._idle_s or self._is_due(tables, now_s):
            return None
        return now

    def journal_may_stay(self, tables: Sequence[ShardTable]) -> bool:
        """Whether a replay of the journal as it is would leave relaxed tables as they are: what one got after a removal
        has no position, and the removal would take it away again."""
        trimmed = self._journal.gone_through()
        return not any(table.removal_position > trimmed for table in tables if not table.journaled)

    def split(self, tables: Sequence[ShardTable]) -> tuple[list[ShardTable], list[ShardTable]]:
        """Of a write-back of all tables: those that may have waited long, and the others."""
        if _second_chances(tables):
            return [], list(tables)
        return [it for it in tables if self._may_wait(it)], [it for it in tables if not self._may_wait(it)]

    def all_written(self, began_s: float) -> None:
        """A write-back of all tables, begun at `began_s` (monotonic), has ended."""
        self._since_s = began_s

    def _may_wait(self, table: ShardTable) -> bool:
        trusted = self._journaled.get(table.entry.table_id, 0) > _CYCLES_UNTIL_TRUSTED
        return trusted and not (table.frozen or table.mirror_unknown)

    def _is_due(self, tables: Sequence[ShardTable], now_s: float) -> bool:
        return (
            now_s - self._since_s >= self._longest_s
            or self._is_up_to(_SHARE)
            or sum(table.rows.dirty_rows() for table in tables) >= self._max_dirty_rows * _SHARE
            or self._redis_asks()
        )

    def _is_up_to(self, share: float) -> bool:
        """Whether the journal is so long, in seconds of its replay or in bytes, beside what it may be."""
        journal = self._journal
        return journal.replay_s >= self._recovery_target_s * share or journal.stored_bytes >= self._max_bytes * share

    def _redis_asks(self) -> bool:
        """Whether somebody wants to read rows there, or it fills: when it is full it takes neither rows nor journal, so
        that nothing makes room any more."""
        try:
            if self._rows.newest_wanted():
                return True
            stored = self._journal.stored_bytes
            if stored < _MEMORY_FROM_BYTES:
                return False
            return memory_share(self._redis) >= _MEMORY_SHARE or stored >= self._redis_room()
        except RedisUnavailable as error:
            _log.debug("%s", error)
            return True

    def _redis_room(self) -> float:
        """Bytes of journal that may wait where Redis has no limit of its own. Raises RedisUnavailable."""
        if self._room is None:  # A machine stays the same for as long as this process runs.
            self._room = journal_room(machine=machine_bytes(self._redis), own_limit=self._own_limit)
        return self._room


def journal_room(*, machine: int, own_limit: int) -> float:
    """Bytes of journal that may wait on a machine, and in a control group, with so many bytes of memory; 0: no limit is
    known.
    """
    return min(machine, own_limit or machine) * _MACHINE_SHARE if machine else math.inf


def _second_chances(tables: Sequence[ShardTable]) -> bool:
    """Whether evicted rows wait, too: followers are told of whole write-backs alone, and what they keep of those rows
    meanwhile is bounded."""
    return any(table.second_chance.on or table.second_chance.wipe_due for table in tables)
