"""How a process is, in one message."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rowbank_protos.v1 import diagnosis_pb2
from rowbank_server.journal.journal import Journal
from rowbank_server.ps.diagnosis.redis_look import RedisFacts, RedisLook
from rowbank_server.ps.durability.keeper import Keeper
from rowbank_server.ps.services.metrics import MethodTimes, RequestMetrics
from rowbank_server.settings import PsSettings

_REDIS_WAIT_S = 0.3


class Health:
    """Says how this process is, without waiting for Redis longer than a moment."""

    def __init__(
        self,
        settings: PsSettings,
        journal: Journal,
        keeper: Keeper,
        requests: RequestMetrics,
        redis: RedisLook,
        *,
        server_id: str,
        corrupt_records: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._keeper = keeper
        self._requests = requests
        self._redis = redis
        self._server_id = server_id
        self._corrupt_records = corrupt_records
        self._started_s = time.monotonic()

    def now(self) -> diagnosis_pb2.GetHealthResponse:
        """As the process is now."""
        return diagnosis_pb2.GetHealthResponse(
            shard=self._settings.shard_index,
            server_id=self._server_id,
            at_ms=int(time.time() * 1000),
            uptime_s=time.monotonic() - self._started_s,
            methods=[
                diagnosis_pb2.MethodTimes(
                    method=one.method, failed=one.failed, upper_s=one.upper_s, requests=one.counts
                )
                for one in self._requests.times()
            ],
            journal_bytes=self._journal.stored_bytes,
            journal_max_bytes=self._settings.journal_max_bytes,
            journal_pending_bytes=self._journal.pending_bytes,
            journal_lag_s=self._journal.lag_s(),
            journal_failure=self._journal.failure,
            corrupt_records=self._corrupt_records(),
            write_back_lag_s=self._keeper.lag_s(),
            dirty_rows=self._keeper.dirty_rows(),
            max_dirty_rows=self._settings.max_dirty_rows,
            resident_bytes=resident_bytes(),
            redis=_redis_health(self._redis.facts(within_s=_REDIS_WAIT_S)),
        )


def _times(times: MethodTimes) -> diagnosis_pb2.MethodTimes:
    return diagnosis_pb2.MethodTimes(
        method=times.method, failed=times.failed, upper_s=times.upper_s, requests=times.counts
    )


def _redis_health(facts: RedisFacts) -> diagnosis_pb2.RedisHealth:
    return diagnosis_pb2.RedisHealth(
        reachable=not facts.failure,
        failure=facts.failure,
        version=facts.first("valkey_version") or facts.first("redis_version"),
        policy=facts.first("maxmemory_policy"),
        used_bytes=facts.total("used_memory"),
        max_bytes=facts.total("maxmemory"),
    )


def resident_bytes() -> int:
    """RAM that this process holds; 0: the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    line = next((line for line in status.splitlines() if line.startswith("VmRSS:")), "VmRSS: 0 kB")
    return int(line.split()[1]) << 10
