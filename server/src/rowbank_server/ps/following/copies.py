"""What this process has of the owner's tables: which are whole, which are being filled, and which are void.

A table that is void is not read and not a reason to wait for: it is asked for anew, and a new native table is filled
while the old one is let go, so that a copy never needs its memory twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rowbank_protos.columns import unpack_keys
from rowbank_protos.v1 import deltas_pb2
from rowbank_server.ps.durability.applying import RecordApplier
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.storage.catalog import CatalogEntry


class VoidError(Exception):
    """Tables are void and have to be asked for anew; the text says why."""


@dataclass(slots=True, eq=False)
class Copy:
    """One table. Once it is void it stays so; another object takes its place.

    Attributes:
        whole: it may be read.
        whole_at: it is whole once everything up to this position is applied; None: nobody knows yet.
        whole_at_begin: it was whole when the owner's write-back began that is under way.
        settled: its dirty marks name everything in which Redis differs from it.
    """

    table: ShardTable
    whole: bool = False
    whole_at: int | None = None
    whole_at_begin: bool = False
    settled: bool = False


class Copies:
    """Changed by one thread; `reading` and what is told of all tables may be asked from any.

    Attributes:
        pictures: how many tables were taken whole from the owner.
        picture_rows: rows in them.
    """

    def __init__(self, shard: Shard, applier: RecordApplier) -> None:
        self._shard = shard
        self._applier = applier
        self._copies: dict[int, Copy] = {}
        self._by_name: dict[str, Copy] = {}
        self._known: set[int] = set()  # All tables that were ever listed.
        self._listed = False
        self.pictures = 0
        self.picture_rows = 0

    def __len__(self) -> int:
        return len(self._copies)

    @property
    def whole(self) -> bool:
        """Whether the owner said which tables there are, and all of them are here."""
        return self._listed and all(copy.whole for copy in self._copies.copy().values())

    @property
    def whole_count(self) -> int:
        """How many tables are whole."""
        return sum(copy.whole for copy in self._copies.copy().values())

    def all(self) -> Sequence[Copy]:
        """All tables, by id."""
        return [copy for _, copy in sorted(self._copies.copy().items())]

    def settled(self, table_id: int) -> bool:
        """See `Copy.settled`."""
        copy = self._copies.get(table_id)
        return copy is not None and copy.whole and copy.settled

    def complete(self) -> list[int]:
        """The ids of whole tables."""
        return [table_id for table_id, copy in sorted(self._copies.items()) if copy.whole]

    def reading(self, name: str) -> Copy | None:
        """The table `name` if it may be read now. What was read is good if it is still `whole` afterwards."""
        copy = self._by_name.get(name)
        return copy if copy is not None and copy.whole else None

    def has(self, table_id: int, position: int) -> bool:
        """Whether a whole table has seen that mutation: each table's come in the order of their positions."""
        copy = self._copies.get(table_id)
        return copy is not None and copy.whole and position <= copy.table.seen_through

    def take_list(self, listed: Iterable[deltas_pb2.FollowedTable], *, begins: bool) -> None:
        """Takes over which tables there are.

        Args:
            begins: it is the first list of a stream: new tables come as pictures. Later ones begin empty, but frozen
                ones, which come when they are whole.
        Raises:
            VoidError: a table is back that was gone; what it holds is not known.
        """
        tables = {table.table_id: table for table in listed}
        for table_id in self._copies.keys() - tables.keys():
            self._forget(table_id)
            self._shard.discard(table_id)
        for table_id, table in tables.items():
            entry = CatalogEntry(table_id, table.created_at_s, table.bucket_count, table.spec)
            copy = self._copies.get(table_id)
            if copy is None:
                if table_id in self._known and not begins:
                    raise VoidError(f"table {table.spec.name!r} is back, which was gone")
                self._put(entry, table.step, whole=not begins and not table.spec.frozen)
            elif copy.table.spec != table.spec:
                copy.table.update(entry)
                self._applier.updated(table_id)
        self._known |= tables.keys()
        self._listed = True

    def void(self, table_ids: Iterable[int]) -> list[str]:
        """Takes tables out of service, until a picture of them is here; returns the names of those that were whole."""
        lost = []
        for table_id in table_ids:
            copy = self._copies.get(table_id)
            if copy is not None:
                lost += [copy.table.name] if copy.whole else []
                copy.whole, copy.whole_at = False, None
                self._copies[table_id] = self._by_name[copy.table.name] = Copy(copy.table)
            self._applier.forget(table_id)
        return lost

    def void_all(self) -> list[str]:
        """As `void`, for all tables."""
        return self.void(list(self._copies))

    def start_picture(self, table_id: int) -> None:
        """Begins to fill a table anew. Raises VoidError if the owner never listed it."""
        former = self._copy(table_id)
        self.void([table_id])
        copy = self._put(former.table.entry, 0, whole=False)  # An owner that was killed may have fewer steps.
        self._applier.add(copy.table)

    def load(self, rows: deltas_pb2.PictureRows) -> None:
        """Fills in rows of a picture. Raises VoidError: they are damaged."""
        table = self._copy(rows.table_id).table
        keys = np.require(unpack_keys(rows.keys), requirements="A")
        report = table.rows.load_packed(rows.bucket, keys, rows.packed)
        if report.corrupt:
            raise VoidError(f"table {table.name!r}: {len(report.corrupt)} rows of the picture are damaged")
        self.picture_rows += report.loaded

    def end_picture(self, end: deltas_pb2.PictureEnd) -> None:
        """All rows of a picture are here. Raises VoidError, ValueError: its common row is damaged."""
        copy = self._copy(end.table_id)
        if end.common_row:
            copy.table.rows.load_common_row(end.common_row)
        copy.table.common_position = end.common_position
        copy.table.raise_step(end.step)
        copy.whole_at = end.whole_at
        self.pictures += 1

    def advance(self, position: int) -> list[Copy]:
        """Everything up to `position` is applied; returns the tables that became whole."""
        now_whole = []
        for copy in self._copies.values():
            if not copy.whole and copy.whole_at is not None and copy.whole_at <= position:
                copy.table.seen_through = position
                copy.table.end_replay()
                copy.whole = True
                now_whole.append(copy)
        return now_whole

    def _copy(self, table_id: int) -> Copy:
        copy = self._copies.get(table_id)
        if copy is None:
            raise VoidError(f"a picture of table {table_id}, which the owner has not listed")
        return copy

    def _put(self, entry: CatalogEntry, step: int, *, whole: bool) -> Copy:
        """An empty table. One that is whole was made a moment ago, and every row in it will be marked dirty."""
        copy = Copy(self._shard.adopt(entry, step), settled=whole)
        former = self._by_name.get(entry.name)
        if former is not None and former.table.entry.table_id != entry.table_id:
            self._forget(former.table.entry.table_id)
        self._copies[entry.table_id] = self._by_name[entry.name] = copy
        if whole:
            copy.table.seen_through = 0
            self._applier.add(copy.table)
            copy.whole, copy.whole_at = True, 0
        return copy

    def _forget(self, table_id: int) -> None:
        copy = self._copies.pop(table_id)
        copy.whole, copy.whole_at = False, None
        if self._by_name.get(copy.table.name) is copy:
            del self._by_name[copy.table.name]
        self._applier.forget(table_id)
