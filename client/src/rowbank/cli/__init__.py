"""The operator's command line: `rowbank`."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

_READER_GONE = 128 + 13  # As other programs end, which SIGPIPE kills.
_EXTRA = ("rich", "typer")  # What the extra `cli` brings.


def main() -> None:
    """Runs the command in `sys.argv` and exits: 0 ok, 1 error, 2 wrong usage, 3 answered but degraded.

    Also 130 after Ctrl-C, and 141 without a word where whoever read the output has gone.
    """
    try:
        from rowbank.cli import completing
        from rowbank.cli.app import app
        from rowbank.cli.screen import terminal
        from rowbank.usage import run
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        sys.exit(f"error: the command line needs {error.name}, which is not installed: pip install 'rowbank[cli]'")

    terminal.show_what_cannot_be_encoded()
    if completing.VARIABLE in os.environ:
        with contextlib.suppress(Exception):  # A person who types wants candidates, and no word of what went wrong.
            completing.answer(app, sys.argv[1:])
        return
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # What fails is said once, by us.

    try:
        try:
            run(app, "rowbank")
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # What still waits fails here, where that is answered, and not while Python ends.
    except SystemExit:
        if type(sys.stdout).__name__ == "PacifyFlushWrapper":  # Click's: it has seen that whoever read has gone.
            _end_unread()
        raise
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            _end_unread()
        sys.stderr.write(f"error: {error.filename or ''}{': ' if error.filename else ''}{error.strerror or error}\n")
        sys.exit(1)
    except Exception as error:
        # Only now: the class lives beside the gRPC codes, and help must not wait for gRPC.
        from rowbank.errors import RowbankError

        if not isinstance(error, RowbankError):
            raise
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)


def _end_unread() -> NoReturn:
    """Whoever read has gone, as in `| head -1`: what is still to be written goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(_READER_GONE)
