"""`rowbank freq`."""

from __future__ import annotations

import typer

from rowbank.cli.insight import bars
from rowbank.cli.options import (
    MISSING,
    Output,
    OutputFormat,
    TableName,
    Target,
    connect,
    missing_notes,
    report_degraded,
)
from rowbank.cli.output import emit_record, emit_rows


def freq(name: TableName, target: Target = None, output: Output = OutputFormat.TABLE) -> None:
    """Show how many rows of a table have which frequency, and were last used how long ago."""
    with connect(target, partial=True) as client:
        told = client.table(name).frequency_histogram()
        missing, notes = list(client.missing), missing_notes(client)
    frequencies, ages = bars.levels(told.frequencies), bars.levels(told.ages)
    if output is OutputFormat.JSON:
        emit_record(
            {"table": name, "rows": told.rows, "frequencies": frequencies, "ages_s": ages, MISSING: missing}, output
        )
    elif output is OutputFormat.CSV:
        emit_rows(bars.both(frequencies, ages), {}, output, empty="")
    elif not told.rows:
        typer.echo(f"table {name} has no rows")
    else:
        text = [*bars.lines("FREQUENCY", frequencies), "", *bars.lines("LAST USED AGO", ages, seconds=True)]
        typer.echo("\n".join(text))
    report_degraded(notes)
