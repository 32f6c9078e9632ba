"""All commands in one tree. Commands import what they need when they run, so that help stays quick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from rowbank.cli import (
    catalogue,
    completing,
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
    tokens,
    top,
)
from rowbank.cli.benching import bench
from rowbank.cli.health import doctor, sizes, stat, status
from rowbank.cli.insight import freq
from rowbank.cli.retrieving import IDS
from rowbank.cli.watching import watched

Command = Callable[..., None]

app = typer.Typer(
    help="Runs, watches and steers Rowbank. Commands that ask a parameter server take --target or ROWBANK_TARGETS; "
    "those that ask the retrieval service, --retrieval or ROWBANK_RETRIEVAL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _group(name: str, text: str, **options: Any) -> typer.Typer:
    """A group of commands below `rowbank`."""
    group = typer.Typer(help=text, rich_markup_mode=None, **{"no_args_is_help": True, **options})
    app.add_typer(group, name=name)
    return group


def _does(group: typer.Typer, **commands: Command) -> None:
    """Adds commands that change something, or run something."""
    for name, command in commands.items():
        group.command(name.rstrip("_"))(command)


def _reads(group: typer.Typer, context: dict[str, Any] | None = None, **commands: Command) -> None:
    """Adds commands that only look, so that they can be watched."""
    for name, command in commands.items():
        group.command(name.rstrip("_"), context_settings=context)(watched(command))


def _takes_ids(group: typer.Typer, **commands: Command) -> None:
    """Adds commands that take ids, which may be negative, and change something."""
    for name, command in commands.items():
        group.command(name.rstrip("_"), context_settings=IDS)(command)


def _runs(group: typer.Typer, **commands: Command) -> None:
    """Adds commands that become another program, which reads their arguments."""
    for name, command in commands.items():
        group.command(name, context_settings=processes.PASS_THROUGH, add_help_option=False)(command)


_runs(app, up=processes.up)
_runs(_group("serve", "Runs one process in the foreground."), ps=processes.ps, api=processes.api)
_runs(
    _group("config", "Shows and checks settings without a start."),
    show=processes.show_config,
    check=processes.check_config,
)

_does(app, bench=bench.bench, completion=completing.completion)

_reads(app, status=status.status, doctor=doctor.doctor)
_reads(app, tables=tables.list_tables, bigtables=sizes.bigtables, stats=stats.stats)
_does(app, stat=stat.stat, follow=following.follow)
_reads(app, shards=shards.shards, evictions=evictions.list_evictions, top=top.top)
_reads(app, freq=freq.freq)
_reads(app, IDS, row=rows.row)
_does(app, evict=evictions.evict, export=files.export, import_=files.import_)

_table = _group("table", "Creates, describes and drops a table.")
_does(_table, create=tables.create, drop=tables.drop)
_reads(_table, describe=tables.describe)

_snapshot = _group("snapshot", "Saves and restores all tables.")
_does(_snapshot, save=snapshots.save, verify=snapshots.verify, restore=snapshots.restore)
_reads(_snapshot, list=snapshots.list_snapshots)

_models = _group(
    "models",
    "Lists, describes, activates, rolls back and prunes model versions.",
    no_args_is_help=False,
    invoke_without_command=True,
)
_models.callback()(models.overview)
_reads(_models, list=models.list_models, describe=models.describe)
_does(_models, activate=models.activate, rollback=models.roll_back, traffic=models.traffic, prune=models.prune)

_tokens = _group("tokens", "Makes, lists and revokes tokens.")
_does(_tokens, create=tokens.create, revoke=tokens.revoke, generate=tokens.generate)
_reads(_tokens, list=tokens.list_tokens)

_features = _group("features", "Lists, shows, reads, imports, judges and drops features of users and items.")
_reads(_features, list=features.list_views, show=features.show, freshness=features.freshness)
_reads(_features, IDS, get=features.get)
_does(_features, import_=features.import_, drop=features.drop)

_reads(app, IDS, recommend=recommending.recommend, similar=recommending.similar, score=recommending.score)
_reads(app, popular=recommending.popular, embed=recommending.embed)

_item = _group("item", "Shows, writes and removes an item.")
_reads(_item, IDS, get=catalogue.get_item)
_takes_ids(_item, put=catalogue.put_item, delete=catalogue.delete_item)

_filters = _group("filters", "Lists, stores and removes named filters.")
_reads(_filters, list=catalogue.list_filters)
_does(_filters, put=catalogue.put_filter, delete=catalogue.delete_filter)

_reads(_group("index", "Looks at the index of items."), probe=catalogue.probe_index)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    if version:
        from importlib.metadata import version as installed_version

        typer.echo(f"rowbank {installed_version('rowbank')}")
        raise typer.Exit
