"""What a shard's process knows for the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rowbank.admin import TableStats
from rowbank.insight import FrequencyHistogram, Simulation, WhatIf, merge_simulations
from rowbank_protos.v1 import admin_pb2
from rowbank_server.ps.http.cluster import Cluster, Seen
from rowbank_server.ps.insight.advice import Adviser, simulate
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.registry.store import ModelRegistry
from rowbank_server.storage.evictions import EvictionHistory
from rowbank_server.ui.history import History
from rowbank_server.ui.sampling import Sampler
from rowbank_server.ui.series import Wanted
from rowbank_server.ui.watching import Watch, Watches, problems
from rowbank_server.ui.words import of_histogram, of_message, of_models

_EVENTS = 200
_HISTOGRAM_S = 15.0  # One looks at every row of a table.
_TABLE = ("table",)
_OF_EVENT = ("at_ms", "table", "rows", "bytes", "score_cut", "duration_ms", "rows_left", "shard", "outcome")
_NOTHING = Seen({})

SERIES = (
    Wanted("rowbank_table_rows", "value", _TABLE),
    Wanted("rowbank_table_bytes", "value", _TABLE),
    Wanted("rowbank_table_rows", "value"),
    Wanted("rowbank_table_bytes", "value"),
    Wanted("rowbank_table_dirty_rows", "value"),
    Wanted("rowbank_pulled_rows", "rate"),
    Wanted("rowbank_pushed_rows", "rate"),
    Wanted("rowbank_regretted_rows", "rate"),
    Wanted("rowbank_evictions", "rate", ("reason",)),
    Wanted("rowbank_request_seconds", "quantiles", ("method",)),
    Wanted("rowbank_requests", "rate", ("method",)),
    Wanted("rowbank_requests", "rate", ("code",)),
    Wanted("rowbank_overloaded", "rate", ("reason",)),
    Wanted("rowbank_queue_wait_seconds", "quantiles", ("line",)),
    Wanted("rowbank_memory_limit_bytes", "value"),
    Wanted("rowbank_journal_bytes", "value"),
    Wanted("rowbank_journal_pending_bytes", "value"),
    Wanted("rowbank_write_back_lag_seconds", "value"),
    Wanted("rowbank_write_back_duration_seconds", "value"),
    Wanted("rowbank_follower_lag_seconds", "value", worst=True),
    Wanted("rowbank_replica_age_seconds", "value"),
    Wanted("rowbank_redis_used_memory_bytes", "value"),
    Wanted("rowbank_redis_max_memory_bytes", "value"),
    Wanted("rowbank_feature_status", "rate", ("status",)),
    Wanted("process_resident_memory_bytes", "value"),
    Wanted("process_cpu_seconds", "rate"),
    # Those of tables come last: where there is no room for all, these are left out.
    Wanted("rowbank_pulled_rows", "rate", (*_TABLE, "status")),
    Wanted("rowbank_pushed_rows", "rate", _TABLE),
    Wanted("rowbank_inserted_rows", "rate", _TABLE),
    Wanted("rowbank_evictions", "rate", (*_TABLE, "reason")),
    Wanted("rowbank_regretted_rows", "rate", _TABLE),
    Wanted("rowbank_table_dirty_rows", "value", _TABLE),
)


@dataclass(frozen=True, slots=True)
class Known:
    """What the source reads.

    Attributes:
        process: what this process is, in words and numbers that change.
    """

    shard: Shard
    shard_count: int
    adviser: Adviser
    cluster: Cluster
    evictions: EvictionHistory
    registry: ModelRegistry
    sampler: Sampler
    process: Callable[[], dict[str, Any]]


class PsSource:
    """A `ui.data.Source`. Thread-safe."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._cluster = Watch(known.cluster.look)
        self._models = Watch(lambda: of_models(known.registry), interval_s=10.0)
        self._evictions = Watches(lambda table: known.evictions.newest(table=table, limit=_EVENTS))
        self._histograms = Watches(self._histogram, interval_s=_HISTOGRAM_S)

    @property
    def history(self) -> History:
        """What was sampled of this process."""
        return self._known.sampler.history

    def stop(self) -> None:
        """Ends what looks."""
        self._cluster.stop()
        self._models.stop()
        self._evictions.stop()
        self._histograms.stop()

    def overview(self) -> dict[str, Any]:
        """This process, and the cluster as far as it can be seen."""
        cluster, models, events = self._cluster.latest(), self._models.latest(), self._evictions.latest("")
        seen = cluster.value or _NOTHING
        return {
            "at_s": time.time(),
            "process": {"kind": "ps", **self._known.process()},
            "shards": [_shard(shard, members, seen) for shard, members in sorted(seen.members.items())],
            "tables": _own_tables(self._known.shard) if seen.tables is None else [asdict(one) for one in seen.tables],
            "models": models.value or [],
            "evictions": [_event(event) for event in events.value or ()],
            "problems": problems({"shards": cluster, "models": models, "evictions": events}),
        }

    def table(self, name: str) -> dict[str, Any]:
        """One table on this shard, with its evictions on all."""
        table, events = self._known.shard.get(name), self._evictions.latest(name)
        histogram, advice = self._histograms.latest(name), self._known.adviser.found.get(name)
        return {
            "at_s": time.time(),
            "process": {"kind": "ps", **self._known.process()},
            "spec": of_message(table.spec),
            "created_at_s": table.entry.created_at_s,
            "slots": [{"name": slot, "width": width} for slot, width in table.slots],
            "stats": _stats(table),
            "evictions": [_event(event) for event in events.value or ()],
            "histogram": of_histogram(histogram.value),
            "advice": "" if advice is None else advice.text,
            "problems": problems({"evictions": events, "histogram": histogram}),
        }

    def what_if(self, name: str, policies: Sequence[WhatIf]) -> Simulation:
        """Of this shard's part of the table."""
        table, asked = self._known.shard.get(name), [policy.to_proto() for policy in policies]
        return merge_simulations(name, [simulate(table, asked, self._known.shard_count)])

    def _histogram(self, name: str) -> FrequencyHistogram:
        rows, frequencies, ages = self._known.shard.get(name).rows.histogram(now=int(time.time()))
        levels = [tuple(np.trim_zeros(level, "b").tolist()) for level in (frequencies, ages)]
        return FrequencyHistogram(rows, *levels)


def _own_tables(shard: Shard) -> list[dict[str, Any]]:
    return sorted((_stats(table) for table in shard.tables()), key=lambda one: str(one["table"]))


def _stats(table: ShardTable) -> dict[str, Any]:
    stats = table.stats()
    return {name: getattr(stats, name) for name in TableStats.__dataclass_fields__}


def _shard(shard: int, members: list[admin_pb2.ShardMember], seen: Seen) -> dict[str, Any]:
    return {
        "shard": shard,
        "processes": [_member(member) for member in members],
        "problem": seen.missing.get(shard, ""),
    }


def _member(member: admin_pb2.ShardMember) -> dict[str, Any]:
    names = ("role", "state", "address", "epoch", "position", "age_s", "rows", "version", "server_id")
    return {name: getattr(member, name) for name in names}


def _event(event: admin_pb2.EvictionEvent) -> dict[str, Any]:
    reason = admin_pb2.EvictionReason.Name(event.reason).removeprefix("EVICTION_REASON_").lower()
    levels = {"ages": list(event.ages), "frequencies": list(event.frequencies)}
    numbers = {name: getattr(event, name) for name in (*_OF_EVENT, "regretted")}
    return {**numbers, "reason": reason, **levels}
