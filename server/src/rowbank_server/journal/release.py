"""Hands mutations to whoever follows, in the order of their positions.

Mutations of several tables are applied, and appended, in any order among each other. Followers get each once it is
applied and appended, and everything before it is, too: so whoever has taken in one has taken in all before it, and
nobody ever sees a mutation that a crash could undo.

A mutation of a relaxed table is not appended, and yet waits for those before it. While Redis is away nothing passes:
then what waits is bounded, and what is beyond the bound is lost to followers, who are told.
"""

from __future__ import annotations

import collections
import time
from typing import Protocol

from rowbank_server.journal.entry import Entry

_PRUNED_AT = 4096  # Lost entries that still wait for their turn.


class Released(Protocol):
    """What gets the mutations. Called while the journal's lock is held, so it may not wait or call the journal."""

    def opened(self, position: int) -> None:
        """Positions of this process are above `position`."""

    def released(self, position: int, pieces: tuple[bytes, ...], begun: float) -> None:
        """A mutation, begun at that monotonic time."""

    def lost(self, position: int) -> None:
        """Mutations of relaxed tables, up to that position, will never be released."""


class ReleaseOrder:
    """Entries that were begun and not released yet. Callers hold the journal's lock.

    Args:
        max_bytes: of records of relaxed tables that wait.
    """

    def __init__(self, to: Released, *, max_bytes: int) -> None:
        self._to = to
        self._max_bytes = max_bytes
        self._waiting: collections.deque[Entry] = collections.deque()
        self._kept_bytes = 0
        self._lost = 0  # The highest position of those that are lost and were not told of yet.
        self._unpruned = 0
        self._closed: tuple[int, float] | None = None  # Up to where, and until when, everything was released then.

    @property
    def waiting(self) -> int:
        """How many mutations were begun and not released."""
        return len(self._waiting)

    def through(self, last: int) -> int:
        """The highest position up to which everything is released, where `last` is the highest that was given."""
        if self._closed is not None:
            return self._closed[0]
        return self._waiting[0].position - 1 if self._waiting else last

    @property
    def waiting_since(self) -> float | None:
        """When the oldest of those was begun, monotonic seconds; None: there is none."""
        if self._closed is not None:
            return self._closed[1]
        return self._waiting[0].begun if self._waiting else None

    def opened(self, position: int) -> None:
        """Entries to come have higher positions."""
        self._to.opened(position)

    def add(self, entry: Entry) -> None:
        """Takes an entry with the next position."""
        if self._closed is None:
            self._waiting.append(entry)

    def keep(self, entry: Entry) -> None:
        """Counts the record of an entry that is not appended."""
        self._kept_bytes += entry.size
        if self._lost or self._kept_bytes > self._max_bytes:
            entry.pieces = ()
            self._lost = max(self._lost, entry.position)
            self._unpruned += 1
            if self._unpruned == 1 or self._unpruned > _PRUNED_AT:
                self._prune()

    def abandon(self, entry: Entry) -> None:
        """Lets the others pass an entry that came to nothing."""
        entry.owed, entry.pieces = 0, ()
        self.advance()

    def advance(self) -> None:
        """Releases what nothing stands before any more."""
        waiting = self._waiting
        while waiting and not waiting[0].owed:
            entry = waiting.popleft()
            pieces, entry.pieces = entry.pieces, ()
            if pieces:
                if not entry.appended:
                    self._kept_bytes = max(0, self._kept_bytes - entry.size)
                self._to.released(entry.position, pieces, entry.begun)
        if self._lost and (not waiting or waiting[0].position > self._lost):
            self._to.lost(self._lost)
            self._lost = self._unpruned = self._kept_bytes = 0

    def close(self, last: int) -> None:
        """Releases nothing any more; `last` is the highest position that was given."""
        if self._closed is None:
            self._closed = self.through(last), self.waiting_since or time.monotonic()
            self._waiting.clear()

    def _prune(self) -> None:
        """Forgets relaxed tables' entries that wait for others alone."""
        self._unpruned = 1
        kept = [entry for entry in self._waiting if entry.appended or entry.owed]
        self._waiting = collections.deque(kept)
