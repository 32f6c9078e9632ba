"""`rowbank evictions` and `rowbank evict`."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rowbank.cli.insight.moments import moment
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

if TYPE_CHECKING:
    from rowbank.admin import EvictionEvent

_LISTED = 20
_ALL = 100_000  # More than are kept, unless somebody says otherwise.


class Reason(str, enum.Enum):
    """Why rows went."""

    CAPACITY = "capacity"
    BYTES = "bytes"
    TTL = "ttl"
    RESTRICT = "restrict"
    MANUAL = "manual"


_COLUMNS = {
    "at_ms": "WHEN",
    "table": "TABLE",
    "reason": "REASON",
    "rows": "ROWS",
    "bytes": "SIZE",
    "score_cut": "SCORE CUT",
    "duration_ms": "MS",
    "rows_left": "ROWS LEFT",
    "regretted": "REGRETTED",
    "outcome": "OUTCOME",
    "shard": "SHARD",
}


def list_evictions(
    name: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="Only this table.", show_default=False)] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="How many events.", show_default="20; of --summary, all")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="From then on: 2h or 7d ago, or an ISO time.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="WHEN", help="Only before then; as --since.")] = None,
    reasons: Annotated[
        list[Reason] | None, typer.Option("--reason", help="Only of this reason; may be given several times.")
    ] = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="All together: by reason, and by frequency and age of what went.")
    ] = False,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List eviction cycles, newest first."""
    most = limit or (_ALL if summary else _LISTED)
    since_s, until_s = moment(since, "--since"), moment(until, "--until")
    with connect(target, partial=True) as client:
        events = client.evictions(
            name, limit=most, since_s=since_s, until_s=until_s, reasons=[reason.value for reason in reasons or ()]
        )
        missing, notes = list(client.missing), missing_notes(client)
    if summary:
        from rowbank.cli.insight.summaries import emit_summary

        emit_summary(events, missing, output)
    else:
        records = [{**_as_record(event), MISSING: missing} for event in events]
        emit_rows(records, _COLUMNS, output, empty="nothing was evicted")
    report_degraded(notes)


def evict(
    name: TableName,
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=0, help="Rows to keep: those with the highest score.", show_default=False),
    ] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option(
            "--what-if",
            metavar="NAME=VALUE,...",
            help="Evict nothing; say what that policy would do: policy, max_rows, max_bytes, low_watermark, ttl_s, "
            "half_life_s, min_count; what is left out is as the table has it. May be given several times.",
        ),
    ] = None,
    advise: Annotated[
        bool, typer.Option("--advise", help="Evict nothing; say which cap would keep rows from going too early.")
    ] = False,
    regret_below: Annotated[
        float, typer.Option("--regret-below", help="With --advise: share of pushes that may be regretted.")
    ] = 0.01,
    by: By = Score.FREQUENCY,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    sample: Annotated[int, typer.Option("--sample", min=0, help="How many of the keys to name.")] = 10,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Evict all but the best rows of a table, now; or say what another policy would do."""
    if (keep is not None) + bool(what_if) + advise != 1:
        raise typer.BadParameter("expected one of --keep, --what-if and --advise", param_hint="--keep")
    if keep is None:
        _try_in_thought(name, what_if or [], target, output, regret_below=regret_below)
        return
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


def _try_in_thought(
    name: str, what_ifs: list[str], target: str | None, output: OutputFormat, *, regret_below: float
) -> None:
    from rowbank.cli.insight.what_if import emit_advice, emit_simulation, require_sense

    require_sense(what_ifs)
    with connect(target) as client:
        table = client.table(name)
        if what_ifs:
            emit_simulation(table.simulate_eviction(what_ifs), output)
        else:
            emit_advice(table.advise_eviction(regret_below=regret_below), output)


def _as_record(event: EvictionEvent) -> dict[str, Any]:
    record = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    return {**record, "ages": list(event.ages), "frequencies": list(event.frequencies)}
