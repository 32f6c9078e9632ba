"""Whether Redis may throw keys away by itself.

A row bucket, a journal or a catalog that Redis evicts is lost without a word: what is in RAM still answers, and a
restart finds less. INFO tells the policy also where CONFIG is forbidden, as in managed services.
"""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass

from rowbank_server.settings import StartError
from rowbank_server.storage.connection import Redis
from rowbank_server.storage.redis_info import nodes_info

_log = logging.getLogger("rowbank.redis")
_REMEDY = "set maxmemory-policy noeviction there (CONFIG SET, the server's file, or the managed service's parameters)"


class Danger(enum.IntEnum):
    """What a policy puts at risk, from nothing to everything."""

    NONE = 0  # noeviction, or a policy that is not told.
    EXPIRING = 1  # volatile-*: files of a model that is being published.
    LATER = 2  # allkeys-* without a limit: nothing, until somebody sets one.
    ROWS = 3  # allkeys-* with a limit: any key.


@dataclass(frozen=True, slots=True)
class EvictionPolicy:
    """The most dangerous policy among the nodes; `name` is empty where none tells its own."""

    name: str
    limit_bytes: int

    @property
    def danger(self) -> Danger:
        """What it puts at risk."""
        if self.name.startswith("allkeys-"):
            return Danger.ROWS if self.limit_bytes else Danger.LATER
        return Danger.EXPIRING if self.name.startswith("volatile-") else Danger.NONE


def read_policy(redis: Redis) -> EvictionPolicy:
    """The policy that is in force now. Raises RedisUnavailable."""
    found = [
        EvictionPolicy(str(node.get("maxmemory_policy", "")), int(node.get("maxmemory", 0)))
        for node in nodes_info(redis, "memory")
    ]
    return max(found, key=lambda policy: policy.danger)


def check_policy(redis: Redis, *, allowed: bool, owns_rows: bool) -> EvictionPolicy:
    """The policy, once it was judged: refused where it may cost rows, warned of where it may cost less.

    Args:
        allowed: whether the operator said that it is meant (setting `allow_redis_eviction`).
        owns_rows: False: only warn, as a service that keeps nothing in Redis does.
    Raises:
        StartError: it may evict rows.
        RedisUnavailable: Redis cannot be asked.
    """
    policy = read_policy(redis)
    text = f"Redis evicts keys by itself (maxmemory-policy {policy.name}, maxmemory {policy.limit_bytes} bytes)"
    if policy.danger is Danger.ROWS and owns_rows and not allowed:
        raise StartError(
            f"{text}, so rows, journal and catalog could be lost without a word; {_REMEDY}, or pass "
            "--allow-redis-eviction if all of it may be lost"
        )
    if policy.danger is Danger.ROWS:
        _log.warning("%s: whatever it takes is lost without a word; %s", text, _REMEDY)
    elif policy.danger is Danger.LATER:
        _log.warning(
            "maxmemory-policy is %s and maxmemory is not set: as soon as it is, Redis evicts rows; %s",
            policy.name,
            _REMEDY,
        )
    elif policy.danger is Danger.EXPIRING:
        _log.warning(
            "%s that have a time to live: publications of models under way may be lost; %s",
            text,
            _REMEDY,
        )
    elif not policy.name:
        _log.info("Redis does not tell its maxmemory-policy; make sure that it is noeviction")
    return policy
