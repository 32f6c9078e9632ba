"""Environment variables of ours, and those that look like ours and have no effect."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping

from rowbank.closest import closest

PREFIX = "ROWBANK_"
TARGETS = "ROWBANK_TARGETS"
RETRIEVAL = "ROWBANK_RETRIEVAL"
_SERVERS = ("ROWBANK_PS_", "ROWBANK_API_", "ROWBANK_UP_")  # The servers know which of these there are.

_log = logging.getLogger("rowbank")
_warned: set[str] = set()


def unknown(known: Collection[str], environment: Mapping[str, str]) -> list[str]:
    """Variables in `environment` that begin like ours and are none of `known`."""
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in known)


def without_effect(name: str, known: Collection[str]) -> str:
    """A sentence about a variable that is not known."""
    meant = closest(name, known, cutoff=0.75)
    return f"variable {name} is not known and has no effect" + (f"; did you mean {meant}?" if meant else "")


def warn_of_near_misses() -> None:
    """Logs, once each, variables that were probably meant to be those that a client reads.

    Others may be a server's or a deployment's own: a client cannot tell.
    """
    known = [TARGETS, RETRIEVAL]
    for name in unknown(known, os.environ):
        own_part = name.removeprefix(PREFIX)
        if name in _warned or name.startswith(_SERVERS):
            continue
        if closest(own_part, [one.removeprefix(PREFIX) for one in known], cutoff=0.75):
            _warned.add(name)
            _log.warning("%s", without_effect(name, known))
