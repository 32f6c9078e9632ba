"""Evicted rows that come back with a push: offered, looked through under the locks, and added before it is applied."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rowbank_protos.columns import pack_keys
from rowbank_protos.v1 import rows_pb2
from rowbank_server import _core
from rowbank_server.ps.tables.table import ShardTable


@dataclass(frozen=True, slots=True)
class Returned:
    """`keys` [n] int64 with their n packed rows, one after the other. They count where their keys have no rows."""

    keys: npt.NDArray[np.int64]
    rows: bytes


class GoneMeanwhileError(Exception):
    """A row went to the store after it was looked for: it has to be looked for again. Nothing was applied."""


@dataclass(slots=True)
class Offer:
    """Cold rows as they were found a moment ago.

    Attributes:
        keys: [n] int64, with `stamps` [n] uint64 and n packed `rows`.
        tried: the stamps of all keys that were looked for, found or not.
        last: what went meanwhile is not looked for again.
    """

    keys: npt.NDArray[np.int64]
    stamps: npt.NDArray[np.uint64]
    rows: Sequence[bytes]
    tried: dict[int, int] = field(default_factory=dict)
    last: bool = False

    @property
    def bytes(self) -> int:
        """What they add to a push's record."""
        return sum(len(row) + 8 for row in self.rows)

    def part(self, chosen: slice) -> Offer:
        """Some of them."""
        return Offer(self.keys[chosen], self.stamps[chosen], self.rows[chosen], self.tried, self.last)

    def taken(self, table: ShardTable, absent: npt.NDArray[np.int64]) -> Returned | None:
        """What comes back of the keys `absent`, which have no rows; None: nothing.

        REQUIRES: the caller holds the locks of a push, so that it stays so until that is applied.

        Raises:
            GoneMeanwhileError: a row is in the store that was not looked for there.
        """
        cold = table.second_chance.rows
        at, stamps, places = cold.find(absent)
        if not len(at):
            return None
        offered = {
            (key, stamp): row
            for key, stamp, row in zip(self.keys.tolist(), self.stamps.tolist(), self.rows, strict=True)
        }
        keys, rows = [], []
        for key, stamp, place in zip(absent[at].tolist(), stamps.tolist(), places.tolist(), strict=True):
            row = cold.waiting_row(key) if place == _core.COLD_WAITING else b""
            row = row or offered.get((key, stamp), b"")  # A write-back may just have stored the one that waited.
            if row:
                keys.append(key)
                rows.append(row)
            elif self.tried.get(key) != stamp and not self.last:
                raise GoneMeanwhileError
        return Returned(np.array(keys, np.int64), b"".join(rows)) if keys else None


class Arrivals:
    """Around the application of a part of a push: lets rows come back before, and says which came to be."""

    def __init__(
        self, table: ShardTable, absent: npt.NDArray[np.int64], returned: Returned | None, position: int
    ) -> None:
        self._chance = table.second_chance
        self._rows = table.rows
        self._absent = absent
        self._added = 0
        if returned is not None:
            self._added = table.rows.add_packed(returned.keys, returned.rows, position=position)
            self._chance.forget(returned.keys, returned=self._added)

    def end(self) -> None:
        """The push is applied: what was cold and has a row now is so no more."""
        if len(self._absent):
            self._chance.forget(self._absent[self._rows.contains(self._absent) != 0])


def absent_of(table: ShardTable, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Those of `keys` that have no rows, where evicted rows come back; else none."""
    return keys[table.rows.contains(keys) == 0] if table.second_chance.on else keys[:0]


def lock_chances(tables: Iterable[ShardTable], held: contextlib.ExitStack) -> None:
    """Takes the locks of the tables' second chances, where they are given one, into `held`."""
    for table in sorted(set(tables), key=lambda table: table.entry.table_id):
        if table.second_chance.on:
            held.enter_context(table.second_chance.lock)


def with_returned(request: bytes, returned: Sequence[Returned | None]) -> bytes:
    """A serialized PushRequest, which has no such rows, with what `returned` in each of its parts."""
    if not any(returned):
        return request
    rows = [
        rows_pb2.ReturnedRows(part=part, keys=pack_keys(one.keys), rows=one.rows)
        for part, one in enumerate(returned)
        if one is not None
    ]
    return request + rows_pb2.PushRequest(returned=rows).SerializeToString()
