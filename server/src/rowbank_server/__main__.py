"""`python -m rowbank_server ps|api|up`: runs one of the servers in this process."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from rowbank.closest import did_you_mean
from rowbank_server.settings import (
    ApiSettings,
    CommonSettings,
    PsSettings,
    SettingsError,
    StartError,
    UpSettings,
    load,
    new_name,
    refuse_old_variables,
    variables_without_effect,
)

_ROLES: dict[str, type[CommonSettings]] = {"ps": PsSettings, "api": ApiSettings, "up": UpSettings}
# What a user types: the command line of the client package executes this module.
_COMMANDS = {"ps": "rowbank serve ps", "api": "rowbank serve api", "up": "rowbank up"}


class _Parser(argparse.ArgumentParser):
    """Wrong usage is one line that begins as every error does, and names the command that was typed."""

    def error(self, message: str) -> NoReturn:
        text = re.sub(r"argument (\S+): expected one argument", r"\1: expected a value after it, got none", message)
        text = re.sub(r"argument (\S+): ignored explicit argument", r"\1 takes no value, got", text)
        self.exit(2, f"error: {text}; {self.prog} --help lists the options\n")


def _parser() -> _Parser:
    parser = _Parser(prog="rowbank_server", description="Runs a Rowbank server in this process.", allow_abbrev=False)
    roles = parser.add_subparsers(dest="role", required=True, metavar="ps|api|up")
    for role, cls in _ROLES.items():
        summary = (cls.__doc__ or "").strip()
        command = roles.add_parser(
            role, prog=_COMMANDS[role], help=summary, description=summary, allow_abbrev=False, argument_default=None
        )
        for name, field in cls.model_fields.items():
            text = f"{field.description} Default: {_shown(field.get_default())}".replace("%", "%%")
            if field.annotation is bool:
                command.add_argument(_option(name), action="store_const", const=True, help=text)
            else:
                command.add_argument(_option(name), metavar="VALUE", help=text)
    return parser


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(default)
    return {"": "none", "False": "off"}.get(str(default), str(default))


def _parse(arguments: Sequence[str] | None) -> tuple[str, dict[str, Any]]:
    """The process and the settings that arguments name; ends the program where they are wrong."""
    parser = _parser()
    parsed, left = parser.parse_known_args(arguments)
    given = vars(parsed)
    role = given.pop("role")
    options = [_option(name) for name in _ROLES[role].model_fields]
    if left:
        word = left[0].partition("=")[0]
        wrong = f"has no option {word}" if word.startswith("-") else f"takes options only, got {word!r}"
        renamed = new_name(role, word.lstrip("-"))
        if renamed is not None:
            parser.exit(2, f"error: {_COMMANDS[role]}: option {word} {renamed}\n")
        hint = did_you_mean(word, options) or f"; {_COMMANDS[role]} --help lists the options"
        parser.exit(2, f"error: {_COMMANDS[role]} {wrong}{hint}\n")
    return role, given


def _run(settings: CommonSettings) -> int:
    """Only the chosen server's modules are imported."""
    if isinstance(settings, PsSettings):
        from rowbank_server.ps.main import run as run_ps

        return run_ps(settings)
    if isinstance(settings, ApiSettings):
        if settings.workers > 1:
            from rowbank_server.retrieval.processes.parent import run as run_workers

            return run_workers(settings)
        from rowbank_server.retrieval.main import run as run_api

        return run_api(settings)
    from rowbank_server.up import run as run_up

    assert isinstance(settings, UpSettings)
    return run_up(settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the server that the arguments name; returns the exit status: 0 ok, 1 failed, 2 wrong settings."""
    role, given = _parse(arguments)
    try:
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
