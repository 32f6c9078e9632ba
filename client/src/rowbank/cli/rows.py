"""`rowbank row`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rowbank.cli import id_texts
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
from rowbank.cli.output import emit_record

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SHOWN_VALUES = 8  # Values of a row that a table shows; JSON has all.


def row(
    name: TableName,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key of the row; may be negative.")],
    text_ids: Annotated[
        bool, typer.Option("--text-ids", help="KEY is an id that is a text; its key is looked up.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Say also where it stands, who changed it last, and when and why it was gone."),
    ] = False,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show one row: values, frequency, time of last use, optimizer state; or why it is where it is, or gone."""
    with connect(target, partial=True) as client:
        number = id_texts.key_of(client, name, key, is_text=text_ids)
        told = client.table(name).explain_row(number) if explain else None
        info = told.row if told is not None else client.table(name).describe_row(number)
        known = id_texts.of_table(client, name)
        text = None if known is None else known.of(client, [number]).get(number)
        missing, notes = list(client.missing), missing_notes(client)
    whole = output is not OutputFormat.TABLE
    record: dict[str, Any] = {
        "table": name,
        "key": info.key,
        "id": text,
        "found": info.found,
        "bucket": info.bucket,
        "shard": info.shard,
        "frequency": info.frequency,
        "last_used": info.last_used,
        "score": info.score,
        "dirty": info.dirty,
        "position": info.position,
        "values": info.values.tolist() if whole else _abridged(info.values),
    }
    if told is not None:
        from rowbank.cli.insight import explaining

        record.update({"explanation": explaining.as_record(told)} if whole else explaining.as_lines(told))
    if whole:
        record["slots"] = {slot: numbers.tolist() for slot, numbers in info.slots.items()}
        record[MISSING] = missing
    else:
        record.update({f"slot {slot}": _abridged(numbers) for slot, numbers in info.slots.items()})
    emit_record(record, output)
    report_degraded(notes)


def _abridged(numbers: npt.NDArray[np.float32]) -> str:
    first = " ".join(f"{number:.4g}" for number in numbers[:_SHOWN_VALUES])
    more = len(numbers) - _SHOWN_VALUES
    return f"{first} ... {more} more" if more > 0 else first
