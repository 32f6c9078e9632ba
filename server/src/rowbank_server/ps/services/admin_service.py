"""AdminService: what operators see and do."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import grpc
import numpy as np

from rowbank.errors import InvalidRequest
from rowbank_protos.columns import pack_counts, pack_keys, pack_values
from rowbank_protos.v1 import admin_pb2, admin_pb2_grpc
from rowbank_server import _core
from rowbank_server.ps.durability.committer import Committer
from rowbank_server.ps.durability.flushes import Flushes
from rowbank_server.ps.durability.keeper import Keeper
from rowbank_server.ps.roles.membership import Membership
from rowbank_server.ps.tables.departing import Departing
from rowbank_server.ps.tables.growth import MemoryState
from rowbank_server.ps.tables.mutations import REMOVAL_REASONS, Evict
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.security.caller import current
from rowbank_server.storage.evictions import EvictionHistory

_DEFAULT_EVENTS = 100
_DEFAULT_TOP_ROWS = 20
_DEFAULT_RANKS = 16_384
_MAX_RANKS = 262_144  # 4 MiB of an answer.
_SCORES: dict[int, _core.Score] = {
    admin_pb2.SCORE_UNSPECIFIED: "frequency",
    admin_pb2.SCORE_FREQUENCY: "frequency",
    admin_pb2.SCORE_LAST_USED: "last_used",
}
_RESTRICT_REASONS: dict[int, admin_pb2.EvictionReason] = {
    admin_pb2.EVICTION_REASON_UNSPECIFIED: admin_pb2.EVICTION_REASON_RESTRICT,
    admin_pb2.EVICTION_REASON_RESTRICT: admin_pb2.EVICTION_REASON_RESTRICT,
    admin_pb2.EVICTION_REASON_MANUAL: admin_pb2.EVICTION_REASON_MANUAL,
}


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """What a server says about itself; `server_id` is new at every start."""

    version: str
    namespace: str
    shard: int
    shard_count: int
    bucket_count: int
    max_keys_per_request: int
    max_message_bytes: int
    server_id: str
    redis_eviction_policy: str
    redis_may_evict: bool


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """Serves one shard's numbers and the eviction history of all."""

    def __init__(
        self,
        shard: Shard,
        keeper: Keeper,
        committer: Committer,
        history: EvictionHistory,
        departing: Departing,
        identity: ServerIdentity,
        membership: Membership,
        memory: MemoryState,
    ) -> None:
        self._memory = memory
        self._shard = shard
        self._keeper = keeper
        self._flushes = Flushes(keeper.flush)
        self._committer = committer
        self._history = history
        self._departing = departing
        self._identity = identity
        self._membership = membership
        self._started_s = time.monotonic()

    def Restrict(  # noqa: N802
        self, request: admin_pb2.RestrictRequest, context: grpc.ServicerContext
    ) -> admin_pb2.RestrictResponse:
        table = self._shard.get(request.table)
        table.require_mutable()
        reason = _RESTRICT_REASONS.get(request.reason)
        if reason is None:
            raise InvalidRequest(f"reason: expected RESTRICT or MANUAL, got {request.reason}")
        started = time.perf_counter()
        limits, score, sample = _limits(request), _score(request.score), request.sample_keys
        mutation = Evict(
            table,
            lambda now: table.rows.restrict(*limits, score=score, now=request.now_s or now, sample=sample),
            REMOVAL_REASONS[reason],
        )
        self._committer.commit(mutation, b"", timeout_s=context.time_remaining())
        report = mutation.report
        assert report is not None
        duration_ms = (time.perf_counter() - started) * 1e3
        if report.evicted:
            ways = self._departing.begin(table, self._event(table, reason, report, duration_ms))
            ways.went(report)
            ways.end()
        return _response(report, duration_ms)

    def PreviewEviction(  # noqa: N802
        self, request: admin_pb2.RestrictRequest, context: grpc.ServicerContext
    ) -> admin_pb2.RestrictResponse:
        table = self._shard.get(request.table)
        started = time.perf_counter()
        report = table.rows.preview_restrict(
            *_limits(request), score=_score(request.score), now=request.now_s or _now_s(), sample=request.sample_keys
        )
        return _response(report, (time.perf_counter() - started) * 1e3)

    def RankRows(  # noqa: N802
        self, request: admin_pb2.RankRowsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.RankRowsResponse:
        table, now = self._shard.get(request.table), request.now_s or _now_s()
        ranks = table.rows.ranks(
            score=_score(request.score),
            now=now,
            limit=min(request.limit or _DEFAULT_RANKS, _MAX_RANKS),
            low=(request.low.standing, request.low.lot) if request.HasField("low") else None,
            high=(request.high.standing, request.high.lot) if request.HasField("high") else None,
        )
        return admin_pb2.RankRowsResponse(
            rows=ranks.rows,
            below=ranks.below,
            within=ranks.within,
            standings=ranks.standings.astype("<u8", copy=False).tobytes(),
            lots=ranks.lots.astype("<u8", copy=False).tobytes(),
            now_s=now,
        )

    def ListEvictions(  # noqa: N802
        self, request: admin_pb2.ListEvictionsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ListEvictionsResponse:
        self._history.append_waiting()
        events = self._history.newest(
            shown=current().may_use_table,
            table=request.table,
            limit=request.limit or _DEFAULT_EVENTS,
            since_ms=request.since_ms,
            until_ms=request.until_ms,
            reasons=request.reasons,
        )
        return admin_pb2.ListEvictionsResponse(events=events)

    def GetStats(  # noqa: N802
        self, request: admin_pb2.GetStatsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.GetStatsResponse:
        tables = [self._shard.get(request.table)] if request.table else self._shard.tables()
        return admin_pb2.GetStatsResponse(
            tables=[table.stats() for table in tables],
            shard=self._identity.shard,
            shard_count=self._identity.shard_count,
            uptime_s=time.monotonic() - self._started_s,
            redis_connected=self._keeper.redis_connected,
        )

    def DescribeRow(  # noqa: N802
        self, request: admin_pb2.DescribeRowRequest, context: grpc.ServicerContext
    ) -> admin_pb2.DescribeRowResponse:
        table = self._shard.get(request.table)
        keys = np.array([request.key], np.int64)
        table.require_owned(keys)
        bucket = int(_core.bucket_of(keys, table.entry.bucket_count)[0])
        row = table.rows.describe(request.key)
        if row is None:
            values = pack_values(table.rows.initial_value(request.key))
            return admin_pb2.DescribeRowResponse(values=values, bucket=bucket, shard=self._identity.shard)
        return admin_pb2.DescribeRowResponse(
            found=True,
            values=pack_values(row.values),
            frequency=row.frequency,
            last_used=row.last_used,
            position=row.position,
            slots={name: pack_values(slot) for name, slot in table.describe_slots(row.slots).items()},
            bucket=bucket,
            shard=self._identity.shard,
            score=row.frequency,
            dirty=row.dirty,
        )

    def TopRows(  # noqa: N802
        self, request: admin_pb2.TopRowsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.TopRowsResponse:
        table = self._shard.get(request.table)
        limit = request.limit or _DEFAULT_TOP_ROWS
        keys, frequency, last_used = table.rows.top(limit, score=_score(request.score), now=_now_s())
        return admin_pb2.TopRowsResponse(
            keys=pack_keys(keys), frequency=pack_counts(frequency), last_used=pack_counts(last_used)
        )

    def GetServerInfo(  # noqa: N802
        self, request: admin_pb2.GetServerInfoRequest, context: grpc.ServicerContext
    ) -> admin_pb2.GetServerInfoResponse:
        me = self._identity
        part = self._membership.part
        return admin_pb2.GetServerInfoResponse(
            version=me.version,
            namespace=me.namespace,
            shard=me.shard,
            shard_count=me.shard_count,
            bucket_count=me.bucket_count,
            max_keys_per_request=me.max_keys_per_request,
            max_message_bytes=me.max_message_bytes,
            server_id=me.server_id,
            redis_eviction_policy=me.redis_eviction_policy,
            redis_may_evict=me.redis_may_evict,
            role=part.role,
            state=part.current_state,
            epoch=part.epoch(),
            position=part.position(),
            members=self._membership.current(),
            memory_used_bytes=self._memory.used,
            memory_limit_bytes=self._memory.limit,
            growth_refused=self._memory.refusing,
            fastest_growing_table=self._memory.grown_most[0],
            native_address=part.native_address,
        )

    def Flush(self, request: admin_pb2.FlushRequest, context: grpc.ServicerContext) -> admin_pb2.FlushResponse:  # noqa: N802
        flush = self._flushes.ask(request.number)
        left_s = context.time_remaining()
        longest_s = threading.TIMEOUT_MAX if left_s is None else min(left_s, threading.TIMEOUT_MAX)
        if not flush.ended.wait(min(request.wait_ms / 1000, longest_s) if request.wait_ms else longest_s):
            transactions, waiting = self._keeper.transactions, self._keeper.dirty_rows()
            return admin_pb2.FlushResponse(number=flush.number, transactions=transactions, waiting_rows=waiting)
        if flush.error is not None:
            raise flush.error
        return admin_pb2.FlushResponse(rows=flush.rows)

    def _event(
        self, table: ShardTable, reason: admin_pb2.EvictionReason, report: _core.RestrictReport, duration_ms: float
    ) -> admin_pb2.EvictionEvent:
        return admin_pb2.EvictionEvent(
            table=table.name,
            reason=reason,
            rows=report.evicted,
            bytes=report.bytes,
            score_cut=report.score_cut,
            duration_ms=duration_ms,
            rows_left=report.rows_after,
            shard=self._identity.shard,
            outcome="below_watermark",
        )


def _now_s() -> int:
    return int(time.time())


def _limits(request: admin_pb2.RestrictRequest) -> tuple[int, int]:
    """num_reserved and trigger. Raises InvalidRequest if a trigger below num_reserved contradicts it."""
    trigger = request.trigger or request.num_reserved
    if trigger < request.num_reserved:
        raise InvalidRequest(f"trigger: expected at least num_reserved = {request.num_reserved}, or 0, got {trigger}")
    return request.num_reserved, trigger


def _score(score: int) -> _core.Score:
    name = _SCORES.get(score)
    if name is None:
        raise InvalidRequest(f"score: expected FREQUENCY or LAST_USED, got {score}")
    return name


def _response(report: _core.RestrictReport, duration_ms: float) -> admin_pb2.RestrictResponse:
    return admin_pb2.RestrictResponse(
        rows_before=report.rows_before,
        rows_after=report.rows_after,
        evicted=report.evicted,
        bytes=report.bytes,
        score_cut=report.score_cut,
        duration_ms=duration_ms,
        sample=pack_keys(report.sample_keys),
    )
