"""A page of memory that all workers of a service see: how many connections each of them has."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

_BEAT_S = 0.5  # How often a worker that accepts connections says so.
_STALE_S = 3 * _BEAT_S
_SLOT = 2  # Numbers per worker: connections, and when it said last that it accepts, in milliseconds.


class Board:
    """Connections by worker. Every worker writes its own numbers only, so nobody needs a lock.

    Args:
        path: a file that `create` made.
    """

    beat_s = _BEAT_S

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._numbers = memoryview(self._memory).cast("q")

    @classmethod
    def create(cls, path: Path, workers: int) -> Board:
        """A board for workers 0 to `workers` - 1."""
        path.touch(0o600)
        os.truncate(path, workers * _SLOT * 8)
        return cls(path)

    @property
    def workers(self) -> int:
        """How many workers there can be."""
        return len(self._numbers) // _SLOT

    def set_connections(self, worker: int, count: int) -> None:
        """Says how many connections a worker has."""
        self._numbers[worker * _SLOT] = count

    def connections(self, worker: int) -> int:
        """How many connections a worker has."""
        return self._numbers[worker * _SLOT]

    def beat(self, worker: int) -> None:
        """Says that a worker accepts connections now; to be said again every `beat_s`."""
        self._numbers[worker * _SLOT + 1] = _now_ms()

    def leave(self, worker: int) -> None:
        """Says that a worker accepts no more connections."""
        self._numbers[worker * _SLOT + 1] = 0

    def accepts(self, worker: int) -> bool:
        """Whether a worker said a moment ago that it accepts connections."""
        said_ms = self._numbers[worker * _SLOT + 1]
        return said_ms > 0 and _now_ms() - said_ms < _STALE_S * 1e3

    def is_fullest(self, worker: int) -> bool:
        """Whether another worker that accepts has fewer connections."""
        own = self.connections(worker)
        others = (other for other in range(self.workers) if other != worker)
        return any(self.connections(other) < own and self.accepts(other) for other in others)


def _now_ms() -> int:
    return int(time.monotonic() * 1e3)
