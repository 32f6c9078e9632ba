"""Which rows Redis may lack, as the owner's write-backs go: what a process that takes over has to write.

What is marked when the owner begins a write-back is in Redis when that one has ended; until then it is put aside, and
marked again if it fails.
"""

from __future__ import annotations

from collections.abc import Iterable

from rowbank_protos.v1.deltas_pb2 import WriteBackMark
from rowbank_server.ps.durability.writeback import settle, unsettle
from rowbank_server.ps.following.copies import Copy
from rowbank_server.ps.tables.table import ShardTable


class WriteBacks:
    """For one thread at a time.

    Attributes:
        last_flush: the flush counter of the last write-back that ended; 0: none has.
    """

    def __init__(self) -> None:
        self._serial: int | None = None
        self.last_flush = 0

    def take(self, mark: WriteBackMark, copies: Iterable[Copy]) -> None:
        """Follows a step of a write-back, in order with the mutations."""
        if mark.stage == WriteBackMark.STAGE_BEGUN:
            self.give_back(copies)
            self._serial = mark.serial
            for copy in copies:
                copy.whole_at_begin = copy.whole
                _put_aside(copy.table)
        elif mark.serial != self._serial:  # It began before this process followed.
            return
        elif mark.stage == WriteBackMark.STAGE_ENDED:
            self._serial = None
            self.last_flush = mark.flush
            for copy in copies:
                settle(copy.table)
                copy.settled |= copy.whole_at_begin
        else:
            self.give_back(copies)

    def forget_flush(self) -> None:
        """Another owner may count its write-backs anew."""
        self.last_flush = 0

    def give_back(self, copies: Iterable[Copy]) -> None:
        """Marks again what was put aside for a write-back that has not ended."""
        self._serial = None
        for copy in copies:
            unsettle(copy.table)


def _put_aside(table: ShardTable) -> None:
    with table.write_lock:
        for bucket in table.rows.dirty_buckets():
            table.unsettled.keys.append((bucket, table.rows.take_dirty_keys(bucket)))
        if table.second_chance.on or table.second_chance.wipe_due:
            table.second_chance.put_aside()
        table.unsettled.cleared |= table.mirror_stale
        table.mirror_stale = False
        table.unsettled.common_row |= table.rows.take_common_row() is not None
