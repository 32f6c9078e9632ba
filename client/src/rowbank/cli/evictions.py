"""`rowbank evictions` and `rowbank evict`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from rowbank.cli.options import (
    MISSING,
    By,
    Output,
    OutputFormat,
    Score,
    TableName,
    Target,
    connect,
    missing_notes,
    report_degraded,
)
from rowbank.cli.output import emit_record, emit_rows

_COLUMNS = {
    "at_ms": "WHEN",
    "table": "TABLE",
    "reason": "REASON",
    "rows": "ROWS",
    "bytes": "SIZE",
    "score_cut": "SCORE CUT",
    "duration_ms": "MS",
    "rows_left": "ROWS LEFT",
    "outcome": "OUTCOME",
    "shard": "SHARD",
}


def list_evictions(
    name: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="Only this table.", show_default=False)] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many events.")] = 20,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List eviction cycles, newest first."""
    with connect(target, partial=True) as client:
        events = client.evictions(name, limit=limit)
        missing, notes = list(client.missing), missing_notes(client)
    records = [{**dataclasses.asdict(event), MISSING: missing} for event in events]
    emit_rows(records, _COLUMNS, output, empty="nothing was evicted")
    report_degraded(notes)


def evict(
    name: TableName,
    keep: Annotated[int, typer.Option("--keep", min=0, help="Rows to keep: those with the highest score.")],
    by: By = Score.FREQUENCY,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    sample: Annotated[int, typer.Option("--sample", min=0, help="How many of the keys to name.")] = 10,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Evict all but the best rows of a table, now."""
    with connect(target) as client:
        table = client.table(name)
        if dry_run:
            report = table.preview_eviction(keep, by=by.value, sample=sample)
        else:
            report = table.restrict(keep, by=by.value, sample=sample, reason="manual")
    record = {"table": name, "dry_run": dry_run} | {
        field.name: getattr(report, field.name) for field in dataclasses.fields(report)
    }
    keys = report.sample_keys.tolist()
    record["sample_keys"] = ", ".join(map(str, keys)) if output is OutputFormat.TABLE else keys
    emit_record(record, output)
