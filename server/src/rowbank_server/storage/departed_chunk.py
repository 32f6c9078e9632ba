"""Keys that left a table, packed so that one of them is found without reading the others.

Problem: a week of evictions is millions of keys, and "why is this id gone" asks for one. Idea: a chunk has its keys as
64-bit prints, sorted. A print is a hash that has nothing to do with the order of eviction or with buckets, so prints
lie evenly, and where a key would be follows from its print but for a few hundred places: a look-up reads a window of
some kilobytes. Behind the prints lie the other columns: event, frequency, last use; and the events: when, why, cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank_server import _core

I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

ROW_BYTES = 18
EVENT = np.dtype([("at_s", "<u4"), ("reason", "<u4"), ("score_cut", "<f8")])
MAX_EVENTS = 4096
_MARGIN = 8.0  # Standard deviations of a print's place among so many.


@dataclass(frozen=True, slots=True)
class Departed:
    """Rows that left a table together; parallel columns, as they were then.

    Attributes:
        at_s: when, Unix seconds.
        reason: why, a `RemovalReason`.
        score_cut: rows that scored less went first; 0: not by score.
    """

    table_id: int
    at_s: int
    reason: int
    score_cut: float
    keys: I64
    frequency: U32
    last_used: U32


@dataclass(frozen=True, slots=True)
class Departure:
    """One key that left, as a chunk remembers it."""

    at_s: int
    reason: int
    score_cut: float
    frequency: int
    last_used: int


def prints_of(keys: I64) -> U64:
    """[N] uint64: what keys are sorted by. No two keys share one."""
    return _core.hash_keys(_core.hash_keys(keys).view(np.int64))


@dataclass(frozen=True, slots=True)
class ChunkShape:
    """Where things lie in a packed chunk: bytes from its start."""

    rows: int
    events: int

    @property
    def bytes(self) -> int:
        """Of the whole."""
        return self.rows * ROW_BYTES + self.events * EVENT.itemsize

    def window(self, print_: int) -> tuple[int, int]:
        """First and last place, included, between which a print lies, but for once in a great many."""
        share = print_ / 2.0**64
        at, margin = share * self.rows, _MARGIN * (self.rows * share * (1 - share)) ** 0.5 + 8
        return max(0, int(at - margin)), min(self.rows - 1, int(at + margin))

    def fields(self, place: int) -> list[tuple[int, int]]:
        """First and last byte, included, of a row's event, frequency and last use."""
        starts = (self.rows * 8 + place * 2, self.rows * 10 + place * 4, self.rows * 14 + place * 4)
        return [(start, start + size - 1) for start, size in zip(starts, (2, 4, 4), strict=True)]

    def event(self, number: int) -> tuple[int, int]:
        """First and last byte, included, of an event."""
        start = self.rows * ROW_BYTES + number * EVENT.itemsize
        return start, start + EVENT.itemsize - 1


def pack(parts: list[Departed]) -> tuple[ChunkShape, bytes]:
    """The chunk of `parts`, at most MAX_EVENTS of them."""
    keys = np.concatenate([part.keys for part in parts])
    prints = prints_of(keys)
    order = np.argsort(prints, kind="stable")
    numbers = np.repeat(np.arange(len(parts), dtype="<u2"), [len(part.keys) for part in parts])
    events = np.array([(part.at_s, part.reason, part.score_cut) for part in parts], EVENT)
    columns = [
        prints[order].astype("<u8"),
        numbers[order],
        np.concatenate([part.frequency for part in parts])[order].astype("<u4"),
        np.concatenate([part.last_used for part in parts])[order].astype("<u4"),
        events,
    ]
    return ChunkShape(len(keys), len(parts)), b"".join(column.tobytes() for column in columns)


def find_in(parts: list[Departed], key: int) -> list[Departure]:
    """What `parts` that are not packed yet say of a key."""
    return [
        Departure(part.at_s, part.reason, part.score_cut, int(part.frequency[place]), int(part.last_used[place]))
        for part in parts
        for place in np.flatnonzero(part.keys == key).tolist()
    ]
