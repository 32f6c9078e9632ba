"""What the messages of a shard's stream mean, one after the other."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import numpy as np

from rowbank.calls.following.inbox import News
from rowbank.errors import WrongShard
from rowbank_protos import columns
from rowbank_protos.v1 import deltas_pb2

_NO_KEYS = np.empty(0, np.int64)
_NO_REASONS = np.empty(0, np.uint8)


class Reader:
    """Turns one stream's messages into news. What it knows of the tables goes on over a cut.

    Args:
        shard: whose stream it is; `shard_count` of how many.
        rows: whether values and positions come with the keys.
    """

    def __init__(self, shard: int, shard_count: int, *, rows: bool) -> None:
        self._shard, self._shard_count, self._rows = shard, shard_count, rows
        self._tables: dict[int, deltas_pb2.FollowedTable] = {}
        self._open: set[int] = set()
        self.hello: deltas_pb2.FollowHello | None = None
        self._asked_s = 0.0  # When this stream was asked for, by our monotonic clock.
        self._hello_ms = 0  # When the server made its first message, by its own.

    def begin(self) -> None:
        """Another stream begins."""
        self._open.clear()
        self.hello = None
        self._asked_s = time.monotonic()

    def read(self, message: deltas_pb2.FollowResponse) -> Iterator[News]:
        """The news in a message; the last has its position."""
        place = message.position if message.HasField("position") else None
        news = list(self._content(message))
        yield from news[:-1]
        last = news[-1] if news else None
        if last is not None:
            yield dataclasses.replace(last, place=place)
        elif place is not None:
            yield News(self._shard, place)

    def _content(self, message: deltas_pb2.FollowResponse) -> Iterator[News]:
        kind = message.WhichOneof("content")
        if kind == "hello":
            self._greet(message.hello)
            self._hello_ms = message.at_ms
        elif kind == "tables":
            yield from self._list(message.tables)
        elif kind == "picture_start":
            yield from self._start(message.picture_start.table_id)
        elif kind == "picture_end":
            yield from self._end(message.picture_end.table_id)
        elif kind == "changes":
            yield self._changes(message.changes)

    def _greet(self, hello: deltas_pb2.FollowHello) -> None:
        if (hello.shard, hello.shard_count) != (self._shard, self._shard_count):
            raise WrongShard(
                f"follow: expected the stream of shard {self._shard} of {self._shard_count}, got that of shard "
                f"{hello.shard} of {hello.shard_count}"
            )
        self.hello = hello

    def _list(self, listed: deltas_pb2.FollowedTables) -> Iterator[News]:
        known, self._tables = self._tables, {table.table_id: table for table in listed.tables}
        for table_id, table in known.items():
            if table_id not in self._tables:
                self._open.discard(table_id)
                yield self._news(table, dropped=True)

    def _start(self, table_id: int) -> Iterator[News]:
        if table_id in self._tables:
            self._open.add(table_id)
            yield self._news(self._tables[table_id], picture=True, restarted=True)

    def _end(self, table_id: int) -> Iterator[News]:
        if table_id in self._open:
            self._open.discard(table_id)
            yield self._news(self._tables[table_id], picture=True, whole=True)

    def _news(
        self,
        table: deltas_pb2.FollowedTable,
        *,
        picture: bool = False,
        restarted: bool = False,
        whole: bool = False,
        dropped: bool = False,
    ) -> News:
        return News(
            self._shard, table=table.spec.name, picture=picture, restarted=restarted, whole=whole, dropped=dropped
        )

    def _done_s(self, at_ms: int) -> float:
        """When something was done, by our clock: as long after we asked as it was after the greeting by theirs."""
        return min(time.monotonic(), self._asked_s + (at_ms - self._hello_ms) / 1000.0) if at_ms else 0.0

    def _changes(self, changes: deltas_pb2.RowChanges) -> News:
        keys = columns.unpack_keys(changes.keys)
        table = self._tables.get(changes.table_id)
        values = positions = None
        if self._rows:
            dim = table.spec.dim if table else 0
            values = np.require(
                columns.unpack_values(changes.values, row_count=len(keys), dim=dim), np.float32, requirements="A"
            )
            positions = np.frombuffer(changes.positions, "<u8")
        return News(
            self._shard,
            table=changes.table,
            keys=keys,
            values=values,
            positions=positions,
            removed=columns.unpack_keys(changes.removed, name="removed") if changes.removed else _NO_KEYS,
            reasons=np.frombuffer(changes.removed_reasons, np.uint8) if changes.removed_reasons else _NO_REASONS,
            oldest_ms=changes.oldest_ms,
            done_s=self._done_s(changes.oldest_ms),
            picture=changes.picture,
        )
