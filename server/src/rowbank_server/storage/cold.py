"""Evicted rows in Redis, beside the bucket that they were in: hashes that are filled one after the other, in a ring.

A bucket's cold rows lie in eight hashes, one for each slot. All buckets of a table on a shard fill the same slot; when
it is full, the slot after it, which has the oldest rows, is deleted whole and filled next. So the oldest go, at the
cost of one UNLINK a bucket, and no order of keys is kept anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank_server import _core
from rowbank_server.storage.connection import translated
from rowbank_server.storage.layout import COLD_SLOTS
from rowbank_server.storage.node import packed
from rowbank_server.storage.rows import MAX_BYTES_PER_TRANSACTION, MAX_ROWS_PER_COMMAND, RowStore

STAMP_BYTES = 8  # In front of each packed row: the position of its eviction.
_CRC_AT, _CRC_FROM = 4, 8  # In a packed row; see docs/redis-layout.md.
_WHAT = "cold rows"
_SOME_SLOT = COLD_SLOTS  # And beyond: nobody knows which.
_Keys = npt.NDArray[np.int64]
Copy = tuple[int, bytes]  # Slot, and what it has of a key.


class ColdStore:
    """Reads and writes cold rows. Thread-safe. Every method raises RedisUnavailable; those that write NotReady, too.

    Writes go through the fences of the buckets, as those of rows do.
    """

    def __init__(self, rows: RowStore) -> None:
        self._redis = rows.redis
        self._layout = rows.layout
        self._rows = rows

    def write(self, table_id: int, bucket_count: int, keys: _Keys, fields: bytes, *, slot: int) -> None:
        """Stores `keys` [n] with their n fields, all of one size, in a slot."""
        width = len(fields) // max(1, len(keys))
        column = np.frombuffer(fields, np.uint8).reshape(len(keys), width)
        buckets = _core.bucket_of(keys, bucket_count)
        most = max(1, min(MAX_ROWS_PER_COMMAND, MAX_BYTES_PER_TRANSACTION // max(1, width)))
        order = np.argsort(buckets, kind="stable")
        for start in range(0, len(order), most):
            chosen = order[start : start + most]
            commands = {
                bucket: [
                    _core.hset_command(
                        self._layout.cold(table_id, bucket, slot).encode(), keys[at], column[at].tobytes()
                    )
                ]
                for bucket, at in _by_bucket(buckets, chosen)
            }
            self._rows.transact(table_id, commands)

    def delete(self, table_id: int, bucket_count: int, keys: _Keys, slots: npt.NDArray[np.uint8]) -> None:
        """Deletes `keys` [n] from their slots, or from all."""
        buckets = _core.bucket_of(keys, bucket_count)
        order = np.argsort(buckets, kind="stable")
        for start in range(0, len(order), MAX_ROWS_PER_COMMAND):
            commands: dict[int, list[bytes]] = {}
            for bucket, at in _by_bucket(buckets, order[start : start + MAX_ROWS_PER_COMMAND]):
                commands[bucket] = []
                for slot in range(COLD_SLOTS):
                    here = at[(slots[at] == slot) | (slots[at] >= _SOME_SLOT)]
                    if len(here):
                        name = self._layout.cold(table_id, bucket, slot).encode()
                        commands[bucket].append(_core.hdel_command(name, keys[here]))
            self._rows.transact(table_id, commands)

    def drop_slot(self, table_id: int, buckets: Iterable[int], slot: int) -> None:
        """Deletes all that a slot has."""
        self._unlink(table_id, buckets, [slot])

    def wipe(self, table_id: int, buckets: Iterable[int]) -> None:
        """Deletes all cold rows of these buckets."""
        self._unlink(table_id, buckets, range(COLD_SLOTS))

    def read(self, table_id: int, bucket_count: int, keys: _Keys, slots: npt.NDArray[np.uint8]) -> list[list[Copy]]:
        """What the slots, or all slots, have of each of `keys` [n]: n lists."""
        found: list[list[Copy]] = [[] for _ in range(len(keys))]
        asked: list[tuple[int, _Keys]] = []
        buckets = _core.bucket_of(keys, bucket_count)
        with translated(_WHAT):
            pipeline = self._redis.pipeline(transaction=False)
            for bucket, at in _by_bucket(buckets, np.argsort(buckets, kind="stable")):
                for slot in range(COLD_SLOTS):
                    here = at[(slots[at] == slot) | (slots[at] >= _SOME_SLOT)]
                    if len(here):
                        pipeline.hmget(self._layout.cold(table_id, bucket, slot), [_field(keys[i]) for i in here])
                        asked.append((slot, here))
            for (slot, here), values in zip(asked, pipeline.execute(), strict=True):
                for i, value in zip(here, values, strict=True):
                    if value is not None:
                        found[i].append((slot, value))
        return found

    def keys(self, table_id: int, bucket: int) -> list[_Keys]:
        """The keys in each slot of a bucket. What is no key is left out."""
        with translated(_WHAT):
            pipeline = self._redis.pipeline(transaction=False)
            for slot in range(COLD_SLOTS):
                pipeline.hkeys(self._layout.cold(table_id, bucket, slot))
            answers: list[Sequence[bytes]] = pipeline.execute()
        return [
            np.frombuffer(b"".join(field for field in answer if len(field) == 8), "<i8").astype(np.int64)
            for answer in answers
        ]

    def newest_slot(self, table_id: int, samples: Mapping[int, tuple[int, int]]) -> int:
        """The slot that was filled last, by the stamps of one row of each: slot -> bucket and key of that."""
        with translated(_WHAT):
            pipeline = self._redis.pipeline(transaction=False)
            for slot, (bucket, key) in samples.items():
                pipeline.hget(self._layout.cold(table_id, bucket, slot), _field(key))
            values: list[bytes | None] = pipeline.execute()
        stamps = {
            slot: int.from_bytes(value[:8], "little") for slot, value in zip(samples, values, strict=True) if value
        }
        return max(stamps, key=lambda slot: stamps[slot], default=0)

    def _unlink(self, table_id: int, buckets: Iterable[int], slots: Iterable[int]) -> None:
        chosen = list(slots)
        commands = {
            bucket: [packed("UNLINK", *(self._layout.cold(table_id, bucket, slot) for slot in chosen))]
            for bucket in buckets
        }
        self._rows.transact(table_id, commands)


def _by_bucket(buckets: npt.NDArray[Any], order: _Keys) -> list[tuple[int, _Keys]]:
    """The places in `order`, which are in the order of their buckets, by bucket."""
    if not len(order):
        return []
    ends = np.flatnonzero(np.diff(buckets[order])) + 1
    return [(int(buckets[part[0]]), part) for part in np.split(order, ends)]


def _field(key: int) -> bytes:
    return int(key).to_bytes(8, "little", signed=True)


def whole_copy(copy: bytes, key: int, row_bytes: int) -> tuple[int, bytes] | None:
    """Stamp and packed row of what the store has of a key; None: it is damaged."""
    row = copy[STAMP_BYTES:]
    if len(row) != row_bytes:
        return None
    crc = _core.crc32c(key.to_bytes(8, "little", signed=True) + row[_CRC_FROM:])
    if crc != int.from_bytes(row[_CRC_AT:_CRC_FROM], "little"):
        return None
    return int.from_bytes(copy[:STAMP_BYTES], "little"), row
