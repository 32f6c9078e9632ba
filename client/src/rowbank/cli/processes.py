"""Commands that become another process: the server package is executed, never imported."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import typer

PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def up(context: typer.Context) -> None:
    """Run everything on one machine: Redis, parameter server and retrieval service (options: rowbank up --help)."""
    _become("up", context.args)


def ps(context: typer.Context) -> None:
    """Run one shard of the parameter server (options: rowbank serve ps --help)."""
    _become("ps", context.args)


def api(context: typer.Context) -> None:
    """Run the retrieval service (options: rowbank serve api --help)."""
    _become("api", context.args)


def show_config(context: typer.Context) -> None:
    """Show the settings that a process would have (options: rowbank config show up|ps|api --help)."""
    _become("config", ["show", *context.args])


def check_config(context: typer.Context) -> None:
    """Say what is wrong with a settings file: rowbank config check FILE."""
    _become("config", ["check", *context.args])


def _become(command: str, arguments: list[str]) -> None:
    if find_spec("rowbank_server") is None:
        typed = f"serve {command}" if command in ("ps", "api") else command
        typer.echo(
            f"error: `rowbank {typed}` needs the server, and the package "
            "rowbank-server is not installed beside this client; run: pip install 'rowbank-server[embedded]'",
            err=True,
        )
        raise typer.Exit(1)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "rowbank_server", command, *arguments])
