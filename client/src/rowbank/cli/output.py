"""Printing of answers: aligned tables for people, JSON and CSV for programs."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rowbank.cli.options import OutputFormat

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Record = Mapping[str, Any]
_PIPE_WIDTH = 240  # Columns of a table that no terminal limits.


def emit_rows(records: Sequence[Record], columns: Mapping[str, str], output: OutputFormat, empty: str) -> None:
    """Prints one line per record.

    Args:
        records: answers with the same fields each; JSON and CSV print all fields, raw.
        columns: field -> heading of the columns that a table shows, in order.
        empty: what a table says instead of nothing; JSON and CSV print an empty list.
    """
    if output is OutputFormat.JSON:
        write_json(list(records))
    elif output is OutputFormat.CSV:
        _write_csv(records)
    elif not records:
        sys.stdout.write(f"{empty}\n")
    else:
        screen = console()
        screen.print(rows_table(records, columns, screen.width))


def emit_record(record: Record, output: OutputFormat) -> None:
    """Prints one record: as JSON object, as CSV line, or as two columns of names and values."""
    if output is OutputFormat.JSON:
        write_json(record)
        return
    if output is OutputFormat.CSV:
        _write_csv([record])
        return
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    for name, value in record.items():
        grid.add_row(name, shown(name, value))
    console().print(grid)


def write_json(answer: Any) -> None:
    """Writes `answer` to stdout as one JSON document and a newline."""
    import json

    sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    sys.stdout.flush()


def console() -> Console:
    """Returns a console on stdout, as wide as the terminal; NO_COLOR is honoured."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)


def rows_table(records: Sequence[Record], columns: Mapping[str, str], width: int) -> Table:
    """Returns a table with numbers to the right and text to the left.

    Args:
        width: of the terminal; the last columns are left out where all would not fit, but never the first.
    """
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    texts = {field: [shown(field, record[field]) for record in records] for field in columns}
    left = width
    for field, heading in columns.items():
        left -= max(map(len, [heading, *texts[field]]))
        if left < 0 and grid.columns:
            break
        left -= 2
        number = isinstance(records[0][field], int | float) and not isinstance(records[0][field], bool)
        grid.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for line in zip(*list(texts.values())[: len(grid.columns)], strict=True):
        grid.add_row(*line)
    return grid


def shown(field: str, value: Any) -> str:
    """Returns `value` as a person reads it; the unit is the suffix of `field`."""
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if field.endswith(("at_ms", "at_s", "last_used", "write_back_s")):
        return _moment(value / 1000 if field.endswith("_ms") else value)
    if field.endswith("bytes"):
        return _binary(value)
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and field not in {"key", "position"}:
        return f"{value:,}"
    return str(value)


def _moment(unix_s: float) -> str:
    if unix_s == 0:
        return "never"
    return datetime.datetime.fromtimestamp(unix_s, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")


def _binary(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _write_csv(records: Sequence[Record]) -> None:
    import csv

    if not records:
        return
    writer = csv.DictWriter(sys.stdout, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
