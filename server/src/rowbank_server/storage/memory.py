"""How much memory Redis holds and may hold, asked seldom: the answer costs Redis next to nothing, but not nothing."""

from __future__ import annotations

import logging
import threading

from rowbank.errors import RedisUnavailable
from rowbank_server.storage.connection import Redis
from rowbank_server.storage.redis_info import nodes_info

_log = logging.getLogger("rowbank.ps")
_INTERVAL_S = 10.0


class RedisMemory:
    """Asks again and again, in a thread of its own.

    Attributes:
        used_bytes: of all nodes; None: not known yet.
        max_bytes: of all nodes; 0: some node has no limit.
    """

    def __init__(self, redis: Redis) -> None:
        self.used_bytes: int | None = None
        self.max_bytes = 0
        self._redis = redis
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="redis-memory", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Lets the thread end; nobody waits for one that waits for Redis."""
        self._stop.set()

    def _run(self) -> None:
        while True:
            try:
                nodes = nodes_info(self._redis, "memory")
            except RedisUnavailable as error:
                _log.debug("%s", error)
            except Exception:
                _log.exception("Redis's memory could not be read for a reason that is a defect")
                return
            else:
                limits = [int(node.get("maxmemory", 0)) for node in nodes]
                self.max_bytes = sum(limits) if all(limits) else 0
                self.used_bytes = sum(int(node.get("used_memory", 0)) for node in nodes)
            if self._stop.wait(_INTERVAL_S):
                return


def machine_bytes(redis: Redis) -> int:
    """Memory of the machine of the smallest node that has no limit; 0: all have one, or do not tell. Raises
    RedisUnavailable."""
    nodes = nodes_info(redis, "memory")
    machines = [int(node.get("total_system_memory", 0)) for node in nodes if not int(node.get("maxmemory", 0))]
    return min(filter(None, machines), default=0)


def memory_share(redis: Redis) -> float:
    """The largest share that a node uses of what it may use; 0: none has a limit. Raises RedisUnavailable."""
    nodes = nodes_info(redis, "memory")
    return max(
        (int(node.get("used_memory", 0)) / limit for node in nodes if (limit := int(node.get("maxmemory", 0)))),
        default=0.0,
    )
