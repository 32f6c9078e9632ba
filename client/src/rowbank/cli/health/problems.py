"""What is wrong with what was found, the worst first, each with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rowbank.cli.health.cluster import Cluster, Table
from rowbank.cli.screen.texts import binary

if TYPE_CHECKING:
    from rowbank.admin import ShardProcess

FAIL, WARN = "fail", "warn"
_JOURNAL_FULL, _REDIS_FULL, _TABLE_FULL = 0.9, 0.9, 2.0
_BEHIND_S, _JOURNAL_BEHIND_S, _FOLLOWER_BEHIND_S = 30.0, 2.0, 10.0
_MEMORY_FULL = 0.85
_REGRET, _REGRET_LEAST = 0.05, 100


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        severity: "fail": something is lost, refused or not answered now; "warn": soon, perhaps.
        do: what to do about it.
    """

    severity: str
    what: str
    do: str


def problems(cluster: Cluster) -> list[Problem]:
    """All, the worst first."""
    found = [*_processes(cluster), *_health(cluster), *_tables(cluster.tables), *_models(cluster)]
    return sorted(found, key=lambda problem: problem.severity != FAIL)


def _processes(cluster: Cluster) -> Iterator[Problem]:
    served = {one.shard for one in cluster.processes if one.answers and one.role == "owner"}
    for shard in sorted({one.shard for one in cluster.processes} - served):
        yield Problem(FAIL, f"shard {shard} has no owner: its rows are not answered", "start its process, or a standby")
    for note in cluster.missing_notes:
        yield Problem(FAIL, note, "see whether that process runs and can be reached: its log says why not")
    for one in cluster.processes:
        known = f"({one.address})" in " ".join(cluster.missing_notes)
        if not one.answers and not known:
            yield Problem(
                FAIL, f"{one.address} (shard {one.shard}) does not answer", "start it again; its log says more"
            )
        elif one.answers and one.role != "owner" and one.age_s > _FOLLOWER_BEHIND_S:
            what = f"{one.role} {one.address} is {one.age_s:.0f} s behind"
            yield Problem(WARN, what, "see whether it, and the network to the owner, can keep up")
    for one in cluster.processes:
        yield from _memory(one)
    versions = sorted({one.version for one in cluster.processes if one.version})
    if len(versions) > 1:
        yield Problem(WARN, f"processes of several versions: {', '.join(versions)}", "bring all to the newest")


def _memory(process: ShardProcess) -> Iterator[Problem]:
    used, limit = process.memory_used_bytes, process.memory_limit_bytes
    grew = f"; {process.fastest_growing_table} grows fastest" if process.fastest_growing_table else ""
    what = f"{process.address} uses {binary(used)} of {binary(limit)} of memory"
    do = "set caps on tables, or give it more: rowbank bigtables shows the largest"
    if process.growth_refused:
        yield Problem(FAIL, f"{what} and refuses new rows{grew}", do)
    elif limit and used > _MEMORY_FULL * limit:
        yield Problem(WARN, f"{what}{grew}", do)


def _health(cluster: Cluster) -> Iterator[Problem]:
    for health in cluster.health:
        shard, redis = f"shard {health.shard}", health.redis
        if not redis.reachable:
            yield Problem(FAIL, f"{shard} cannot reach Redis: {redis.failure}", "start Redis; reads go on from RAM")
        elif redis.policy.startswith("allkeys-"):
            what = f"Redis may evict rows (maxmemory-policy {redis.policy})"
            yield Problem(FAIL, what, "CONFIG SET maxmemory-policy noeviction, and in its file")
        elif redis.max_bytes and redis.used_bytes > _REDIS_FULL * redis.max_bytes:
            what = f"Redis is full: {binary(redis.used_bytes)} of {binary(redis.max_bytes)}"
            yield Problem(FAIL, what, "raise maxmemory, or set caps on tables: rowbank bigtables")
        if health.journal_failure and redis.reachable:
            yield Problem(FAIL, f"{shard} cannot append: {health.journal_failure}", "pushes are refused; look at Redis")
        if health.journal_bytes > _JOURNAL_FULL * health.journal_max_bytes:
            yield Problem(FAIL, f"{shard}: the journal is full", "write-back is behind; look at Redis and its disk")
        if health.journal_lag_s > _JOURNAL_BEHIND_S:
            yield Problem(WARN, f"{shard}: the journal is {health.journal_lag_s:.1f} s behind", "Redis is slow")
        if health.write_back_lag_s > _BEHIND_S:
            what = f"{shard}: write-back is {health.write_back_lag_s:.0f} s behind, {health.dirty_rows:,} rows wait"
            yield Problem(WARN, what, "Redis is slow; a restart now replays the journal")
        if health.corrupt_records:
            what = f"{shard}: {health.corrupt_records} records of the journal could not be replayed"
            yield Problem(FAIL, what, "they are set aside in Redis; compare with a snapshot")


def _tables(tables: list[Table]) -> Iterator[Problem]:
    for table in tables:
        stats = table.stats
        if stats.corrupt_rows:
            what = f"table {stats.table} has {stats.corrupt_rows:,} corrupt rows"
            yield Problem(FAIL, what, "they are set aside in Redis; restore the table from a snapshot")
        if table.fill_share is not None and table.fill_share > _TABLE_FULL:
            what = f"table {stats.table} is at {table.fill_share:.0%} of its cap"
            yield Problem(WARN, what, "eviction cannot keep up: see rowbank evictions, raise eviction_budget_ms")
        if stats.evicted_rows > _REGRET_LEAST and stats.regretted_rows > _REGRET * stats.evicted_rows:
            share = stats.regretted_rows / stats.evicted_rows
            what = f"table {stats.table}: {share:.0%} of what was evicted came back soon"
            hint = f"rowbank evict {stats.table} --advise says which cap would keep it, --what-if what others would do"
            yield Problem(WARN, what, hint)


def _models(cluster: Cluster) -> Iterator[Problem]:
    for model in cluster.models or ():
        if model.problem:
            what = f"model {model.name} {model.version} cannot be loaded: {model.problem}"
            yield Problem(FAIL if model.active else WARN, what, "publish it anew, or activate another version")
