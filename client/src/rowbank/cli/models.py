"""`rowbank models list|describe|activate|rollback|traffic|prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rowbank.cli.options import Output, OutputFormat, Target, connect
from rowbank.cli.output import emit_record, emit_rows

if TYPE_CHECKING:
    from rowbank.models import ModelEntry
    from rowbank.traffic import Traffic

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="One of its versions.")]

_COLUMNS = {
    "name": "MODEL",
    "version": "VERSION",
    "active": "ACTIVE",
    "share": "SHARE",
    "shadow": "SHADOW",
    "rows_mode": "ROWS ARE",
    "rows": "ROWS",
    "bytes": "SIZE",
    "run": "RUN",
    "quality": "QUALITY",
}


def overview(context: typer.Context, target: Target = None, output: Output = OutputFormat.TABLE) -> None:
    """Lists, activates, rolls back and prunes model versions, and splits traffic; alone, lists those of all models."""
    if context.invoked_subcommand is None:
        list_models(None, target, output)


def list_models(
    name: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Only this model's.")] = None,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List the stored versions with what they hold: frozen rows in memory, and files."""
    with connect(target) as client:
        entries = client.models.list(name or "")
        traffic = {model: client.models.traffic(model) for model in {entry.manifest.name for entry in entries}}
    records = [_record(entry, traffic[entry.manifest.name]) for entry in entries]
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
        traffic = client.models.traffic(name)
    manifest = entry.manifest
    record = _record(entry, traffic) | {
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


def traffic(
    name: ModelName,
    shares: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[VERSION=SHARE]...",
            help="Of the users, 0 to 1, instead of what was said before; the active version has what they leave.",
            show_default="show what is so",
        ),
    ] = None,
    shadow: Annotated[
        str | None, typer.Option("--shadow", help="A version that is asked the same, and whose answers are compared.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Everybody gets the active version, and no shadow.")] = False,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show who gets which version of a model, or say who does from now on."""
    if clear and (shares or shadow):
        raise typer.BadParameter("expected --clear alone, or shares and --shadow")
    asked = dict(_share(text) for text in shares or ())
    if len(asked) < len(shares or ()):
        raise typer.BadParameter("a version is named twice; give each one share")
    with connect(target) as client:
        if clear or shares or shadow:
            now = client.models.set_traffic(name, asked, shadow=shadow or "")
        else:
            now = client.models.traffic(name)
    left = max(0.0, 1.0 - sum(now.shares.values()))
    records: list[dict[str, Any]] = [{"version": now.active, "share": left, "is": "active"}] if now.active else []
    records += [
        {"version": version, "share": share, "is": "shadow" if version == now.shadow else ""}
        for version, share in sorted(now.shares.items())
    ]
    if now.shadow and now.shadow not in now.shares:
        records.append({"version": now.shadow, "share": 0.0, "is": "shadow"})
    emit_rows(records, {"version": "VERSION", "share": "SHARE", "is": "IS"}, output, empty="no active version")


def _share(text: str) -> tuple[str, float]:
    """`v2=0.1` -> v2, 0.1."""
    version, equals, share = text.partition("=")
    try:
        if not version or not equals:
            raise ValueError
        return version, float(share)
    except ValueError:
        raise typer.BadParameter(f"expected VERSION=SHARE, such as 20260131T120000Z-1a2b=0.1, got {text!r}") from None


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


def _record(entry: ModelEntry, traffic: Traffic) -> dict[str, Any]:
    manifest = entry.manifest
    metric = manifest.quality_metric
    return {
        "name": manifest.name,
        "version": manifest.version,
        "active": entry.active,
        "share": _share_of(manifest.version, traffic),
        "shadow": manifest.version == traffic.shadow,
        "rows_mode": manifest.rows,
        "rows": sum(table.rows for table in manifest.tables),
        "bytes": entry.bytes,
        "run": manifest.run,
        "quality": f"{metric} {manifest.metrics[metric]:.4f}" if metric in manifest.metrics else "",
    }


def _share_of(version: str, traffic: Traffic) -> float:
    if version == traffic.active:
        return max(0.0, 1.0 - sum(traffic.shares.values()))
    return traffic.shares.get(version, 0.0)
