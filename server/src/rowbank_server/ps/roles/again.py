"""Starts this program again in this process: as it was started, at the address that it has, with the same output."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

_log = logging.getLogger("rowbank.ps")


def start_again(address: str) -> NoReturn:
    """Becomes a new process of the same id. Nothing of the old one is left but its standard streams.

    Whoever was replaced has tables, threads and a journal that belong to an epoch that is over; a program that begins
    anew has none, whatever they were doing.

    Args:
        address: HOST:PORT that the old one listened on, and the new one will.
    """
    _log.info("starting again as a standby at %s", address)
    sys.stdout.flush()
    sys.stderr.flush()
    arguments, bind = sys.orig_argv[1:], ["--bind", address]
    os.execv(sys.executable, [sys.executable, *arguments, *(bind if arguments[-2:] != bind else [])])
