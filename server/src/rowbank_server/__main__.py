"""`python -m rowbank_server ps|api|up|config`: runs one of the servers in this process, or shows its settings."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rowbank_server.arguments import Parser, add_settings, option, refuse
from rowbank_server.config.command import run as config
from rowbank_server.open_files import raise_file_limit
from rowbank_server.settings import (
    ApiSettings,
    CommonSettings,
    PsSettings,
    SettingsError,
    StartError,
    UpSettings,
    load,
    refuse_old_variables,
    variables_without_effect,
)

_ROLES: dict[str, type[CommonSettings]] = {"ps": PsSettings, "api": ApiSettings, "up": UpSettings}
# What a user types: the command line of the client package executes this module.
_COMMANDS = {"ps": "rowbank serve ps", "api": "rowbank serve api", "up": "rowbank up"}


def _parse(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The process and the settings that arguments name; ends the program where they are wrong."""
    parser = Parser(prog="rowbank_server", description="Runs a Rowbank server in this process.", allow_abbrev=False)
    roles = parser.add_subparsers(dest="role", required=True, metavar="ps|api|up|config")
    for role, cls in _ROLES.items():
        summary = (cls.__doc__ or "").strip()
        command = roles.add_parser(
            role, prog=_COMMANDS[role], help=summary, description=summary, allow_abbrev=False, argument_default=None
        )
        add_settings(command, cls)
    parsed, left = parser.parse_known_args(arguments)
    given = vars(parsed)
    role = given.pop("role")
    refuse(parser, _COMMANDS[role], role, left, [option(name) for name in _ROLES[role].model_fields])
    return role, given


def _run(settings: CommonSettings) -> int:
    raise_file_limit()
    run = _runner(settings)
    gc.freeze()  # What was imported stays; no collection has to go through it again.
    return run(settings)


def _runner(settings: CommonSettings) -> Callable[[Any], int]:
    """Imports the chosen server's modules alone."""
    if isinstance(settings, PsSettings):
        from rowbank_server.ps.starting import run as run_ps

        return run_ps
    if isinstance(settings, ApiSettings):
        if settings.workers > 1:
            from rowbank_server.retrieval.processes.parent import run as run_workers

            return run_workers
        from rowbank_server.retrieval.main import run as run_api

        return run_api
    from rowbank_server.up import run as run_up

    return run_up


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the server that the arguments name; returns the exit status: 0 ok, 1 failed, 2 wrong settings."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if words[:1] == ["config"]:
            return config(words[1:])
        role, given = _parse(words)
        refuse_old_variables(role)
        settings = load(_ROLES[role], given)
        for sentence in variables_without_effect():
            sys.stderr.write(f"warning: {sentence}\n")
        return _run(settings)
    except SettingsError as error:
        return _fail(error, 2)
    except StartError as error:
        return _fail(error, 1)
    except Exception as error:
        from rowbank.errors import RowbankError

        if not isinstance(error, RowbankError):
            raise
        return _fail(error, 1)


def _fail(error: Exception, status: int) -> int:
    sys.stderr.write(f"error: {error}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
