"""All commands in one tree. Commands import what they need when they run, so that help stays quick."""

from __future__ import annotations

import typer

from rowbank.cli import evictions, features, files, models, processes, rows, snapshots, stats, tables

app = typer.Typer(
    help="Runs, watches and steers Rowbank. Commands that ask a server take --target or ROWBANK_TARGETS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
serve = typer.Typer(help="Runs one process in the foreground.", no_args_is_help=True, rich_markup_mode=None)
table = typer.Typer(help="Creates, describes and drops a table.", no_args_is_help=True, rich_markup_mode=None)
models_ = typer.Typer(
    help="Lists, describes, activates, rolls back and prunes model versions.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
features_ = typer.Typer(
    help="Lists, shows, reads, imports, judges and drops features of users and items.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
snapshot = typer.Typer(help="Saves and restores all tables.", no_args_is_help=True, rich_markup_mode=None)

for group, name, handler in ((app, "up", processes.up), (serve, "ps", processes.ps), (serve, "api", processes.api)):
    group.command(name, context_settings=processes.PASS_THROUGH, add_help_option=False)(handler)
app.add_typer(serve, name="serve")
app.add_typer(snapshot, name="snapshot")
snapshot.command("save")(snapshots.save)
snapshot.command("list")(snapshots.list_snapshots)
snapshot.command("verify")(snapshots.verify)
snapshot.command("restore")(snapshots.restore)
app.add_typer(models_, name="models")
models_.callback()(models.overview)
models_.command("list")(models.list_models)
models_.command("describe")(models.describe)
models_.command("activate")(models.activate)
models_.command("rollback")(models.roll_back)
models_.command("prune")(models.prune)
app.add_typer(features_, name="features")
features_.command("list")(features.list_views)
features_.command("show")(features.show)
features_.command("get", context_settings={"ignore_unknown_options": True})(features.get)  # Ids may be negative.
features_.command("import")(features.import_)
features_.command("freshness")(features.freshness)
features_.command("drop")(features.drop)
app.command("tables")(tables.list_tables)
app.add_typer(table, name="table")
table.command("create")(tables.create)
table.command("describe")(tables.describe)
table.command("drop")(tables.drop)
app.command("stats")(stats.stats)
app.command("evictions")(evictions.list_evictions)
app.command("evict")(evictions.evict)
app.command("row", context_settings={"ignore_unknown_options": True})(rows.row)  # Keys may be negative.
app.command("top")(rows.top)
app.command("export")(files.export)
app.command("import")(files.import_)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    if version:
        from importlib.metadata import version as installed_version

        typer.echo(f"rowbank {installed_version('rowbank')}")
        raise typer.Exit
