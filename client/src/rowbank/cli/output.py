"""Printing of answers: aligned tables for people, JSON and CSV for programs."""

from __future__ import annotations

import contextlib
import contextvars
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rowbank.cli.options import OutputFormat
from rowbank.cli.screen import layout, terminal
from rowbank.cli.screen.csv_text import CsvWriter
from rowbank.cli.screen.layout import Record

# Of a command that prints the same again and again; None: it prints once.
_repeating: contextvars.ContextVar[CsvWriter | None] = contextvars.ContextVar("repeating", default=None)


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
        write_csv(records)
    elif not records:
        sys.stdout.write(f"{empty}\n")
    else:
        _write_lines(layout.table_lines(records, columns, terminal.columns()))


def emit_record(record: Record, output: OutputFormat) -> None:
    """Prints one record: as JSON object, as CSV line, or as two columns of names and values."""
    if output is OutputFormat.JSON:
        write_json(record)
    elif output is OutputFormat.CSV:
        write_csv([record])
    else:
        _write_lines(layout.record_lines(record, terminal.columns()))


def write_json(answer: Any) -> None:
    """Writes `answer` to stdout as one JSON document and a newline; on one line where more of the same follow."""
    import json

    sys.stdout.write(json.dumps(answer, indent=2 if _repeating.get() is None else None) + "\n")
    sys.stdout.flush()


def write_csv(records: Sequence[Record]) -> None:
    """Writes records to stdout as CSV, with a heading, but only once where more of the same follow."""
    (_repeating.get() or CsvWriter()).write(records)


@contextlib.contextmanager
def repeated() -> Iterator[None]:
    """Inside, the same is printed again and again: JSON as one line each, CSV with one heading."""
    token = _repeating.set(CsvWriter())
    try:
        yield
    finally:
        _repeating.reset(token)


def _write_lines(lines: Sequence[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
