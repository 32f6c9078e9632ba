"""`python -m rowbank_server ps|api|up`: runs one of the servers in this process."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rowbank_server.settings import (
    ApiSettings,
    CommonSettings,
    PsSettings,
    SettingsError,
    StartError,
    UpSettings,
    load,
)

_ROLES: dict[str, type[CommonSettings]] = {"ps": PsSettings, "api": ApiSettings, "up": UpSettings}
# What a user types: the command line of the client package executes this module.
_COMMANDS = {"ps": "rowbank serve ps", "api": "rowbank serve api", "up": "rowbank up"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rowbank_server", description="Runs a Rowbank server in this process.")
    roles = parser.add_subparsers(dest="role", required=True, metavar="ps|api|up")
    for role, cls in _ROLES.items():
        summary = (cls.__doc__ or "").strip()
        command = roles.add_parser(role, prog=_COMMANDS[role], help=summary, description=summary)
        for name, field in cls.model_fields.items():
            option = f"--{name.replace('_', '-')}"
            text = f"{field.description} Default: {field.get_default()!s}".replace("%", "%%")
            if field.annotation is bool:
                command.add_argument(option, action="store_const", const=True, default=None, help=text)
            else:
                command.add_argument(option, default=None, metavar="VALUE", help=text)
    return parser


def _run(settings: CommonSettings) -> int:
    """Only the chosen server's modules are imported."""
    if isinstance(settings, PsSettings):
        from rowbank_server.ps.main import run as run_ps

        return run_ps(settings)
    if isinstance(settings, ApiSettings):
        from rowbank_server.retrieval.main import run as run_api

        return run_api(settings)
    from rowbank_server.up import run as run_up

    assert isinstance(settings, UpSettings)
    return run_up(settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the server that the arguments name; returns the exit status: 0 ok, 1 failed, 2 wrong settings."""
    parsed = vars(_parser().parse_args(arguments))
    role = parsed.pop("role")
    try:
        return _run(load(_ROLES[role], parsed))
    except SettingsError as error:
        return _fail(role, error, 2)
    except StartError as error:
        return _fail(role, error, 1)
    except Exception as error:
        from rowbank.errors import RowbankError

        if not isinstance(error, RowbankError):
            raise
        return _fail(role, error, 1)


def _fail(role: str, error: Exception, status: int) -> int:
    sys.stderr.write(f"rowbank-{role}: error: {error}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
