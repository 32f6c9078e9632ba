"""`rowbank bigtables`: what fills the memory."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rowbank.cli.health.cluster import Table, read_tables
from rowbank.cli.options import MISSING, Output, OutputFormat, Target, connect, missing_notes, report_degraded
from rowbank.cli.output import emit_rows

_COLUMNS = {
    "table": "TABLE",
    "bytes": "SIZE",
    "share": "SHARE",
    "rows": "ROWS",
    "row_bytes": "PER ROW",
    "overhead_share": "OVERHEAD",
    "growth_rows_per_h": "ROWS PER HOUR",
    "growth_bytes_per_h": "GROWTH PER HOUR",
    "fill_share": "FILL",
}
_LEAST_UPTIME_S = 60.0  # Below it, a rate per hour is a guess.


def bigtables(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many tables.")] = 20,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List the largest tables: bytes a row, overhead, growth, share of all."""
    with connect(target, partial=True) as client:
        tables = read_tables(client)
        uptime_s = min((health.uptime_s for health in client.health()), default=0.0)
        missing, notes = list(client.missing), missing_notes(client)
    total = sum(table.info.bytes for table in tables)
    largest = sorted(tables, key=lambda table: (-table.info.bytes, table.info.spec.name))[:limit]
    records = [{**_record(table, total, uptime_s), MISSING: missing} for table in largest]
    emit_rows(records, _COLUMNS, output, empty="no tables; create one with: rowbank table create NAME --dim N")
    report_degraded(notes)


def _record(table: Table, total: int, uptime_s: float) -> dict[str, Any]:
    stats = table.stats
    row_bytes = stats.bytes / stats.rows if stats.rows else None
    grown = stats.inserted_rows - stats.evicted_rows - stats.removed_rows
    per_h = grown * 3600 / uptime_s if uptime_s >= _LEAST_UPTIME_S and not table.info.frozen else None
    return {
        "table": stats.table,
        "bytes": stats.bytes,
        "share": stats.bytes / total if total else 0.0,
        "rows": stats.rows,
        "row_bytes": row_bytes,
        "payload_bytes": stats.payload_bytes,
        "overhead_share": stats.bytes / stats.payload_bytes - 1 if stats.payload_bytes else None,
        "growth_rows_per_h": per_h,
        "growth_bytes_per_h": None if per_h is None or row_bytes is None else per_h * row_bytes,
        "max_rows": table.info.spec.eviction.max_rows or None,
        "max_bytes": table.info.spec.eviction.max_bytes or None,
        "fill_share": table.fill_share,
    }
