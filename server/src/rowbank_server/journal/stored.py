"""Which entries the journal's stream holds: what may be deleted, and what can still be read."""

from __future__ import annotations

import collections
import itertools
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """One entry of the stream: the number in its id, its highest position, its records and their bytes."""

    number: int
    highest: int
    size: int
    records: int


class StoredGroups:
    """The entries of one stream, oldest first. Callers hold the journal's lock.

    Attributes:
        bytes: of records.
        records: how many there are.
        gone_through: every record above this position is in the stream, or will be.
    """

    def __init__(self) -> None:
        self._groups: collections.deque[StoredGroup] = collections.deque()
        self.bytes = 0
        self.records = 0
        self.gone_through = 0

    def __bool__(self) -> bool:
        return bool(self._groups)

    def restart(self, position: int) -> None:
        """A new stream, which may lack records up to `position`."""
        self._groups.clear()
        self.bytes = 0
        self.records = 0
        self.gone_through = position

    def add(self, number: int, highest: int, size: int, *, records: int) -> None:
        """An entry was appended."""
        self._groups.append(StoredGroup(number, highest, size, records))
        self.bytes += size
        self.records += records

    def has_done(self, position: int) -> bool:
        """Whether the oldest entry holds nothing above `position`."""
        return bool(self._groups) and self._groups[0].highest <= position

    def passed(self, position: int, *, most_bytes: int) -> int:
        """The number of the last of the oldest entries that hold nothing above `position`, of as many as have
        `most_bytes`, or one; 0: there is none."""
        number = size = 0
        for group in itertools.takewhile(lambda it: it.highest <= position, self._groups):
            size += group.size
            if number and size > most_bytes:
                break
            number = group.number
        return number

    def forget(self, number: int) -> None:
        """Entries up to `number` were deleted."""
        while self._groups and self._groups[0].number <= number:
            group = self._groups.popleft()
            self.bytes -= group.size
            self.records -= group.records
            self.gone_through = max(self.gone_through, group.highest)

    def first_after(self, position: int) -> int | None:
        """The number of the first entry that may have records above `position`; None: none has."""
        return next((group.number for group in self._groups if group.highest > position), None)
