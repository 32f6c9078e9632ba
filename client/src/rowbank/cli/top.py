"""`rowbank top`: which rows are used most, since ever or just now."""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rowbank.cli import id_texts
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
from rowbank.cli.output import emit_rows

if TYPE_CHECKING:
    from rowbank import Client, Table

_KNOWN = 10_000  # Rows whose frequencies are compared.
_COLUMNS = {"key": "KEY", "id": "ID", "pushes": "PUSHES", "pushes_per_s": "PER S", "share": "SHARE",
            "frequency": "FREQUENCY", "last_used": "LAST USED"}  # fmt: skip


def top(
    name: TableName,
    by: By = Score.FREQUENCY,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many rows.")] = 20,
    live: Annotated[bool, typer.Option("--live", help="Those that change most often now, in --window-s.")] = False,
    window_s: Annotated[
        float, typer.Option("--window-s", min=0.1, max=3600.0, help="With --live: seconds that are counted.")
    ] = 3.0,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List the rows with the highest score, or, with --live, those that are pushed most just now."""
    with connect(target, partial=not live) as client:
        records = _live(client, name, limit, window_s) if live else _stored(client, name, limit, by)
        known = id_texts.of_table(client, name)
        texts = {} if known is None else known.of(client, [record["key"] for record in records])
        missing, notes = list(client.missing), missing_notes(client)
    records = [{"key": record.pop("key"), "id": texts.get(key), **record, MISSING: missing}
               for record in records for key in (record["key"],)]  # fmt: skip
    shown = {field: heading for field, heading in _COLUMNS.items() if records and field in records[0]}
    if not texts:
        shown.pop("id", None)
    nothing = f"no row of {name} changed within {window_s:g} s" if live else f"table {name} has no rows"
    emit_rows(records, shown, output, empty=nothing)
    report_degraded(notes)


def _stored(client: Client, name: str, limit: int, by: Score) -> list[dict[str, Any]]:
    best = client.table(name).top(limit, by=by.value)
    columns = zip(best.keys.tolist(), best.frequency.tolist(), best.last_used.tolist(), strict=True)
    return [{"key": key, "frequency": frequency, "last_used": last_used} for key, frequency, last_used in columns]


def _live(client: Client, name: str, limit: int, window_s: float) -> list[dict[str, Any]]:
    """Pushes of each row within the window.

    A follower tells which rows changed, but several pushes of one may come as one change. How often a row was pushed is
    how far its frequency rose, which is known of the most frequent ones; of the others, a change counts as one push.
    """
    table = client.table(name)
    before = _frequencies(table)
    changes: collections.Counter[int] = collections.Counter()
    started = time.monotonic()
    with client.follow(name, since="now", detail="keys", name="rowbank top") as follower:
        while (left_s := started + window_s - time.monotonic()) > 0:
            batch = follower.poll(left_s)
            if batch is not None and not batch.picture:
                changes.update(batch.keys.tolist())
        elapsed_s, now = time.monotonic() - started, _frequencies(table)
    all_known = len(before) < _KNOWN
    pushes: dict[int, int] = {}
    for key, changed in changes.items():
        known = before.get(key, 0 if all_known else None)
        risen = 0 if known is None or key not in now else now[key] - known
        pushes[key] = max(changed, risen)
    total = sum(pushes.values())
    return [
        {"key": key, "pushes": count, "pushes_per_s": count / elapsed_s, "share": count / total}
        for key, count in sorted(pushes.items(), key=lambda one: (-one[1], one[0]))[:limit]
    ]


def _frequencies(table: Table) -> dict[int, int]:
    """Of the most frequent rows."""
    best = table.top(_KNOWN)
    return dict(zip(best.keys.tolist(), best.frequency.tolist(), strict=True))
