"""How processes of a parameter server are, and what they find wrong with themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rowbank_protos.v1 import diagnosis_pb2

VERDICTS = ("ok", "warn", "fail", "unknown")


@dataclass(frozen=True, slots=True)
class MethodTimes:
    """How long requests of a method took since the server started.

    Attributes:
        failed: how many ended with an error.
        upper_s: upper bounds of the buckets but the last, which has none.
        counts: requests in each bucket, one more than bounds.
    """

    method: str
    failed: int
    upper_s: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(self.counts)

    def quantile_s(self, share: float) -> float | None:
        """The time that `share` of the requests did not exceed, interpolated in its bucket; None: there were none."""
        return quantile_s(self.upper_s, self.counts, share)

    def since(self, earlier: MethodTimes | None) -> MethodTimes:
        """What came after `earlier`; all of it, if the server has started again since."""
        if earlier is None or earlier.requests > self.requests or len(earlier.counts) != len(self.counts):
            return self
        counts = tuple(now - before for now, before in zip(self.counts, earlier.counts, strict=True))
        return MethodTimes(self.method, max(0, self.failed - earlier.failed), self.upper_s, counts)


def quantile_s(upper_s: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """The time below which `share` of the counted lies, interpolated in its bucket; None: nothing is counted.

    What lies above the last bound is told as that bound.
    """
    rank, low = share * sum(counts), 0.0
    if not rank:
        return None
    for bound, count in zip(upper_s, counts, strict=False):
        if rank <= count:
            return low + (bound - low) * rank / count
        rank, low = rank - count, bound
    return low


@dataclass(frozen=True, slots=True)
class RedisHealth:
    """Redis as a shard sees it.

    Attributes:
        failure: why it cannot be reached; the rest is empty then.
        policy: maxmemory-policy; empty: it does not tell.
        max_bytes: 0: no limit.
    """

    reachable: bool
    failure: str
    version: str
    policy: str
    used_bytes: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class ShardHealth:
    """How a shard's owner is.

    Attributes:
        at_ms: Unix milliseconds by the server's clock.
        methods: requests since the server started.
        journal_bytes: in Redis and not written back yet; `journal_pending_bytes` are not in Redis yet.
        journal_lag_s: age of the oldest mutation that Redis has not taken; 0: none.
        journal_failure: why the last append failed; empty: it did not.
        write_back_lag_s: since everything was written back; 0: everything is.
        resident_bytes: RAM of the process.
    """

    shard: int
    target: str
    server_id: str
    at_ms: int
    uptime_s: float
    methods: tuple[MethodTimes, ...]
    journal_bytes: int
    journal_max_bytes: int
    journal_pending_bytes: int
    journal_lag_s: float
    journal_failure: str
    corrupt_records: int
    write_back_lag_s: float
    dirty_rows: int
    max_dirty_rows: int
    resident_bytes: int
    redis: RedisHealth

    def times(self, method: str) -> MethodTimes | None:
        """Of one method, such as "Pull"; None: it was never called."""
        return next((one for one in self.methods if one.method == method), None)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        verdict: one of `VERDICTS`; "unknown": it could not be looked at.
        remedy: what to do; empty: nothing.
    """

    check: str
    verdict: str
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a process finds wrong with itself, its machine and its Redis."""

    target: str
    shard: int
    server_id: str
    version: str
    role: str
    at_ms: int
    findings: tuple[Finding, ...]


def shard_health(target: str, message: diagnosis_pb2.GetHealthResponse) -> ShardHealth:
    """The answer of the server at `target`."""
    redis = message.redis
    return ShardHealth(
        shard=message.shard,
        target=target,
        server_id=message.server_id,
        at_ms=message.at_ms,
        uptime_s=message.uptime_s,
        methods=tuple(
            MethodTimes(one.method, one.failed, tuple(one.upper_s), tuple(one.requests)) for one in message.methods
        ),
        journal_bytes=message.journal_bytes,
        journal_max_bytes=message.journal_max_bytes,
        journal_pending_bytes=message.journal_pending_bytes,
        journal_lag_s=message.journal_lag_s,
        journal_failure=message.journal_failure,
        corrupt_records=message.corrupt_records,
        write_back_lag_s=message.write_back_lag_s,
        dirty_rows=message.dirty_rows,
        max_dirty_rows=message.max_dirty_rows,
        resident_bytes=message.resident_bytes,
        redis=RedisHealth(
            redis.reachable, redis.failure, redis.version, redis.policy, redis.used_bytes, redis.max_bytes
        ),
    )


def diagnosis(target: str, message: diagnosis_pb2.DiagnoseResponse) -> Diagnosis:
    """The answer of the server at `target`."""
    return Diagnosis(
        target=target,
        shard=message.shard,
        server_id=message.server_id,
        version=message.version,
        role=message.role,
        at_ms=message.at_ms,
        findings=tuple(
            Finding(one.check, VERDICTS[max(0, one.verdict - 1)], one.detail, one.remedy) for one in message.findings
        ),
    )
