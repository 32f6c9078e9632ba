"""A picture of a table: its rows, bucket by bucket, as they are when each is read.

What changes meanwhile is sent in between, so there is neither a gap nor a second copy: before a bucket is read,
everything that was sent is in it, and what is sent later is known by its position to be in it or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rowbank_protos.columns import pack_keys
from rowbank_protos.v1 import deltas_pb2
from rowbank_server.ps.deltas.asking import RECORDS, ROWS
from rowbank_server.ps.deltas.changes import MESSAGE_BYTES, read_rows
from rowbank_server.ps.tables.table import ShardTable


class Picture:
    """One table on its way to one follower.

    Args:
        last_position: answers the highest position that a mutation has taken.
    """

    def __init__(self, table: ShardTable, detail: int, last_position: Callable[[], int]) -> None:
        self.table = table
        self._detail = detail
        self._last_position = last_position
        self._next = 0
        self._whole_at = last_position()

    @property
    def table_id(self) -> int:
        """Of the table."""
        return self.table.entry.table_id

    @property
    def done(self) -> bool:
        """Whether all buckets were read."""
        return self._next >= len(self.table.buckets)

    def start(self) -> deltas_pb2.PictureStart:
        """The message before all rows."""
        return deltas_pb2.PictureStart(table_id=self.table_id, rows=self.table.rows.size())

    def read(self) -> list[dict[str, Any]]:
        """Reads the next buckets, at least one and about a megabyte: messages to be sent with nothing in between.

        Of records, also an empty bucket has one: from there on mutations of its rows count.
        """
        messages: list[dict[str, Any]] = []
        size = 0
        while not self.done and size < MESSAGE_BYTES:
            bucket = self.table.buckets[self._next]
            self._next += 1
            for message in self._packed(bucket) if self._detail == RECORDS else self._rows(bucket):
                messages.append(message)
                size += sum(part.ByteSize() for part in message.values())
        self._whole_at = self._last_position()
        return messages

    def end(self) -> deltas_pb2.PictureEnd:
        """The message behind all rows."""
        table = self.table
        end = deltas_pb2.PictureEnd(table_id=self.table_id)
        if self._detail == RECORDS and table.admits_by_count:
            with table.mutation_lock:  # So that the row shows this table's mutations up to that position.
                end.common_position = self._last_position()
                end.common_row = table.rows.pack_common_row()
            self._whole_at = max(self._whole_at, end.common_position)
        end.whole_at, end.step = self._whole_at, table.step
        return end

    def _rows(self, bucket: int) -> Iterator[dict[str, Any]]:
        keys = self.table.rows.export_bucket(bucket).keys
        for rows in read_rows(self.table, keys, values=self._detail == ROWS, picture=True):
            yield {"changes": rows}

    def _packed(self, bucket: int) -> Iterator[dict[str, Any]]:
        keys, packed = self.table.rows.pack_bucket(bucket)
        row_bytes = self.table.rows.packed_row_bytes
        most = max(1, MESSAGE_BYTES // row_bytes)
        for start in range(0, max(1, len(keys)), most):
            yield {
                "picture_rows": deltas_pb2.PictureRows(
                    table_id=self.table_id,
                    bucket=bucket,
                    keys=pack_keys(keys[start : start + most]),
                    packed=packed[start * row_bytes : (start + most) * row_bytes],
                )
            }
