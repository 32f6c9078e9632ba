"""Starts this program again in this process: as it was started, at the address that it has, with the same output."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

_log = logging.getLogger("rowbank.ps")


def start_again(address: str, http: str) -> NoReturn:
    """Becomes a new process of the same id. Nothing of the old one is left but its standard streams.

    Whoever was replaced has tables, threads and a journal that belong to an epoch that is over; a program that begins
    anew has none, whatever they were doing.

    Args:
        address: HOST:PORT that the old one listened on, and the new one will.
        http: the URL of its HTTP port, which the new one has, too; empty: none.
    """
    _log.info("starting again as a standby at %s", address)
    sys.stdout.flush()
    sys.stderr.flush()
    arguments = sys.orig_argv[1:]
    binds = ["--bind", address, *(["--http-bind", http.rpartition("/")[2]] if http else [])]
    same = arguments[-len(binds) :] == binds
    os.execv(sys.executable, [sys.executable, *arguments, *([] if same else binds)])
