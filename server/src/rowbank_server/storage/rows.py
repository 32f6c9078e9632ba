"""Row buckets in Redis: one hash per bucket, many rows a command.

A command per row would cost ten times as much as one command for all rows of a bucket, on both ends; so rows are
written and read a bucket at a time, and only the number of bytes per round trip is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from redis.exceptions import MovedError, ResponseError

from rowbank.errors import NotReady, RedisUnavailable
from rowbank_server import _core
from rowbank_server.storage.connection import Redis, is_cluster, translated
from rowbank_server.storage.layout import COLD_SLOTS, Layout
from rowbank_server.storage.node import NodeConnection, joined, packed, transact

# Redis does nothing else while it carries out a transaction, and journal appends wait behind it. So each takes it less
# than a millisecond.
MAX_ROWS_PER_COMMAND = 1024
MAX_BYTES_PER_TRANSACTION = 256 << 10
_SCAN_ABOVE_ROWS = 50_000  # A larger bucket is read in pieces, so that Redis is not held up and memory stays bounded.
_SCAN_COUNT = 8192
_WRITE_BACK = "row write-back"
_Item = TypeVar("_Item")

# KEYS: state, common rows. ARGV: our epoch, fields and values; an empty value deletes.
_WRITE_COMMON = """
if tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0') > tonumber(ARGV[1]) then return 0 end
for i = 2, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
return 1
"""

# KEYS: fences of buckets. ARGV: our epoch and name. Answers the highest epoch that is there afterwards, and one more if
# another process has the same as we.
_CLAIM = """
local mine, highest = ARGV[1] .. ':' .. ARGV[2], tonumber(ARGV[1])
for _, key in ipairs(KEYS) do
  local fence = redis.call('GET', key) or '0'
  local epoch = tonumber(string.match(fence, '^%d+'))
  if epoch < tonumber(ARGV[1]) then
    redis.call('SET', key, mine)
  elseif fence ~= mine then
    highest = math.max(highest, epoch, tonumber(ARGV[1]) + 1)
  end
end
return highest
"""


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


def rows_per_command(row_bytes: int) -> int:
    """How many rows of `row_bytes` each one command should carry."""
    return max(1, min(MAX_ROWS_PER_COMMAND, MAX_BYTES_PER_TRANSACTION // row_bytes))


class FenceLostError(RedisUnavailable):
    """A bucket's epoch is gone: Redis lost writes, so the shard must write everything again."""


class RowStore:
    """Reads and writes rows: buckets, and beside them a table's common row on this shard. Thread-safe.

    Each bucket has a fence beside its rows, on the same node: epoch and name of who may write it. Whatever writes or
    deletes rows watches it and acts in one transaction, so a process whose shard was taken over cannot overwrite a row
    of its successor, however late its write arrives: such a write raises NotReady.

    Every method raises RedisUnavailable when Redis cannot be used.

    Attributes:
        redis, layout: where the rows are.

    Args:
        owner: the name of this process.
    """

    def __init__(self, redis: Redis, layout: Layout, *, shard: int, owner: str) -> None:
        self.redis = redis
        self.layout = layout
        self._common = layout.common(shard)
        self._state = layout.state(shard)
        self._write_common = redis.register_script(_WRITE_COMMON)
        self._claim = redis.register_script(_CLAIM)
        self._owner = owner
        self._epoch = 0

    def use_epoch(self, epoch: int) -> None:
        """Writes in the name of `epoch` from now on."""
        self._epoch = epoch

    def claim(self, table_id: int, buckets: Iterable[int]) -> int:
        """Takes these buckets from their former owner; returns the highest epoch that is there now.

        A bucket whose epoch is as high as ours or higher and another's is left alone; as high counts as one higher.
        """
        keys = [self.layout.epoch(table_id, bucket) for bucket in buckets]
        with translated("bucket claim"):
            if is_cluster(self.redis):
                return max((int(self._claim(keys=[key], args=[self._epoch, self._owner])) for key in keys), default=0)
            return int(self._claim(keys=keys, args=[self._epoch, self._owner])) if keys else 0

    def claim_all(self, buckets: Mapping[int, Iterable[int]]) -> int:
        """As `claim`, of any number of tables (id -> buckets), with one wait for each node of Redis."""
        keys = [self.layout.epoch(table_id, bucket) for table_id, numbers in buckets.items() for bucket in numbers]
        if not keys:
            return 0
        with translated("bucket claim"):
            if not is_cluster(self.redis):
                return int(self._claim(keys=keys, args=[self._epoch, self._owner]))
            by_node: dict[str, list[str]] = {}
            for key in keys:
                by_node.setdefault(self.redis.get_node_from_key(key).name, []).append(key)
            return max(self._claim_on_node(part) for part in by_node.values())

    def _claim_on_node(self, keys: Sequence[str]) -> int:
        """Claims buckets that one node of a Cluster holds, as far as is known; those that moved, one by one."""
        node = NodeConnection(self.redis, keys[0])
        commands = [packed("EVAL", _CLAIM, "1", key, str(self._epoch), self._owner) for key in keys]
        answers = node.exchange(joined(commands), len(commands))
        node.release()
        highest = 0
        for key, answer in zip(keys, answers, strict=True):
            if isinstance(answer, ResponseError):
                answer = self._claim(keys=[key], args=[self._epoch, self._owner])
            highest = max(highest, int(answer))
        return highest

    def write(self, table_id: int, changes: Sequence[BucketChange], *, rebuilt: bool = False) -> None:
        """Writes `changes` in one transaction per node; `rebuilt` writes beside the bucket, see `finish_rebuild`."""
        name = self.layout.rows_rebuilt if rebuilt else self.layout.rows
        for part in self._transactions(changes):
            commands: list[bytes] = []
            for change in part:
                commands += _change_commands(name(table_id, change.bucket), change)
            self._transact(table_id, [change.bucket for change in part], commands)

    def start_rebuild(self, table_id: int, bucket: int) -> None:
        """Makes room for writing a bucket anew, beside what is stored."""
        self._transact(table_id, [bucket], [packed("UNLINK", self.layout.rows_rebuilt(table_id, bucket))])

    def finish_rebuild(self, table_id: int, bucket: int) -> None:
        """Puts the bucket that was written anew in the place of the stored one, in one step."""
        rebuilt, rows = self.layout.rows_rebuilt(table_id, bucket), self.layout.rows(table_id, bucket)
        with translated(_WRITE_BACK):
            exists = self.redis.exists(rebuilt)
        self._transact(table_id, [bucket], [packed("RENAME", rebuilt, rows) if exists else packed("UNLINK", rows)])

    def clear(self, table_id: int, buckets: Iterable[int]) -> None:
        """Deletes the rows of these buckets of a table."""
        for part in self._transactions(list(buckets)):
            names = [name(table_id, bucket) for bucket in part for name in (self.layout.rows, self.layout.rows_rebuilt)]
            self._transact(table_id, part, [packed("UNLINK", name) for name in names])

    def sizes(self, table_id: int, buckets: Sequence[int]) -> dict[int, int]:
        """How many rows each of `buckets` has; empty ones are left out."""
        with translated("row load"):
            pipeline = self.redis.pipeline(transaction=False)
            for bucket in buckets:
                pipeline.hlen(self.layout.rows(table_id, bucket))
            return {bucket: rows for bucket, rows in zip(buckets, pipeline.execute(), strict=True) if rows}

    def read(self, table_id: int, bucket: int, *, row_count: int) -> Iterator[dict[bytes, bytes]]:
        """All fields of a bucket of about `row_count` rows, in pieces. A row may come twice while others write."""
        key = self.layout.rows(table_id, bucket)
        with translated("row load"):
            if row_count <= _SCAN_ABOVE_ROWS:
                yield self.redis.hgetall(key)
                return
            cursor: int | None = None
            while cursor != 0:
                cursor, piece = self.redis.hscan(key, cursor or 0, count=_SCAN_COUNT)
                yield piece

    def quarantine(self, table_id: int, bucket: int, fields: Iterable[bytes]) -> None:
        """Moves rows out of a bucket, so that nothing serves them and somebody can look at them."""
        rows, quarantine = self.layout.rows(table_id, bucket), self.layout.quarantine(table_id, bucket)
        names = list(fields)
        with translated("row quarantine"):
            values = self.redis.hmget(rows, names)
            found = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            if found:
                self.redis.hset(quarantine, mapping=found)
                self.redis.hdel(rows, *found)

    def read_common_row(self, table_id: int) -> tuple[bytes | None, int]:
        """The packed common row of a table on this shard, if one was stored, and the position it has seen."""
        with translated("row load"):
            packed, position = self.redis.hmget(self._common, str(table_id), f"{table_id}:position")
        return packed, int(position or 0)

    def write_common_row(self, table_id: int, packed: bytes, position: int) -> None:
        """Stores the common row of a table on this shard, and the position it has seen. Raises NotReady as `write`."""
        self._change_common(str(table_id), packed, f"{table_id}:position", position)

    def delete_common_row(self, table_id: int) -> None:
        """Deletes the common row of a table on this shard. Raises NotReady as `write`."""
        self._change_common(str(table_id), b"", f"{table_id}:position", b"")

    def _change_common(self, *fields: str | bytes | int) -> None:
        with translated(_WRITE_BACK):
            if not self._write_common(keys=[self._state, self._common], args=[self._epoch, *fields]):
                raise _replaced()

    def quarantine_common_row(self, table_id: int, packed: bytes) -> None:
        """Keeps a common row that failed its checks, so that somebody can look at it."""
        with translated("row quarantine"):
            self.redis.hset(self._common, f"{table_id}:quarantine", packed)
            self.redis.hdel(self._common, str(table_id))

    def delete(self, table_id: int, buckets: Iterable[int]) -> None:
        """Deletes all that is stored of these buckets of a table that was dropped."""
        kinds = (self.layout.rows, self.layout.rows_rebuilt, self.layout.quarantine, self.layout.epoch)
        with translated("table drop"):
            pipeline = self.redis.pipeline(transaction=False)
            for bucket in buckets:
                names = [name(table_id, bucket) for name in kinds]
                names += [self.layout.cold(table_id, bucket, slot) for slot in range(COLD_SLOTS)]
                for name in names:
                    pipeline.unlink(name)  # One at a time, for a Cluster's pipelines take no more.
            pipeline.execute()

    def transact(self, table_id: int, commands: Mapping[int, Sequence[bytes]]) -> None:
        """Carries out packed commands on keys beside the rows of buckets, in one transaction per node.

        Raises NotReady as `write`.
        """
        for buckets in self._transactions(list(commands)):
            self._transact(table_id, buckets, [command for bucket in buckets for command in commands[bucket]])

    def _transactions(self, items: Sequence[_Item]) -> list[Sequence[_Item]]:
        """What may go into one transaction: everything, or in a Cluster one bucket at a time."""
        return [[item] for item in items] if is_cluster(self.redis) else [items]

    def _transact(self, table_id: int, buckets: Sequence[int], commands: Sequence[bytes]) -> None:
        """Carries out packed commands in one transaction, unless the buckets are not ours when it comes to that.

        Raises:
            NotReady: another process has them.
            FenceLostError: nobody has them.
        """
        if not buckets:
            return
        fences = [self.layout.epoch(table_id, bucket) for bucket in buckets]
        node = NodeConnection(self.redis, fences[0])
        mine = b"%d:%b" % (self._epoch, self._owner.encode())
        with translated(_WRITE_BACK):
            try:
                others = [fence for fence in _watch(node, fences) if fence != mine]
                if any(_epoch_of(fence) >= self._epoch for fence in others):
                    raise _replaced()
                if others:
                    raise FenceLostError("Redis lost who owns a bucket; everything is written again")
                transact(node, commands)
            except BaseException:
                node.close()  # It watches, or is within a transaction.
                raise
            node.release()


def _watch(node: NodeConnection, keys: Sequence[str]) -> list[bytes | None]:
    """Watches `keys` on the node that holds them, and reads them."""
    command = packed("WATCH", *keys) + packed("MGET", *keys)
    answers = node.exchange([command], 2)
    if isinstance(answers[0], MovedError):  # Now the connection knows where to.
        answers = node.exchange([command], 2)
    for answer in answers:
        if isinstance(answer, ResponseError):
            raise answer
    values: list[bytes | None] = answers[1]
    return values


def _replaced() -> NotReady:
    return NotReady("another process has taken over this shard; nothing is written any more")


def _epoch_of(fence: bytes | None) -> int:
    return int((fence or b"0").partition(b":")[0])


def _change_commands(key: str, change: BucketChange) -> Iterator[bytes]:
    name = key.encode()
    if len(change.removed):
        yield _core.hdel_command(name, change.removed)
    if len(change.keys):
        yield _core.hset_command(name, change.keys, change.packed)
