"""Carries out eviction policies: a background thread that keeps tables under their caps and lets old rows expire.

It works in slices of a few milliseconds and pauses as long between them, so that it holds up no request for longer than
a slice. What belongs to one overrun of a cap is one event in the history, however many slices it took.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from rowbank.errors import RequestError
from rowbank_protos.v1 import admin_pb2, tables_pb2
from rowbank_server import _core
from rowbank_server.ps.tables.departing import Departing
from rowbank_server.ps.tables.mutations import REMOVAL_REASONS, Evict, Mutation
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.ps.tables.table import Ownership, ShardTable

_log = logging.getLogger("rowbank.ps")
_OUT_OF_TIME = "out_of_time"


class Evictor:
    """Looks at every table once per `interval_s`.

    Args:
        commit: makes a mutation last, as `Committer.commit`.
        departing: is told what goes.
        budget_ms: longest slice of work on one table.
    """

    def __init__(
        self,
        shard: Shard,
        commit: Callable[[Mutation, bytes], Any],
        departing: Departing,
        ownership: Ownership,
        *,
        interval_s: float,
        budget_ms: float,
    ) -> None:
        self._shard = shard
        self._commit_mutation = commit
        self._departing = departing
        self._ownership = ownership
        self._interval_s = interval_s
        self._budget_ms = budget_ms
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="evictor", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the slice that is under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def tend(self, table: ShardTable) -> None:
        """Expires what is too old in `table`, then brings it under its caps."""
        eviction = table.spec.eviction
        if eviction.ttl_s:
            ttl = admin_pb2.EVICTION_REASON_TTL
            self._finish(table, ttl, lambda: self._expire(table, ttl, eviction.ttl_s))
        if eviction.policy == tables_pb2.Eviction.POLICY_NONE:
            return  # Its bytes are a budget for new rows.
        max_rows, max_bytes = (
            -(-cap // self._ownership.shard_count) for cap in (eviction.max_rows, eviction.max_bytes)
        )
        if max_rows or max_bytes:
            # Rows come between this look and the cycle's own, so a table with one cap is judged by that alone.
            over_rows = bool(max_rows) and (not max_bytes or table.rows.size() > max_rows)
            reason = admin_pb2.EVICTION_REASON_CAPACITY if over_rows else admin_pb2.EVICTION_REASON_BYTES
            self._finish(table, reason, lambda: self._evict(table, reason, eviction, max_rows, max_bytes))

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            for table in self._shard.tables():
                self._tend_or_log(table)

    def _tend_or_log(self, table: ShardTable) -> None:
        try:
            self.tend(table)
        except RequestError as error:
            _log.warning("table %s: eviction pauses: %s", table.name, error)
        except Exception:
            _log.exception("table %s: eviction failed for a reason that is a defect", table.name)

    def _expire(self, table: ShardTable, reason: admin_pb2.EvictionReason, ttl_s: float) -> _core.CycleReport:
        return self._commit(
            table, reason, lambda now: table.rows.expire(ttl_s=ttl_s, now=now, budget_ms=self._budget_ms)
        )

    def _evict(
        self,
        table: ShardTable,
        reason: admin_pb2.EvictionReason,
        eviction: tables_pb2.Eviction,
        max_rows: int,
        max_bytes: int,
    ) -> _core.CycleReport:
        return self._commit(
            table,
            reason,
            lambda now: table.rows.evict_cycle(
                max_rows=max_rows,
                max_bytes=max_bytes,
                low_watermark=eviction.low_watermark,
                policy="lfu" if eviction.policy == tables_pb2.Eviction.POLICY_LFU else "lru",
                now=now,
                budget_ms=self._budget_ms,
            ),
        )

    def _commit(
        self, table: ShardTable, reason: admin_pb2.EvictionReason, run: Callable[[int], _core.CycleReport]
    ) -> _core.CycleReport:
        mutation = Evict(table, run, REMOVAL_REASONS[reason])
        self._commit_mutation(mutation, b"")
        assert mutation.report is not None
        return mutation.report

    def _finish(
        self, table: ShardTable, reason: admin_pb2.EvictionReason, run_slice: Callable[[], _core.CycleReport]
    ) -> None:
        """Runs slices until the goal is reached, and records what went."""
        event = admin_pb2.EvictionEvent(table=table.name, reason=reason, shard=self._ownership.shard)
        ways = self._departing.begin(table, event)
        while True:
            report = run_slice()
            ways.went(report)
            event.rows += report.evicted
            event.bytes += report.bytes
            event.duration_ms += report.duration_ms
            event.score_cut = max(event.score_cut, report.score_cut)
            event.outcome = report.outcome
            # As long a pause as the slice took leaves half of the time to requests that need the same rows.
            if report.outcome != _OUT_OF_TIME or self._stop.wait(report.duration_ms / 1e3):
                break
        if event.rows:
            event.rows_left = table.rows.size()
            ways.end()
