"""What stdout can show: how wide it is, whether it is a terminal, which characters it has."""

from __future__ import annotations

import os
import shutil
import sys

UNLIMITED = 1 << 20  # Columns of what is no terminal.
_FALLBACK = (80, 24)
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def is_terminal() -> bool:
    """Whether a person may be looking at stdout."""
    return sys.stdout.isatty()


def columns() -> int:
    """Columns that a line may have: the variable COLUMNS, else those of the terminal; elsewhere there is no limit."""
    if is_terminal() or os.environ.get("COLUMNS", "").isdigit():
        return max(1, shutil.get_terminal_size(_FALLBACK).columns)
    return UNLIMITED


def lines() -> int:
    """Lines that the terminal has."""
    return shutil.get_terminal_size(_FALLBACK).lines


def has_colour() -> bool:
    """Whether text may be made bold or coloured: in a terminal that can, unless NO_COLOR says otherwise."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def bold(text: str) -> str:
    """`text`, bold where there may be colours."""
    return f"\x1b[1m{text}\x1b[0m" if has_colour() else text


def painted(text: str, colour: int) -> str:
    """`text` in one of ANSI's eight colours (1: red, 2: green, 3: yellow), where there may be colours."""
    return f"\x1b[3{colour}m{text}\x1b[0m" if has_colour() else text


def ellipsis() -> str:
    """What stands for what was cut: three dots in one column, where stdout has that character."""
    try:
        _ELLIPSIS.encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return "..."
    return _ELLIPSIS


def show_what_cannot_be_encoded() -> None:
    """Lets a character that stdout or stderr does not have show as its escape, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
