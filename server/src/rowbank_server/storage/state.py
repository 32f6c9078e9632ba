"""What a shard keeps about itself in Redis: its epoch, a flush counter, the optimizer steps of its tables.

The epoch rises by one whenever a process starts to serve the shard, so a process that finds a higher one than its own
knows that it was replaced. The flush counter is written last in every write-back; a lower or missing one says that
Redis lost writes (it came back empty, or from an old copy) and that what is in RAM must be written again.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from rowbank_server.storage.connection import Redis, is_cluster, translated
from rowbank_server.storage.layout import Layout

_EPOCH, _FLUSH, _STEP_PREFIX = b"epoch", b"flush", "step:"
_SHARD_COUNT = b"shard_count"


class Standing(enum.Enum):
    """What Redis knows of this process."""

    CURRENT = "current"  # All that was written is there.
    LOST = "lost"  # Redis lost writes of ours.
    REPLACED = "replaced"  # Another process serves this shard now.


@dataclass(slots=True)
class _Mark:
    epoch: int
    flush: int


class ShardState:
    """This process's view of its shard's state. Methods raise RedisUnavailable when Redis cannot be used."""

    def __init__(self, redis: Redis, layout: Layout, *, shard: int, shard_count: int) -> None:
        self._redis = redis
        self._layout = layout
        self._shard = shard
        self._shard_count = shard_count
        self._key = layout.state(shard)
        self._mark = _Mark(0, 0)
        self._run_ids = ""

    @property
    def epoch(self) -> int:
        """The epoch that `claim` got."""
        return self._mark.epoch

    def claim(self) -> dict[int, int]:
        """Takes over the shard: raises its epoch. Returns the stored steps: table id -> step.

        After the number of shards changed, no shard's own step is right for its new buckets, so each takes the
        highest that any shard had for a table.
        """
        with translated("shard state"):
            self._mark.epoch = int(self._redis.hincrby(self._key, _EPOCH, 1))
            self._run_ids = self._read_run_ids()
            highest = max(int(self._redis.hget(self._layout.shards, _SHARD_COUNT) or 0), self._shard_count)
            self._redis.hset(self._layout.shards, _SHARD_COUNT, highest)
            same_count = int(self._redis.hget(self._key, _SHARD_COUNT) or 0) == self._shard_count
            steps: dict[int, int] = {}
            for shard in [self._shard] if same_count else range(highest):
                for table_id, step in self._read_steps(shard).items():
                    steps[table_id] = max(steps.get(table_id, 0), step)
            self._redis.hset(self._key, mapping={_SHARD_COUNT: self._shard_count, **self._fields(steps, flush=0)})
        return steps

    def standing(self) -> Standing:
        """Compares what this process wrote last with what Redis has."""
        with translated("shard state"):
            epoch, flush = (int(value or 0) for value in self._redis.hmget(self._key, _EPOCH, _FLUSH))
            run_ids = self._read_run_ids()
        if epoch > self._mark.epoch:
            return Standing.REPLACED
        # The nodes of a Cluster fail one by one: the counter, on one node, says nothing about the others.
        restarted, self._run_ids = run_ids != self._run_ids, run_ids
        if epoch < self._mark.epoch or flush < self._mark.flush or (restarted and is_cluster(self._redis)):
            return Standing.LOST
        return Standing.CURRENT

    def write(self, steps: Mapping[int, int]) -> None:
        """Ends a write-back: stores `steps` (table id -> step) and counts the flush."""
        flush = self._mark.flush + 1
        with translated("shard state"):
            self._redis.hset(self._key, mapping=self._fields(steps, flush=flush))
        self._mark.flush = flush

    def forget_table(self, table_id: int) -> None:
        """Deletes the step of a dropped table."""
        with translated("shard state"):
            self._redis.hdel(self._key, f"{_STEP_PREFIX}{table_id}")

    def _fields(self, steps: Mapping[int, int], *, flush: int) -> dict[bytes, int]:
        marks = {_EPOCH: self._mark.epoch, _FLUSH: flush}
        return marks | {f"{_STEP_PREFIX}{table_id}".encode(): step for table_id, step in steps.items()}

    def _read_run_ids(self) -> str:
        if not is_cluster(self._redis):
            return ""
        answers = self._redis.info("server", target_nodes=self._redis.PRIMARIES)
        nodes = [answers] if "run_id" in answers else answers.values()
        return ",".join(sorted(str(node["run_id"]) for node in nodes))

    def _read_steps(self, shard: int) -> dict[int, int]:
        fields: dict[bytes, bytes] = self._redis.hgetall(self._layout.state(shard))
        prefix = _STEP_PREFIX.encode()
        return {int(name[len(prefix) :]): int(step) for name, step in fields.items() if name.startswith(prefix)}
