"""Looks at Redis without waiting for it: what it said within a moment, or that it does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rowbank.errors import RedisUnavailable
from rowbank_server.guard import Guard
from rowbank_server.storage.connection import Redis, is_cluster, translated
from rowbank_server.storage.redis_info import nodes_info

_FRESH_S = 1.0


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What the nodes of a Redis say of themselves; one node, where it is no Cluster.

    Attributes:
        failure: why it cannot be asked; empty: it can. The rest is empty then.
        nodes: the fields of INFO, by node.
        settings: of CONFIG, of one node; empty where CONFIG is forbidden.
        ahead_s: its clock less this machine's; None: not known.
    """

    failure: str = ""
    nodes: tuple[Mapping[str, Any], ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    ahead_s: float | None = None

    def total(self, name: str) -> int:
        """A number of all nodes together."""
        return sum(int(node.get(name, 0)) for node in self.nodes)

    def first(self, name: str) -> str:
        """What the first node says; empty: nothing."""
        return str(self.nodes[0].get(name, "")) if self.nodes else ""


class RedisLook:
    """Asks Redis at most once a second, in a thread of its own, however many callers there are. Thread-safe."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._guard = Guard("Redis", RedisUnavailable, threads=1)
        self._lock = threading.Lock()
        self._facts = RedisFacts(failure="it was not asked yet")
        self._at_s = float("-inf")

    def facts(self, *, within_s: float) -> RedisFacts:
        """What Redis says of itself now, or said within the last second."""
        with self._lock:
            if time.monotonic() - self._at_s < _FRESH_S:
                return self._facts
        try:
            found = self._guard.call(self._ask, within_s=within_s)
        except RedisUnavailable as error:
            found = RedisFacts(failure=error.message)
        with self._lock:
            self._facts, self._at_s = found, time.monotonic()
        return found

    def _ask(self) -> RedisFacts:
        before_s = time.time()
        nodes = nodes_info(self._redis)
        settings, ahead_s = {}, None
        if not is_cluster(self._redis):
            with translated("TIME"):
                seconds, micros = self._redis.time()
            ahead_s = seconds + micros / 1e6 - (before_s + time.time()) / 2
            settings = _settings(self._redis)
        return RedisFacts(nodes=tuple(nodes), settings=settings, ahead_s=ahead_s)


def _settings(redis: Redis) -> dict[str, str]:
    """Of CONFIG what a diagnosis looks at; nothing where it is forbidden."""
    found: dict[str, str] = {}
    try:
        for name in ("appendfsync", "dir", "save", "min-replicas-to-write", "auto-aof-rewrite-min-size"):
            with translated("CONFIG GET"):
                told = redis.config_get(name)
            found |= {_text(key): _text(value) for key, value in told.items()}
    except RedisUnavailable:
        return {}
    return found


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
