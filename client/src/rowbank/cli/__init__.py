"""The operator's command line: `rowbank`."""

from __future__ import annotations

import contextlib
import os
import sys

_EXTRA = ("rich", "typer")  # What the extra `cli` brings.


def main() -> None:
    """Runs the command in `sys.argv` and exits: 0 ok, 1 error, 2 wrong usage, 3 answered but degraded."""
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
        run(app, "rowbank")
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Whoever read has gone, as in `| head -1`.
            sys.exit(1)
        sys.stderr.write(f"error: {error.filename or ''}{': ' if error.filename else ''}{error.strerror or error}\n")
        sys.exit(1)
    except Exception as error:
        # Only now: the class lives beside the gRPC codes, and help must not wait for gRPC.
        from rowbank.errors import RowbankError

        if not isinstance(error, RowbankError):
            raise
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
