"""Options of the command line that are settings, and how wrong ones are told."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from rowbank.closest import did_you_mean
from rowbank_server.settings import CommonSettings, new_name


class Parser(argparse.ArgumentParser):
    """Wrong usage is one line that begins as every error does, and names the command that was typed."""

    def error(self, message: str) -> NoReturn:
        text = re.sub(r"argument (\S+): expected one argument", r"\1: expected a value after it, got none", message)
        text = re.sub(r"argument (\S+): ignored explicit argument", r"\1 takes no value, got", text)
        self.exit(2, f"error: {text}; {self.prog} --help lists the options\n")


def option(name: str) -> str:
    """The option of the setting `name`."""
    return f"--{name.replace('_', '-')}"


def add_settings(command: argparse.ArgumentParser, cls: type[CommonSettings]) -> None:
    """Adds an option for each setting of a process."""
    for name, field in cls.model_fields.items():
        text = f"{field.description} Default: {_shown(field.get_default())}".replace("%", "%%")
        if field.annotation is bool:
            command.add_argument(option(name), action="store_const", const=True, help=text)
        else:
            command.add_argument(option(name), metavar="VALUE", help=text)


def refuse(parser: Parser, typed: str, role: str, left: Sequence[str], options: Sequence[str]) -> None:
    """Ends the program where words are left that the command `typed` does not take.

    Args:
        role: the process whose settings the command takes; empty: none.
        options: all that it takes.
    """
    if not left:
        return
    word = left[0].partition("=")[0]
    renamed = new_name(role, word.lstrip("-"))
    if renamed is not None:
        parser.exit(2, f"error: {typed}: option {word} {renamed}\n")
    wrong = f"has no option {word}" if word.startswith("-") else f"takes options only, got {word!r}"
    hint = did_you_mean(word, options) or f"; {typed} --help lists the options"
    parser.exit(2, f"error: {typed} {wrong}{hint}\n")


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(default)
    return {"": "none", "False": "off"}.get(str(default), str(default))
