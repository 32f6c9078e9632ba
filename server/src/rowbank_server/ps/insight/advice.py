"""Finds out which tables evict rows too early, and what cap would do. Each shard judges by its own part."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from rowbank import advising, insight
from rowbank_protos.v1 import insight_pb2
from rowbank_server.ps.insight import policies
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.ps.tables.table import ShardTable

_log = logging.getLogger("rowbank.ps")


def simulate(
    table: ShardTable, asked: Sequence[insight_pb2.WhatIf], shard_count: int
) -> insight_pb2.SimulateEvictionResponse:
    """The answer of this shard. Raises InvalidRequest."""
    row_bytes = table.rows.row_bytes
    filled = policies.whole(table, asked)
    what_ifs = [policies.to_core(one, row_bytes=row_bytes, shard_count=shard_count) for one in filled]
    simulated = table.rows.simulate(what_ifs, now=int(time.time()))
    answer = insight_pb2.SimulateEvictionResponse(
        rows=simulated.rows,
        row_bytes=row_bytes,
        accesses=simulated.accesses,
        rate=simulated.rate,
        sampled_s=simulated.sampled_s,
        approximations=policies.approximations(table, filled, simulated),
    )
    for what_if, one in zip(filled, simulated.policies, strict=True):
        answer.policies.add(
            policy=what_if,
            pulls=one.pulls,
            pull_hits=one.pull_hits,
            pushes=one.pushes,
            push_hits=one.push_hits,
            all_pulls=one.all_pulls,
            all_pushes=one.all_pushes,
            rate=one.rate,
            counted_s=one.counted_s,
            evicted=one.evicted,
            regretted=one.regretted,
            rows_at_end=one.rows_at_end,
            rows_kept_now=one.rows_kept_now,
            live_pull_hits=one.live_pull_hits,
            live_push_hits=one.live_push_hits,
        )
    return answer


class Adviser:
    """Looks at all tables now and then. `look` is for one thread; `found` for any.

    Args:
        regret_below: share of pushes that may be regretted.
    """

    def __init__(self, shard: Shard, *, shard_count: int, regret_below: float) -> None:
        self._shard = shard
        self._shard_count = shard_count
        self._regret_below = regret_below
        self._found: dict[str, insight.Advice] = {}
        self._counts: dict[int, tuple[int, int]] = {}

    @property
    def found(self) -> dict[str, insight.Advice]:
        """By table: advice of the last look, where there is any."""
        return self._found

    def look(self) -> None:
        """Judges the tables by what they regretted since the last look, and logs a line for each that gets advice."""
        found = {}
        for table in self._shard.tables():
            if self._regrets(table):
                advice = self._advise(table)
                if advice is not None:
                    found[table.name] = advice
                    _log.warning("table %s: %s", table.name, advice.text)
        self._found = found

    def _regrets(self, table: ShardTable) -> bool:
        stats = table.rows.stats()
        pushed, regretted = self._counts.get(table.entry.table_id, (0, 0))
        self._counts[table.entry.table_id] = (stats.pushed, stats.regretted)
        return stats.regretted - regretted > self._regret_below * max(stats.pushed - pushed, 1)

    def _advise(self, table: ShardTable) -> insight.Advice | None:
        present = policies.of_table(table)
        own = insight.WhatIf.from_proto(present)
        row_bytes = table.rows.row_bytes
        cap = advising.cap_in_rows(own, 1, row_bytes)
        if own.policy == "none" or not cap:
            return None
        asked = [one.to_proto() for one in advising.caps_to_try(cap)]
        answer = simulate(table, asked, self._shard_count)
        told = insight.merge_simulations(table.name, [answer] * self._shard_count)
        advice = advising.advise(told, cap, self._regret_below)
        return advice if advice.regret_share > self._regret_below else None
