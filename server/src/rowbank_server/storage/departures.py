"""The history of single keys: which left a shard's tables, when and why, for days, within a number of bytes.

What leaves is noted in RAM and written in chunks. A table's last chunk is written again as it grows, until it is full
or an hour old. While Redis is away chunks wait here, up to a number of rows; the oldest are given up. In Redis the
oldest chunks of all tables go when there are too many bytes, and each after its time.
"""

from __future__ import annotations

import collections
import json
import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rowbank_server.storage.connection import Redis, translated
from rowbank_server.storage.departed_chunk import (
    EVENT,
    MAX_EVENTS,
    ChunkShape,
    Departed,
    Departure,
    find_in,
    pack,
    prints_of,
)
from rowbank_server.storage.layout import Layout

_log = logging.getLogger("rowbank.ps")
_CHUNK_ROWS = 32_768
_CHUNK_S = 3600
_WRITE_EVERY_S = 10.0
_WAITING_ROWS = 1_000_000  # 18 MB; the oldest are given up.
_WHAT = "history of keys"


@dataclass(slots=True)
class _Open:
    """A chunk that may still grow. `name` is that in Redis."""

    name: str
    began_s: float
    parts: list[Departed] = field(default_factory=list)
    rows: int = 0
    written_rows: int = 0
    written_s: float = 0.0

    def full(self, now_s: float) -> bool:
        return self.rows >= _CHUNK_ROWS or len(self.parts) >= MAX_EVENTS or now_s - self.began_s >= _CHUNK_S


@dataclass(frozen=True, slots=True)
class _Stored:
    """A chunk in Redis."""

    shape: ChunkShape
    last_s: int


class DepartureHistory:
    """Notes, writes and finds departures of one shard's tables. Thread-safe.

    Args:
        max_bytes: of chunks in Redis; 0: nothing is noted.
        retention_s: how long a chunk is kept.
    """

    def __init__(self, redis: Redis, layout: Layout, *, shard: int, max_bytes: int, retention_s: float) -> None:
        self._redis = redis
        self._layout = layout
        self._shard = shard
        self._max_bytes = max_bytes
        self._retention_s = int(retention_s)
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._open: dict[int, _Open] = {}
        self._full: collections.deque[tuple[int, _Open]] = collections.deque()
        self._stored: dict[int, dict[str, _Stored]] | None = None
        self._serial = 0
        self.given_up_rows = 0

    @property
    def stored_bytes(self) -> int:
        """Bytes of chunks in Redis, as far as this process has looked."""
        stored = self._stored or {}
        return sum(chunk.shape.bytes for chunks in list(stored.values()) for chunk in list(chunks.values()))

    def note(self, departed: Departed) -> None:
        """Keeps what left, in RAM until it is written. Large batches are cut into chunks."""
        if not self._max_bytes:
            return
        with self._lock:
            for first in range(0, len(departed.keys), _CHUNK_ROWS):
                self._note(departed, slice(first, first + _CHUNK_ROWS))
            self._give_up()

    def _note(self, departed: Departed, rows: slice) -> None:
        part = Departed(
            departed.table_id,
            departed.at_s,
            departed.reason,
            departed.score_cut,
            departed.keys[rows].copy(),
            departed.frequency[rows].copy(),
            departed.last_used[rows].copy(),
        )
        chunk = self._open.get(departed.table_id)
        if chunk is None or chunk.full(time.time()):
            self._seal(departed.table_id)
            self._serial += 1
            now = time.time()
            chunk = self._open[departed.table_id] = _Open(f"{int(now * 1000)}-{self._serial}", now)
        chunk.parts.append(part)
        chunk.rows += len(part.keys)

    def _seal(self, table_id: int) -> None:
        chunk = self._open.pop(table_id, None)
        if chunk is not None and chunk.written_rows < chunk.rows:
            self._full.append((table_id, chunk))

    def _give_up(self) -> None:
        waiting = sum(chunk.rows for _, chunk in self._full)
        while self._full and waiting > _WAITING_ROWS:
            _, chunk = self._full.popleft()
            waiting -= chunk.rows
            self.given_up_rows += chunk.rows

    def write(self, table_ids: Iterable[int], *, all_now: bool = False) -> None:
        """Writes what is due, and forgets what is too old or too much, or of tables that are none of `table_ids`.

        Args:
            all_now: also what is not due yet.
        Raises:
            RedisUnavailable: what was not written goes on waiting.
        """
        if not self._max_bytes:
            return
        known = set(table_ids)
        with self._writing, translated(_WHAT):
            stored = self._load(known)
            for table_id in [*stored.keys() - known]:
                self._delete(table_id, list(stored[table_id]))
                del stored[table_id]
            with self._lock:
                for table_id in self._open.keys() - known:
                    del self._open[table_id]
            while self._full:
                table_id, chunk = self._full[0]
                if table_id in known:
                    self._store(table_id, chunk)
                with self._lock:
                    if self._full and self._full[0][1] is chunk:
                        self._full.popleft()
            for table_id, chunk in list(self._open.items()):
                due = all_now or time.monotonic() - chunk.written_s >= _WRITE_EVERY_S
                if chunk.rows > chunk.written_rows and due and table_id in known:
                    self._store(table_id, chunk)
            self._trim(stored)

    def find(self, table_id: int, key: int) -> list[Departure]:
        """When and why `key` left, newest first. Raises RedisUnavailable."""
        with self._lock:
            waiting = [part for id_, chunk in self._full if id_ == table_id for part in chunk.parts]
            unwritten = self._open.get(table_id)
            written = {chunk.name for _, chunk in self._full}
            if unwritten is not None:
                waiting += unwritten.parts
                written.add(unwritten.name)
        with translated(_WHAT):
            chunks = sorted(self._index(table_id).items())
            found = self._find_stored(table_id, key, {n: c for n, c in chunks if n not in written})
        found += find_in(waiting, key)
        found.reverse()  # Of one second, the last noted first.
        return sorted(found, key=lambda departure: -departure.at_s)

    def reaches_back_to(self, table_id: int) -> int:
        """Unix seconds of the oldest departure that may be told; 0: none is kept. Raises RedisUnavailable."""
        with translated(_WHAT):
            names = [int(name.partition("-")[0]) // 1000 for name in self._index(table_id)]
        with self._lock:
            chunk = self._open.get(table_id)
            if chunk is not None:
                names.append(int(chunk.began_s))
        return min(names, default=0)

    def _find_stored(self, table_id: int, key: int, chunks: dict[str, _Stored]) -> list[Departure]:
        wanted = int(prints_of(np.array([key], np.int64))[0])
        pipe = self._redis.pipeline(transaction=False)
        windows = {name: chunk.shape.window(wanted) for name, chunk in chunks.items()}
        for name, (first, last) in windows.items():
            pipe.getrange(self._layout.departed(table_id, self._shard, name), first * 8, last * 8 + 7)
        found = []
        for (name, (first, last)), data in zip(windows.items(), pipe.execute() if windows else [], strict=True):
            shape = chunks[name].shape
            prints = np.frombuffer(data[: len(data) // 8 * 8], "<u8")
            outside = len(prints) > 0 and (
                (first > 0 and int(prints[0]) >= wanted) or (last < shape.rows - 1 and int(prints[-1]) <= wanted)
            )
            if outside:
                key_name = self._layout.departed(table_id, self._shard, name)
                first, prints = 0, np.frombuffer(self._redis.getrange(key_name, 0, shape.rows * 8 - 1), "<u8")
            for place in np.flatnonzero(prints == np.uint64(wanted)).tolist():
                found += self._row(table_id, name, shape, first + place)
        return found

    def _row(self, table_id: int, name: str, shape: ChunkShape, place: int) -> list[Departure]:
        key_name = self._layout.departed(table_id, self._shard, name)
        pipe = self._redis.pipeline(transaction=False)
        for first, last in shape.fields(place):
            pipe.getrange(key_name, first, last)
        columns = pipe.execute()
        event_at = shape.event(int.from_bytes(columns[0], "little"))
        event = np.frombuffer(self._redis.getrange(key_name, *event_at), EVENT)
        if not len(event):  # It expired between two looks.
            return []
        frequency, last_used = (int.from_bytes(column, "little") for column in columns[1:])
        at_s, reason, cut = event[0].tolist()
        return [Departure(at_s, reason, cut, frequency, last_used)]

    def _index(self, table_id: int) -> dict[str, _Stored]:
        told: dict[bytes, bytes] = self._redis.hgetall(self._layout.departures(table_id, self._shard))
        return {name.decode(): _stored(json.loads(text)) for name, text in told.items()}

    def _load(self, known: set[int]) -> dict[int, dict[str, _Stored]]:
        if self._stored is None:
            self._stored = {}
        for table_id in known - self._stored.keys():
            self._stored[table_id] = self._index(table_id)
        return self._stored

    def _store(self, table_id: int, chunk: _Open) -> None:
        with self._lock:
            parts = list(chunk.parts)
        shape, data = pack(parts)
        stored = _Stored(shape, max(part.at_s for part in parts))
        index, name = self._layout.departures(table_id, self._shard), chunk.name
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(self._layout.departed(table_id, self._shard, name), data, ex=self._retention_s)
        text = json.dumps({"rows": shape.rows, "events": shape.events, "last_s": stored.last_s})
        pipe.hset(index, name, text)
        pipe.expire(index, self._retention_s)
        pipe.execute()
        assert self._stored is not None
        self._stored[table_id][name] = stored
        chunk.written_rows, chunk.written_s = shape.rows, time.monotonic()

    def _trim(self, stored: dict[int, dict[str, _Stored]]) -> None:
        oldest_kept = time.time() - self._retention_s
        by_age = sorted((chunk.last_s, id_, name) for id_, chunks in stored.items() for name, chunk in chunks.items())
        total = self.stored_bytes
        growing = {chunk.name for chunk in list(self._open.values())}
        for last_s, table_id, name in by_age:
            if last_s >= oldest_kept and total <= self._max_bytes:
                break
            if name not in growing:
                total -= stored[table_id].pop(name).shape.bytes
                self._delete(table_id, [name])

    def _delete(self, table_id: int, names: list[str]) -> None:
        if not names:
            return
        pipe = self._redis.pipeline(transaction=False)
        pipe.hdel(self._layout.departures(table_id, self._shard), *names)
        for name in names:
            pipe.delete(self._layout.departed(table_id, self._shard, name))
        pipe.execute()


def _stored(told: dict[str, Any]) -> _Stored:
    return _Stored(ChunkShape(told["rows"], told["events"]), told["last_s"])
