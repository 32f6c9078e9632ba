"""All commands in one tree. Commands import what they need when they run, so that help stays quick."""

from __future__ import annotations

import typer

from rowbank.cli import (
    catalogue,
    evictions,
    features,
    files,
    following,
    models,
    processes,
    recommending,
    rows,
    shards,
    snapshots,
    stats,
    tables,
)
from rowbank.cli.retrieving import IDS
from rowbank.cli.watching import watched

app = typer.Typer(
    help="Runs, watches and steers Rowbank. Commands that ask a parameter server take --target or ROWBANK_TARGETS; "
    "those that ask the retrieval service, --retrieval or ROWBANK_RETRIEVAL.",
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
item = typer.Typer(help="Shows, writes and removes an item.", no_args_is_help=True, rich_markup_mode=None)
filters = typer.Typer(help="Lists, stores and removes named filters.", no_args_is_help=True, rich_markup_mode=None)
index = typer.Typer(help="Looks at the index of items.", no_args_is_help=True, rich_markup_mode=None)
snapshot = typer.Typer(help="Saves and restores all tables.", no_args_is_help=True, rich_markup_mode=None)

for group, name, handler in ((app, "up", processes.up), (serve, "ps", processes.ps), (serve, "api", processes.api)):
    group.command(name, context_settings=processes.PASS_THROUGH, add_help_option=False)(handler)
app.add_typer(serve, name="serve")
app.add_typer(snapshot, name="snapshot")
snapshot.command("save")(snapshots.save)
snapshot.command("list")(watched(snapshots.list_snapshots))
snapshot.command("verify")(snapshots.verify)
snapshot.command("restore")(snapshots.restore)
app.add_typer(models_, name="models")
models_.callback()(models.overview)
models_.command("list")(watched(models.list_models))
models_.command("describe")(watched(models.describe))
models_.command("activate")(models.activate)
models_.command("rollback")(models.roll_back)
models_.command("traffic")(models.traffic)
models_.command("prune")(models.prune)
app.add_typer(features_, name="features")
features_.command("list")(watched(features.list_views))
features_.command("show")(watched(features.show))
features_.command("get", context_settings={"ignore_unknown_options": True})(
    watched(features.get)
)  # Ids may be negative.
features_.command("import")(features.import_)
features_.command("freshness")(watched(features.freshness))
features_.command("drop")(features.drop)
app.command("recommend", context_settings=IDS)(watched(recommending.recommend))
app.command("similar", context_settings=IDS)(watched(recommending.similar))
app.command("score", context_settings=IDS)(watched(recommending.score))
app.command("popular")(watched(recommending.popular))
app.command("embed")(watched(recommending.embed))
app.add_typer(item, name="item")
item.command("get", context_settings=IDS)(watched(catalogue.get_item))
item.command("put", context_settings=IDS)(catalogue.put_item)
item.command("delete", context_settings=IDS)(catalogue.delete_item)
app.add_typer(filters, name="filters")
filters.command("list")(watched(catalogue.list_filters))
filters.command("put")(catalogue.put_filter)
filters.command("delete")(catalogue.delete_filter)
app.add_typer(index, name="index")
index.command("probe")(watched(catalogue.probe_index))
app.command("tables")(watched(tables.list_tables))
app.add_typer(table, name="table")
table.command("create")(tables.create)
table.command("describe")(watched(tables.describe))
table.command("drop")(tables.drop)
app.command("stats")(watched(stats.stats))
app.command("shards")(watched(shards.shards))
app.command("follow")(following.follow)
app.command("evictions")(watched(evictions.list_evictions))
app.command("evict")(evictions.evict)
app.command("row", context_settings=IDS)(watched(rows.row))
app.command("top")(watched(rows.top))
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
