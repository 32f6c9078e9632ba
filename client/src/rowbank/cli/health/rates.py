"""What happened between two looks at a parameter server, per second."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rowbank import Client
    from rowbank.admin import TableStats
    from rowbank.diagnosis import MethodTimes, ShardHealth

_COUNTERS = ("pulled_rows", "pushed_rows", "inserted_rows", "evicted_rows", "regretted_rows")


@dataclass(frozen=True, slots=True)
class Look:
    """Counters of the shards at one moment.

    Attributes:
        at_s: monotonic seconds.
        tables: of each shard that answers, by its number and the table's name.
    """

    at_s: float
    tables: dict[tuple[int, str], TableStats]
    health: dict[int, ShardHealth]


def look(client: Client, table: str | None) -> Look:
    """Asks all shards that answer."""
    shards = client.shard_stats(table)
    health = {one.shard: one for one in client.health()}
    tables = {(shard.shard, stats.table): stats for shard in shards for stats in shard.tables}
    return Look(time.monotonic(), tables, health)


def rates(earlier: Look, now: Look) -> dict[str, Any]:
    """Per second, between two looks. A server that started again meanwhile counts from its start."""
    elapsed_s = max(now.at_s - earlier.at_s, 1e-6)
    restarted = {
        shard
        for shard, health in now.health.items()
        if shard in earlier.health and earlier.health[shard].server_id != health.server_id
    }
    grown = dict.fromkeys(_COUNTERS, 0)
    for place, stats in now.tables.items():
        if place[0] not in earlier.health:
            continue  # It was away: since when it counts is not known.
        before = None if place[0] in restarted else earlier.tables.get(place)
        for name in _COUNTERS:
            grown[name] += max(0, getattr(stats, name) - (0 if before is None else getattr(before, name)))
    record: dict[str, Any] = {f"{name}_per_s": count / elapsed_s for name, count in grown.items()}
    for method, plural in (("Pull", "pulls"), ("Push", "pushes")):
        record |= _method(method, plural, earlier, now, restarted, elapsed_s)
    healths = list(now.health.values())
    return record | {
        "rows": sum(stats.rows for stats in now.tables.values()),
        "bytes": sum(stats.bytes for stats in now.tables.values()),
        "dirty_rows": sum(stats.dirty_rows for stats in now.tables.values()),
        "journal_bytes": sum(one.journal_bytes for one in healths),
        "journal_lag_ms": max((one.journal_lag_s * 1e3 for one in healths), default=0.0),
        "write_back_lag_s": max((one.write_back_lag_s for one in healths), default=0.0),
    }


def _method(
    method: str, plural: str, earlier: Look, now: Look, restarted: set[int], elapsed_s: float
) -> dict[str, Any]:
    """Requests of a method over all tables: how many, how many failed, how long they took."""
    from rowbank.diagnosis import quantile_s

    between: list[MethodTimes] = []
    for shard, health in now.health.items():
        times = health.times(method) if shard in earlier.health else None
        before = None if times is None or shard in restarted else earlier.health[shard].times(method)
        if times is not None:
            between.append(times.since(before))
    counts = [sum(column) for column in zip(*(one.counts for one in between), strict=True)]
    upper_s: Sequence[float] = between[0].upper_s if between else ()
    name = method.lower()
    record: dict[str, Any] = {
        f"{plural}_per_s": sum(counts) / elapsed_s,
        f"{plural}_failed_per_s": sum(one.failed for one in between) / elapsed_s,
    }
    for label, share in (("p50", 0.5), ("p99", 0.99)):
        taken_s = quantile_s(upper_s, counts, share)
        record[f"{name}_{label}_ms"] = None if taken_s is None else taken_s * 1e3
    return record
