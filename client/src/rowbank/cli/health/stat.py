"""`rowbank stat`: one line a second, as vmstat has it."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Generator
from typing import Annotated, Any

import typer

from rowbank.cli.health.rates import Look, look, rates
from rowbank.cli.options import MISSING, Output, OutputFormat, Target, connect, missing_notes, report_degraded
from rowbank.cli.screen import terminal
from rowbank.cli.screen.csv_text import CsvWriter
from rowbank.cli.screen.texts import binary, cut
from rowbank.cli.watching import ticks

_HEADING_EVERY = 20
_COLUMNS = (
    ("pulls_per_s", "PULL/S", 7), ("pulled_rows_per_s", "ROWS/S", 8), ("pull_p50_ms", "P50 MS", 6),
    ("pull_p99_ms", "P99 MS", 6), ("pushes_per_s", "PUSH/S", 7), ("pushed_rows_per_s", "ROWS/S", 8),
    ("push_p50_ms", "P50 MS", 6), ("push_p99_ms", "P99 MS", 6), ("evicted_rows_per_s", "EVICT/S", 8),
    ("regretted_rows_per_s", "REGRET/S", 8), ("dirty_rows", "DIRTY", 8), ("journal_lag_ms", "LAG MS", 6),
    ("rows", "ROWS", 11), ("bytes", "SIZE", 9), ("journal_bytes", "JOURNAL", 9),
)  # fmt: skip


def stat(
    name: Annotated[
        str | None, typer.Argument(metavar="[TABLE]", help="Rows of this table.", show_default=False)
    ] = None,
    interval_s: Annotated[float, typer.Option("--interval", "-i", min=0.05, help="Seconds between two lines.")] = 1.0,
    count: Annotated[int, typer.Option("--count", min=0, help="End after so many lines; 0: never.")] = 0,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Print one line a second: pulls, pushes, their times, evictions, regret, journal lag, until Ctrl-C."""
    show = _printer(output)
    notes: list[str] = []
    with connect(target, partial=True) as client, contextlib.suppress(KeyboardInterrupt):
        earlier = look(client, name)
        lines = 0
        for done in ticks(interval_s):
            if done == 1:
                continue
            now, notes = _look_again(lambda: look(client, name), earlier)
            notes = notes or missing_notes(client)
            if now is not earlier:
                lines += 1
                show({"at_s": time.time(), **rates(earlier, now), MISSING: list(client.missing)})
            earlier = now
            if lines == count > 0 or (notes and done > count > 0):
                break
    report_degraded(notes)


def _look_again(ask: Callable[[], Look], earlier: Look) -> tuple[Look, list[str]]:
    """What is there now; `earlier` and a note where no shard answers."""
    from rowbank.calls.partial import AWAY

    try:
        return ask(), []
    except AWAY as error:
        sys.stderr.write(f"degraded: {error}\n")
        return earlier, [str(error)]


def _printer(output: OutputFormat) -> Callable[[dict[str, Any]], None]:
    if output is OutputFormat.JSON:
        return lambda record: _write(json.dumps(record))
    if output is OutputFormat.CSV:
        writer = CsvWriter()
        return lambda record: writer.write([record])
    lines = _lines()
    next(lines)
    return lines.send


def _lines() -> Generator[None, dict[str, Any], None]:
    """Takes records and prints lines, with a heading now and then."""
    record = yield
    printed = 0
    while True:
        if printed % _HEADING_EVERY == 0:
            _write(terminal.bold(_line([heading for _, heading, _ in _COLUMNS])))
        _write(_line([_shown(field, record[field]) for field, _, _ in _COLUMNS]))
        printed += 1
        record = yield


def _line(cells: list[str]) -> str:
    """Cells to the right; the last are left out where the terminal is too narrow."""
    text = ""
    for cell, (_, _, width) in zip(cells, _COLUMNS, strict=True):
        longer = f"{text}{' ' if text else ''}{cell:>{width}}"
        if len(longer) > terminal.columns() and text:
            break
        text = longer
    return cut(text, terminal.columns(), terminal.ellipsis())


def _shown(field: str, value: float | None) -> str:
    if value is None:
        return "-"
    if field.endswith("bytes"):
        return binary(value)
    if field.endswith("_ms"):
        return f"{value:.2f}" if value < 100 else f"{value:.0f}"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
