"""`rowbank models list|describe|activate|rollback|prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rowbank.cli.options import Output, OutputFormat, Target, connect
from rowbank.cli.output import emit_record, emit_rows

if TYPE_CHECKING:
    from rowbank.models import ModelEntry

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="One of its versions.")]

_COLUMNS = {
    "name": "MODEL",
    "version": "VERSION",
    "active": "ACTIVE",
    "rows_mode": "ROWS ARE",
    "rows": "ROWS",
    "bytes": "SIZE",
    "run": "RUN",
    "quality": "QUALITY",
}


def overview(context: typer.Context, target: Target = None, output: Output = OutputFormat.TABLE) -> None:
    """Lists, describes, activates, rolls back and prunes model versions; alone, lists those of all models."""
    if context.invoked_subcommand is None:
        list_models(None, target, output)


def list_models(
    name: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Only this model's.")] = None,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List the stored versions with what they hold: frozen rows in memory, and files."""
    with connect(target) as client:
        records = [_record(entry) for entry in client.models.list(name or "")]
    emit_rows(records, _COLUMNS, output, empty="no models; rowbank-train two-tower --publish stores one")


def describe(
    name: ModelName,
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="One of its versions.", show_default="the active one")
    ] = None,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show what one version is made of: tables, views, data, metrics."""
    with connect(target) as client:
        entry = client.models.get(name, version or "")
    manifest = entry.manifest
    record = _record(entry) | {
        "created_at_s": manifest.created_at_s,
        "vector_dim": manifest.vector_dim,
        "item_view": manifest.item_view,
        "user_view": manifest.user_view,
        "item_overlay": manifest.item_overlay,
        "user_overlay": manifest.user_overlay,
        "user_ids": manifest.user_ids,
        "item_ids": manifest.item_ids,
    }
    if manifest.data is not None:
        record |= {
            f"data_{field}": getattr(manifest.data, field) for field in ("name", "users", "items", "interactions")
        }
    record |= {
        f"table {table.name}": f"{table.rows} rows of {table.source} at step {table.step}" for table in manifest.tables
    }
    record |= {f"metric {metric}": value for metric, value in sorted(manifest.metrics.items())}
    emit_record(record, output)


def activate(
    name: ModelName,
    version: Version,
    force: Annotated[bool, typer.Option("--force", help="Also over a version that it differs from strongly.")] = False,
    target: Target = None,
) -> None:
    """Serve a version from now on."""
    with connect(target) as client:
        before = client.models.activate(name, version, force=force)
    typer.echo(f"active: {name} {version}" + (f" (before: {before})" if before else ""))


def roll_back(name: ModelName, target: Target = None) -> None:
    """Serve the version again that was active before the present one."""
    with connect(target) as client:
        version = client.models.roll_back(name)
    typer.echo(f"active: {name} {version}")


def prune(
    name: ModelName,
    keep: Annotated[int, typer.Option("--keep", min=1, help="Newest versions, and newest runs, that stay.")] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and do nothing.")] = False,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Remove old versions with their tables and views, and tables of runs that nothing holds."""
    with connect(target) as client:
        report = client.models.prune(name, keep=keep, dry_run=dry_run)
    record = {
        "versions": list(report.versions),
        "tables": list(report.tables),
        "bytes": report.bytes,
        "dry_run": dry_run,
    }
    emit_record(record, output)


def _record(entry: ModelEntry) -> dict[str, Any]:
    manifest = entry.manifest
    metric = manifest.quality_metric
    return {
        "name": manifest.name,
        "version": manifest.version,
        "active": entry.active,
        "rows_mode": manifest.rows,
        "rows": sum(table.rows for table in manifest.tables),
        "bytes": entry.bytes,
        "run": manifest.run,
        "quality": f"{metric} {manifest.metrics[metric]:.4f}" if metric in manifest.metrics else "",
    }
