"""What `rowbank evictions --summary` prints: all cycles of a time together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from rowbank.cli.insight import bars
from rowbank.cli.options import MISSING, OutputFormat
from rowbank.cli.output import emit_record, emit_rows

if TYPE_CHECKING:
    from rowbank.admin import EvictionEvent


def emit_summary(events: Sequence[EvictionEvent], missing: list[int], output: OutputFormat) -> None:
    """Prints sums by reason, and histograms of the ages and frequencies of what went."""
    from rowbank.insight import add_levels

    reasons: Counter[str] = Counter()
    for event in events:
        reasons[event.reason] += event.rows
    ages = bars.levels(add_levels([event.ages for event in events]))
    frequencies = bars.levels(add_levels([event.frequencies for event in events]))
    sums: dict[str, Any] = {
        "cycles": len(events),
        "rows": sum(event.rows for event in events),
        "bytes": sum(event.bytes for event in events),
        "regretted": sum(event.regretted for event in events),
        "first_at_ms": min((event.at_ms for event in events), default=0),
        "last_at_ms": max((event.at_ms for event in events), default=0),
    }
    if output is OutputFormat.JSON:
        whole = {**sums, "reasons": dict(reasons), "ages_s": ages, "frequencies": frequencies, MISSING: missing}
        emit_record(whole, output)
    elif output is OutputFormat.CSV:
        emit_rows(bars.both(frequencies, ages), {}, output, empty="")
    elif not events:
        typer.echo("nothing was evicted")
    else:
        texts = [f"{reason} {rows:,}" for reason, rows in reasons.most_common()]
        emit_record({**sums, "reasons": ", ".join(texts)}, output)
        lines = ["", *bars.lines("FREQUENCY", frequencies), "", *bars.lines("LAST USED AGO", ages, seconds=True)]
        typer.echo("\n".join(lines))
