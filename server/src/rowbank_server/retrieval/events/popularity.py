"""How often items were met, by hour and by kind of event: counters in Redis that all processes add to."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import redis

from rowbank_server.features.redis_errors import translated
from rowbank_server.retrieval.events.recording import Event

HOUR_S = 3600
_AT_ONCE = 1000  # Commands of one pipeline; fields of one step of a scan.


class Bucket(NamedTuple):
    """The events of one kind in one hour since 1970."""

    hour: int
    kind: str


class Counted(NamedTuple):
    """What a bucket holds: [N] int64 items, ascending, and [N] float64 sums of weights."""

    items: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]


class PopularityStore:
    """Thread-safe, as its Redis client is.

    A view of items has a hash of its buckets, each with how often it was added to, by which readers know what they
    have not read yet; and a hash per bucket. All of them expire by themselves.

    Args:
        client: must answer bytes.
        retention_h: hours that buckets are kept.
    """

    def __init__(
        self, client: redis.Redis, namespace: str, retention_h: int, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._redis: Any = client
        self._namespace = namespace
        self._clock = clock
        self.retention_s = retention_h * HOUR_S

    def add(self, view: str, events: Iterable[Event]) -> None:
        """Counts events of items of a view. Those that are older than what is kept are left out.

        Raises:
            RedisUnavailable: some may have been counted.
        """
        oldest = (self._clock() - self.retention_s) // HOUR_S
        sums: dict[Bucket, dict[int, float]] = defaultdict(lambda: defaultdict(float))
        for event in events:
            bucket = Bucket(int(event.time_s // HOUR_S), event.kind)
            if bucket.hour > oldest:
                sums[bucket][event.item] += event.weight
        with translated("counting of events"):
            for bucket, counts in sums.items():
                self._add(view, bucket, list(counts.items()))

    def _add(self, view: str, bucket: Bucket, counts: list[tuple[int, float]]) -> None:
        key, index = self._key(view, bucket), self._index(view)
        for start in range(0, len(counts), _AT_ONCE):
            with self._redis.pipeline(transaction=False) as pipe:
                for item, weight in counts[start : start + _AT_ONCE]:
                    pipe.hincrbyfloat(key, item, weight)
                pipe.expireat(key, bucket.hour * HOUR_S + self.retention_s + HOUR_S)
                pipe.hincrby(index, f"{bucket.hour}:{bucket.kind}", 1)
                pipe.expire(index, self.retention_s + HOUR_S)
                pipe.execute()

    def buckets(self, view: str) -> dict[Bucket, int]:
        """What there is of a view, with how often each bucket was added to; what has expired is cleared away."""
        oldest = (self._clock() - self.retention_s) // HOUR_S
        with translated(f"counters of view {view!r}"):
            stored: Mapping[bytes, bytes] = self._redis.hgetall(self._index(view))
            found, expired = {}, []
            for field, changes in stored.items():
                hour, _, kind = field.decode().partition(":")
                bucket = Bucket(int(hour), kind)
                if bucket.hour > oldest:
                    found[bucket] = int(changes)
                else:
                    expired.append(field)
            if expired:
                self._redis.hdel(self._index(view), *expired)
        return found

    def read(self, view: str, bucket: Bucket) -> Counted:
        """What one bucket holds."""
        with translated(f"counters of view {view!r}"):
            held = dict(self._redis.hscan_iter(self._key(view, bucket), count=_AT_ONCE))
        items = np.fromiter((int(item) for item in held), np.int64, len(held))
        weights = np.fromiter((float(weight) for weight in held.values()), np.float64, len(held))
        order = np.argsort(items)  # Found in a catalogue many times as fast.
        return Counted(items[order], weights[order])

    def _index(self, view: str) -> str:
        return f"{self._namespace}:events:{view}:buckets"

    def _key(self, view: str, bucket: Bucket) -> str:
        return f"{self._namespace}:events:{view}:{bucket.hour}:{bucket.kind}"
