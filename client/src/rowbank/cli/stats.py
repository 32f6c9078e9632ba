"""`rowbank stats`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rowbank.cli.options import MISSING, Output, OutputFormat, Target, connect, missing_notes, report_degraded
from rowbank.cli.output import emit_rows

if TYPE_CHECKING:
    from rowbank import Client

Records = list[dict[str, Any]]
_COLUMNS = {
    "table": "TABLE",
    "rows": "ROWS",
    "bytes": "SIZE",
    "pulled_rows": "PULLED",
    "pushed_rows": "PUSHED",
    "inserted_rows": "INSERTED",
    "evicted_rows": "EVICTED",
    "regretted_rows": "REGRETTED",
    "dirty_rows": "DIRTY",
    "step": "STEP",
    "pulled_found": "FOUND",
    "removed_rows": "REMOVED",
    "second_chance_rows": "COLD",
    "second_chance_returned": "CAME BACK",
    "last_write_back_s": "WRITTEN BACK",
}


def stats(
    name: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="Only this table.", show_default=False)] = None,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show what tables hold and what happened to them since the server started."""
    with connect(target, partial=True) as client:
        records, degraded = _read(client, name)
    emit_rows(records, _COLUMNS, output, empty="no tables")
    report_degraded(degraded)


def _read(client: Client, name: str | None) -> tuple[Records, list[str]]:
    """Returns one record per table, and what is degraded."""
    shards = client.shard_stats()
    tables = [client.table(name).stats()] if name else client.stats()
    cut_off = [shard for shard in shards if not shard.redis_connected]
    degraded = missing_notes(client)
    degraded += [f"shard {shard.shard} ({shard.target}) cannot reach Redis" for shard in cut_off]
    degraded += [
        f"shard {info.shard} ({info.target}): Redis may evict rows (maxmemory-policy {info.redis_eviction_policy})"
        for info in client.server_info()
        if info.redis_may_evict
    ]
    degraded += [f"table {table.table} has {table.corrupt_rows} corrupt rows" for table in tables if table.corrupt_rows]
    return [{**dataclasses.asdict(table), MISSING: list(client.missing)} for table in tables], degraded
