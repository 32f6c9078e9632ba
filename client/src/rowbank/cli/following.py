"""`rowbank follow`."""

from __future__ import annotations

import contextlib
import enum
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rowbank.cli.options import Output, OutputFormat, TableName, Target, connect
from rowbank.cli.screen.csv_text import CsvWriter
from rowbank.cli.screen.texts import shown

if TYPE_CHECKING:
    from rowbank import ChangeBatch, Follower

_SHOWN_VALUES = 4


class Detail(str, enum.Enum):
    """How much is told of a row that changed."""

    ROWS = "rows"
    KEYS = "keys"


def follow(
    name: TableName,
    since: Annotated[
        str,
        typer.Option(
            "--since", help="Where to begin: now; picture: all rows first; or a line's `since` in JSON or CSV."
        ),
    ] = "now",
    detail: Annotated[Detail, typer.Option("--detail", help="rows, or keys alone.")] = Detail.ROWS,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="End after so many lines; 0: never.")] = 0,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Print what changes in a table, as it happens, until Ctrl-C."""
    show = _printer(output)
    with connect(target) as client, contextlib.suppress(KeyboardInterrupt):
        client.table(name)  # One that does not exist is an error, here.
        with client.follow(name, since=None if since == "picture" else since, detail=detail.value) as follower:
            for count, line in enumerate(_lines(follower), start=1):
                show(line)
                if count == limit:
                    break


def _lines(follower: Follower) -> Iterator[dict[str, Any]]:
    """One line per change. With the `since` of a line, what comes after it is told again, and nothing else."""
    before = follower.position
    for batch in follower:
        lines = list(_changes(batch))
        for line in lines[:-1]:  # The batch counts as taken in with its last line.
            yield {**line, "since": before}
        yield from lines[-1:]
        before = batch.position


def _changes(batch: ChangeBatch) -> Iterator[dict[str, Any]]:
    if batch.dropped or batch.restarted or batch.whole:
        yield _line(batch, "dropped" if batch.dropped else "picture" if batch.restarted else "whole")
    kind = "row" if batch.picture else "changed"
    for place, key in enumerate(batch.keys.tolist()):
        line = _line(batch, kind, key=key)
        if batch.values is not None and batch.positions is not None:
            line["values"] = batch.values[place].tolist()
            line["position"] = int(batch.positions[place])
        yield line
    for key, reason in zip(batch.removed.tolist(), batch.reasons.tolist(), strict=True):
        yield _line(batch, "removed", key=key, reason=reason or "not known")


def _line(batch: ChangeBatch, change: str, *, key: int | None = None, reason: str | None = None) -> dict[str, Any]:
    return {
        "change": change,
        "key": key,
        "reason": reason,
        "position": None,
        "at_s": batch.oldest_s or None,
        "values": None,
        "since": batch.position,
    }


def _printer(output: OutputFormat) -> Callable[[dict[str, Any]], None]:
    if output is OutputFormat.CSV:
        writer = CsvWriter()
        return lambda line: writer.write([line])
    if output is OutputFormat.JSON:
        return lambda line: _flushed(sys.stdout.write(json.dumps(line) + "\n"))
    return lambda line: _flushed(sys.stdout.write(_text(line) + "\n"))


def _flushed(_written: Any) -> None:
    sys.stdout.flush()


def _text(line: dict[str, Any]) -> str:
    words = [shown("at_s", line["at_s"]), f"{line['change']:8}"]
    words += [str(line[field]) for field in ("key", "reason") if line[field] is not None]
    if line["position"] is not None:
        words.append(f"position {line['position']}")
    if line["values"] is not None:
        words.append(_abridged(line["values"]))
    return "  ".join(words)


def _abridged(values: list[float]) -> str:
    first = " ".join(f"{value:.4g}" for value in values[:_SHOWN_VALUES])
    more = len(values) - _SHOWN_VALUES
    return f"{first} ... {more} more" if more > 0 else first
