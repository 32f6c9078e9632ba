"""Which cores servers and clients have, the same ones for every candidate."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

# Sets the cores before the program starts, so that libraries see them when they make their threads.
_PINNED = (
    "import os, sys; os.sched_setaffinity(0, map(int, sys.argv[1].split(','))); os.execv(sys.argv[2], sys.argv[2:])"
)


@dataclass(frozen=True, slots=True)
class Placement:
    """Cores of the server, and of the clients and of Redis, which in earnest has another machine than the server."""

    server: tuple[int, ...]
    clients: tuple[int, ...]

    def __str__(self) -> str:
        shared = ", shared with it" if set(self.server) & set(self.clients) else ""
        return f"server on core {_listed(self.server)}, clients and Redis on {_listed(self.clients)}{shared}"


def placement(server_cores: int) -> Placement:
    """The first `server_cores` cores for the server, the others for the rest; if there are none, all for both.

    Raises:
        RuntimeError: this process may use fewer than two cores.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise RuntimeError(f"server and clients need a core each, this process may use {len(cores)}")
    rest = tuple(cores[server_cores:])
    return Placement(tuple(cores[:server_cores]), rest or tuple(cores))


def pinned(command: list[str], cores: tuple[int, ...]) -> list[str]:
    """The command, on these cores alone; its program named by its whole path."""
    return [sys.executable, "-c", _PINNED, ",".join(map(str, cores)), *command]


def _listed(cores: tuple[int, ...]) -> str:
    return " and ".join(map(str, cores))
