"""`rowbank config show` and `rowbank config check`: settings without a start."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rowbank_server.arguments import Parser, add_settings, option, refuse
from rowbank_server.config.origins import Effective, effective, problems_of_file
from rowbank_server.settings import ApiSettings, CommonSettings, PsSettings, UpSettings, refuse_old_variables

_ROLES: dict[str, type[CommonSettings]] = {"ps": PsSettings, "api": ApiSettings, "up": UpSettings}


def run(arguments: Sequence[str]) -> int:
    """`rowbank config` with its arguments; returns the exit status. Raises SettingsError."""
    parser = Parser(prog="rowbank config", description="Settings without a start.", allow_abbrev=False)
    actions = parser.add_subparsers(dest="action", required=True, metavar="show|check")
    checking = actions.add_parser(
        "check", prog="rowbank config check", description="Says what is wrong with a settings file."
    )
    checking.add_argument("file", metavar="FILE", help="A settings file, such as rowbank.toml.")
    shown = actions.add_parser(
        "show", prog="rowbank config show", description="The settings that a process would have."
    )
    roles = shown.add_subparsers(dest="role", metavar="up|ps|api")
    for role, cls in _ROLES.items():
        command = roles.add_parser(role, prog=f"rowbank config show {role}", allow_abbrev=False)
        command.add_argument("--origin", action="store_true", help="Say where each value comes from.")
        command.add_argument("-o", "--output", choices=("table", "json", "csv"), default="table")
        add_settings(command, cls)
    parsed, left = parser.parse_known_args(_with_role(arguments))
    given = vars(parsed)
    if given.pop("action") == "check":
        refuse(parser, "rowbank config check", "", left, [])
        return check(given["file"])
    role, origin, output = given.pop("role"), given.pop("origin"), given.pop("output")
    known = ["--origin", "--output", *map(option, _ROLES[role].model_fields)]
    refuse(parser, f"rowbank config show {role}", role, left, known)
    refuse_old_variables(role)
    try:
        return show(_ROLES[role], given, origin=origin, output=output)
    except BrokenPipeError:  # Whoever read has gone, as in `| head -1`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _with_role(arguments: Sequence[str]) -> list[str]:
    """`show` without a process is that of everything on one machine."""
    action, rest = list(arguments[:1]), list(arguments[1:])
    names_none = not rest or (rest[0].startswith("-") and rest[0] not in ("-h", "--help"))
    return [*action, "up", *rest] if action == ["show"] and names_none else [*action, *rest]


def show(cls: type[CommonSettings], given: Mapping[str, Any], *, origin: bool, output: str) -> int:
    """Prints the settings that a process would have; returns the exit status. Raises SettingsError."""
    settings = effective(cls, given)
    if output == "json":
        sys.stdout.write(json.dumps([dataclasses.asdict(one) for one in settings], indent=2) + "\n")
    elif output == "csv":
        writer = csv.DictWriter(
            sys.stdout, [field.name for field in dataclasses.fields(Effective)], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(dataclasses.asdict(one) for one in settings)
    else:
        headings = ["SETTING", "VALUE", *(["FROM", "WHERE"] if origin else [])]
        rows = [[one.name, _text(one.value), *([one.origin, one.place] if origin else [])] for one in settings]
        _print([headings, *rows])
    return 0


def check(path: str) -> int:
    """Says what is wrong with a settings file; returns the exit status."""
    problems = problems_of_file(path)
    for problem in problems:
        sys.stderr.write(f"error: {problem}\n")
    if not problems:
        sys.stdout.write(f"{path}: every process could start with it\n")
    return 2 if problems else 0


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "-" if value in ("", None) else str(value)


def _print(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{line.rstrip()}\n")
    sys.stdout.flush()
