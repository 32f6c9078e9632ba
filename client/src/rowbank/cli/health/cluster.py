"""Everything that a screen of operators shows, asked of whoever answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rowbank.cli.options import connect, missing_notes
from rowbank.cli.shards import survey

if TYPE_CHECKING:
    from rowbank import Client
    from rowbank.admin import ShardProcess, TableInfo, TableStats
    from rowbank.diagnosis import ShardHealth
    from rowbank.retrieval.answers import ServedModel

_RETRIEVAL_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Table:
    """A table with what happened to it."""

    info: TableInfo
    stats: TableStats

    @property
    def fill_share(self) -> float | None:
        """How full it is, by the cap that is nearer; None: it has none."""
        eviction = self.info.spec.eviction
        shares = [
            size / cap
            for size, cap in ((self.info.rows, eviction.max_rows), (self.info.bytes, eviction.max_bytes))
            if cap
        ]
        return max(shares, default=None)


@dataclass(slots=True)
class Cluster:
    """What was found out.

    Attributes:
        missing: numbers of the shards whose owner does not answer.
        models: versions that the retrieval service has loaded, or that are active; None: it does not answer.
        retrieval: where the service is, or why it is not known what it serves.
    """

    processes: Sequence[ShardProcess]
    health: list[ShardHealth] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    missing_notes: list[str] = field(default_factory=list)
    models: list[ServedModel] | None = None
    retrieval: str = ""


def look(target: str | None, retrieval: str | None) -> Cluster:
    """Asks all. Raises ShardUnavailable if no process of the parameter server answers."""
    cluster = Cluster(survey(target))
    if any(process.answers and process.role == "owner" for process in cluster.processes):
        with connect(target, partial=True) as client:
            _ask(client, cluster)
    _ask_retrieval(retrieval, cluster)
    return cluster


def _ask(client: Client, cluster: Cluster) -> None:
    cluster.health = client.health()
    cluster.tables = read_tables(client)
    cluster.missing, cluster.missing_notes = list(client.missing), missing_notes(client)


def read_tables(client: Client) -> list[Table]:
    """All tables, by name."""
    stats = {one.table: one for one in client.stats()}
    return [Table(info, stats[info.spec.name]) for info in client.list_tables() if info.spec.name in stats]


def _ask_retrieval(retrieval: str | None, cluster: Cluster) -> None:
    from rowbank import RetrievalClient
    from rowbank.errors import RowbankError

    try:
        with RetrievalClient(retrieval, timeout_s=_RETRIEVAL_TIMEOUT_S, wait_for_ready=False) as client:
            cluster.retrieval = ", ".join(client.targets)
            served = client.models().models
    except RowbankError as error:
        cluster.retrieval = str(error)
    else:
        cluster.models = [one for one in served if one.active or one.serving or one.problem]


def process_record(process: ShardProcess, health: ShardHealth | None) -> dict[str, Any]:
    """A process of a shard, with what its owner says of itself."""
    record = dataclasses.asdict(process)
    del record["followers"]
    measures = ("uptime_s", "dirty_rows", "journal_bytes", "journal_pending_bytes", "journal_lag_s",
                "write_back_lag_s")  # fmt: skip
    record |= {name: None if health is None else getattr(health, name) for name in measures}
    for method in ("Pull", "Push"):
        times = None if health is None else health.times(method)
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            taken_s = None if times is None else times.quantile_s(share)
            record[f"{method.lower()}_{name}_ms"] = None if taken_s is None else taken_s * 1e3
    return record


def table_record(table: Table) -> dict[str, Any]:
    """A table with its cap and what eviction did to it."""
    eviction, stats = table.info.spec.eviction, table.stats
    return {
        "table": stats.table,
        "rows": stats.rows,
        "bytes": stats.bytes,
        "max_rows": eviction.max_rows or None,
        "max_bytes": eviction.max_bytes or None,
        "fill_share": table.fill_share,
        "pulled_rows": stats.pulled_rows,
        "pushed_rows": stats.pushed_rows,
        "evicted_rows": stats.evicted_rows,
        "regretted_rows": stats.regretted_rows,
        "dirty_rows": stats.dirty_rows,
        "corrupt_rows": stats.corrupt_rows,
    }


def redis_record(health: ShardHealth) -> dict[str, Any]:
    """Redis as a shard sees it."""
    return {"shard": health.shard, **dataclasses.asdict(health.redis)}


def model_record(model: ServedModel) -> dict[str, Any]:
    """A version that is served, or should be."""
    fields = ("name", "version", "active", "serving", "share", "items", "index", "memory_bytes", "problem")
    return {name: getattr(model, name) for name in fields}
