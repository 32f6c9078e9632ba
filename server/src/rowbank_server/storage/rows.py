"""Row buckets in Redis: one hash per bucket, many rows a command.

A command per row would cost ten times as much as one command for all rows of a bucket, on both ends; so rows are
written and read a bucket at a time, and only the number of bytes per round trip is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rowbank_server.storage.connection import Redis, translated
from rowbank_server.storage.layout import Layout

# Packing a command holds the interpreter's lock, which requests wait for: so commands stay small enough to take
# about a millisecond, and round trips carry several.
MAX_ROWS_PER_COMMAND = 1024
MAX_BYTES_PER_COMMAND = 1 << 20
MAX_BYTES_PER_ROUND_TRIP = 4 << 20
_SCAN_ABOVE_ROWS = 50_000  # A larger bucket is read in pieces, so that Redis is not held up and memory stays bounded.
_SCAN_COUNT = 8192
_KEY_BYTES = 8


@dataclass(frozen=True, slots=True)
class BucketChange:
    """What is to be written of one bucket.

    Attributes:
        keys: [n] int64, rows to write; `packed` holds their n packed rows, one after the other.
        removed: [m] int64, rows to delete.
    """

    bucket: int
    keys: npt.NDArray[np.int64]
    packed: bytes
    removed: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Some rows of a bucket, as read.

    Attributes:
        keys: [n] int64; `packed` holds their n packed rows of the expected length, not yet checked.
        malformed: fields and values that do not have the expected lengths.
    """

    keys: npt.NDArray[np.int64]
    packed: bytes
    malformed: dict[bytes, bytes] = field(default_factory=dict)


def rows_per_command(row_bytes: int) -> int:
    """How many rows of `row_bytes` each one command should carry."""
    return max(1, min(MAX_ROWS_PER_COMMAND, MAX_BYTES_PER_COMMAND // row_bytes))


def key_fields(keys: npt.NDArray[np.int64]) -> list[bytes]:
    """The hash fields of `keys`: 8 bytes each, little-endian."""
    data = keys.astype("<i8", copy=False).tobytes()
    return [data[at : at + _KEY_BYTES] for at in range(0, len(data), _KEY_BYTES)]


class RowStore:
    """Reads and writes rows: buckets, and beside them a table's common row on this shard. Thread-safe.

    Every method raises RedisUnavailable when Redis cannot be used.
    """

    def __init__(self, redis: Redis, layout: Layout, *, shard: int) -> None:
        self._redis = redis
        self._layout = layout
        self._common = layout.common(shard)

    def write(self, table_id: int, changes: Sequence[BucketChange], *, rebuilt: bool = False) -> None:
        """Writes `changes` in one round trip; `rebuilt` writes beside the bucket, see `finish_rebuild`."""
        name = self._layout.rows_rebuilt if rebuilt else self._layout.rows
        with translated("row write-back"):
            pipeline = self._redis.pipeline(transaction=False)
            for change in changes:
                key = name(table_id, change.bucket)
                if len(change.removed):
                    pipeline.execute_command("HDEL", key, *key_fields(change.removed))
                if len(change.keys):
                    pipeline.execute_command("HSET", key, *_interleaved(change))
            pipeline.execute()

    def start_rebuild(self, table_id: int, bucket: int) -> None:
        """Makes room for writing a bucket anew, beside what is stored."""
        with translated("row write-back"):
            self._redis.unlink(self._layout.rows_rebuilt(table_id, bucket))

    def finish_rebuild(self, table_id: int, bucket: int) -> None:
        """Puts the bucket that was written anew in the place of the stored one, in one step."""
        rebuilt, rows = self._layout.rows_rebuilt(table_id, bucket), self._layout.rows(table_id, bucket)
        with translated("row write-back"):
            if self._redis.exists(rebuilt):
                self._redis.rename(rebuilt, rows)
            else:
                self._redis.unlink(rows)

    def sizes(self, table_id: int, buckets: Sequence[int]) -> dict[int, int]:
        """How many rows each of `buckets` has; empty ones are left out."""
        with translated("row load"):
            pipeline = self._redis.pipeline(transaction=False)
            for bucket in buckets:
                pipeline.hlen(self._layout.rows(table_id, bucket))
            return {bucket: rows for bucket, rows in zip(buckets, pipeline.execute(), strict=True) if rows}

    def read(self, table_id: int, bucket: int, *, row_count: int, row_bytes: int) -> Iterator[StoredRows]:
        """All rows of a bucket of about `row_count` rows, in pieces. A row may come twice while others write."""
        key = self._layout.rows(table_id, bucket)
        with translated("row load"):
            if row_count <= _SCAN_ABOVE_ROWS:
                yield _stored(self._redis.hgetall(key), row_bytes)
                return
            cursor: int | None = None
            while cursor != 0:
                cursor, piece = self._redis.hscan(key, cursor or 0, count=_SCAN_COUNT)
                yield _stored(piece, row_bytes)

    def quarantine(self, table_id: int, bucket: int, fields: Iterable[bytes]) -> None:
        """Moves rows out of a bucket, so that nothing serves them and somebody can look at them."""
        rows, quarantine = self._layout.rows(table_id, bucket), self._layout.quarantine(table_id, bucket)
        names = list(fields)
        with translated("row quarantine"):
            values = self._redis.hmget(rows, names)
            found = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            if found:
                self._redis.hset(quarantine, mapping=found)
                self._redis.hdel(rows, *found)

    def read_common_row(self, table_id: int) -> bytes | None:
        """The packed common row of a table on this shard, if one was stored."""
        with translated("row load"):
            packed: bytes | None = self._redis.hget(self._common, str(table_id))
        return packed

    def write_common_row(self, table_id: int, packed: bytes) -> None:
        """Stores the common row of a table on this shard."""
        with translated("row write-back"):
            self._redis.hset(self._common, str(table_id), packed)

    def delete_common_row(self, table_id: int) -> None:
        """Deletes the common row of a table on this shard."""
        with translated("row write-back"):
            self._redis.hdel(self._common, str(table_id))

    def quarantine_common_row(self, table_id: int, packed: bytes) -> None:
        """Keeps a common row that failed its checks, so that somebody can look at it."""
        with translated("row quarantine"):
            self._redis.hset(self._common, f"{table_id}:quarantine", packed)
            self._redis.hdel(self._common, str(table_id))

    def delete(self, table_id: int, buckets: Iterable[int]) -> None:
        """Deletes all that is stored of these buckets of a table."""
        with translated("table drop"):
            pipeline = self._redis.pipeline(transaction=False)
            for bucket in buckets:
                for name in (self._layout.rows, self._layout.rows_rebuilt, self._layout.quarantine):
                    pipeline.unlink(name(table_id, bucket))
            pipeline.execute()


def _interleaved(change: BucketChange) -> list[bytes]:
    count = len(change.keys)
    row_bytes = len(change.packed) // count
    arguments = [b""] * (2 * count)
    arguments[0::2] = key_fields(change.keys)
    arguments[1::2] = [change.packed[at : at + row_bytes] for at in range(0, len(change.packed), row_bytes)]
    return arguments


def _stored(fields: dict[bytes, bytes], row_bytes: int) -> StoredRows:
    malformed = {key: value for key, value in fields.items() if len(key) != _KEY_BYTES or len(value) != row_bytes}
    for key in malformed:
        del fields[key]
    keys = np.frombuffer(b"".join(fields), dtype="<i8")
    return StoredRows(keys, b"".join(fields.values()), malformed)
