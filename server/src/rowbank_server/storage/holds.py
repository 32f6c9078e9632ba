"""Which tables running jobs hold, in one Redis hash, so that every shard knows it. A hold ends by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rowbank_server.storage.connection import Redis, translated
from rowbank_server.storage.layout import Layout


@dataclass(frozen=True, slots=True)
class JobHold:
    """What one job holds. `expires_at_s` is in Unix seconds of the servers' clocks."""

    holder: str
    tables: tuple[str, ...]
    run: str
    expires_at_s: float


class JobHolds:
    """Holds by holder. Thread-safe. Every method raises RedisUnavailable when Redis cannot be used."""

    def __init__(self, redis: Redis, layout: Layout, *, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._key = layout.holds
        self._clock = clock

    def hold(self, holder: str, tables: Iterable[str], *, run: str, ttl_s: float) -> None:
        """Replaces what `holder` holds."""
        text = json.dumps({"tables": list(tables), "run": run, "expires_at_s": self._clock() + ttl_s})
        with translated("holds"):
            self._redis.hset(self._key, holder, text)

    def release(self, holder: str) -> bool:
        """Ends what `holder` holds; False: nothing."""
        with translated("holds"):
            return bool(self._redis.hdel(self._key, holder))

    def current(self) -> list[JobHold]:
        """Every hold that has not ended, by holder; forgets those that have."""
        with translated("holds"):
            stored: dict[bytes, bytes] = self._redis.hgetall(self._key)
            now, kept, ended = self._clock(), [], []
            for holder, text in sorted(stored.items()):
                fields = json.loads(text)
                if fields["expires_at_s"] <= now:
                    ended.append(holder)
                    continue
                kept.append(JobHold(holder.decode(), tuple(fields["tables"]), fields["run"], fields["expires_at_s"]))
            if ended:
                self._redis.hdel(self._key, *ended)
        return kept
