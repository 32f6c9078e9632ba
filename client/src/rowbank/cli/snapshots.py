"""`rowbank snapshot save|list|verify|restore`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rowbank.cli.files import progress_bar
from rowbank.cli.options import Output, OutputFormat, Target, connect
from rowbank.cli.output import emit_record, emit_rows

if TYPE_CHECKING:
    from rowbank.files.snapshots import Snapshot

Folder = Annotated[str, typer.Argument(metavar="FOLDER", help="Where snapshots are: a local path or a URL.")]
Location = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="Folder of one snapshot: a local path or a URL.")]

_COLUMNS = {"name": "SNAPSHOT", "base": "BASE", "at_ms": "TAKEN", "tables": "TABLES", "rows": "ROWS", "bytes": "SIZE"}


def save(
    folder: Folder,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the new snapshot's folder.", show_default="the time")
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", help="Name of an earlier snapshot there: write only what changed since.")
    ] = None,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Save all tables as they are now, while they stay in use."""
    from rowbank import snapshots

    with connect(target) as client, progress_bar("saving") as progress:
        snapshot = snapshots.save(client, folder, name=name, base=base, progress=progress)
    emit_record(_record(snapshot), output)


def list_snapshots(folder: Folder, output: Output = OutputFormat.TABLE) -> None:
    """List the snapshots in a folder, oldest first."""
    from rowbank import snapshots

    emit_rows([_record(snapshot) for snapshot in snapshots.find(folder)], _COLUMNS, output, empty="no snapshots")


def verify(location: Location, output: Output = OutputFormat.TABLE) -> None:
    """Read every file of a snapshot and compare it with the manifest."""
    from rowbank import snapshots

    emit_record(_record(snapshots.verify(location)), output)


def restore(
    location: Location,
    table: Annotated[
        list[str] | None, typer.Option("--table", help="Restore only this table; may be repeated.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Drop tables of these names first.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --replace: also those that a model version or a running job holds.")
    ] = False,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Bring tables back as a snapshot has them, onto any number of shards."""
    from rowbank import snapshots

    with connect(target) as client, progress_bar("restoring") as progress:
        restored = snapshots.restore(
            client, location, tables=table or None, replace=replace, force=force, progress=progress
        )
    emit_record(_record(restored), output)


def _record(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "name": snapshot.name,
        "location": snapshot.location,
        "base": snapshot.base,
        "at_ms": snapshot.at_ms,
        "shards": len(snapshot.shards),
        "tables": len(snapshot.tables),
        "rows": snapshot.rows,
        "bytes": snapshot.bytes,
    }
