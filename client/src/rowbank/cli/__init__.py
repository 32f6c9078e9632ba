"""The operator's command line: `rowbank`."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command in `sys.argv` and exits: 0 ok, 1 error, 2 wrong usage, 3 answered but degraded."""
    from rowbank.cli.app import app

    try:
        app(prog_name="rowbank")
    except Exception as error:
        # Only now: the class lives beside the gRPC codes, and help must not wait for gRPC.
        from rowbank.errors import RowbankError

        if not isinstance(error, RowbankError):
            raise
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
