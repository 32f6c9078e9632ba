"""When tables were cleared or dropped: a few lines a table, so that it can be told why all of its rows are gone."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rowbank_server.storage.connection import Redis, translated
from rowbank_server.storage.layout import Layout

_KEPT = 8  # A table.
_MOST_TABLES = 4096
_WHAT = "times of clearing and dropping"


@dataclass(frozen=True, slots=True)
class Emptied:
    """One time; `rows` of the shard, 0: not told."""

    at_s: int
    dropped: bool
    rows: int


class Emptyings:
    """Notes and tells, by the name of the table. Thread-safe; a shard writes what is its own."""

    def __init__(self, redis: Redis, layout: Layout, *, shard: int, shard_count: int, retention_s: float) -> None:
        self._redis = redis
        self._key = layout.emptied
        self._shard = shard
        self._shard_count = shard_count
        self._retention_s = int(retention_s)

    def note(self, table: str, *, dropped: bool, rows: int) -> None:
        """All rows went just now. Raises RedisUnavailable."""
        field = f"{self._shard}:{table}"
        with translated(_WHAT):
            known = self._parsed(self._redis.hget(self._key, field))
            lines = [Emptied(int(time.time()), dropped, rows), *known][:_KEPT]
            if self._redis.hlen(self._key) >= _MOST_TABLES:
                self._forget_oldest()
            self._redis.hset(self._key, field, json.dumps([asdict(line) for line in lines]))
            self._redis.expire(self._key, self._retention_s)

    def of(self, table: str) -> list[Emptied]:
        """When this shard's rows of `table` all went, newest first. Raises RedisUnavailable."""
        with translated(_WHAT):
            # A table is cleared on every shard, and dropped by one for all.
            told = self._redis.hmget(self._key, [f"{shard}:{table}" for shard in range(self._shard_count)])
        lines = [
            line
            for shard, text in enumerate(told)
            for line in self._parsed(text)
            if line.dropped or shard == self._shard
        ]
        return sorted(lines, key=lambda line: -line.at_s)

    def _parsed(self, text: bytes | None) -> list[Emptied]:
        oldest = time.time() - self._retention_s
        lines = [Emptied(**line) for line in json.loads(text or b"[]")]
        return [line for line in lines if line.at_s >= oldest]

    def _forget_oldest(self) -> None:
        told: dict[bytes, bytes] = self._redis.hgetall(self._key)
        newest = {field: max((line.at_s for line in self._parsed(text)), default=0) for field, text in told.items()}
        going: Sequence[bytes] = sorted(newest, key=newest.__getitem__)[: len(newest) // 2]
        self._redis.hdel(self._key, *going)
