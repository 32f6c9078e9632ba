"""Journal streams in Redis: opened, appended to, sealed, read, trimmed.

Fencing. The stream's name carries the epoch of its writer. It is only ever created together with a check, in one
script, that the epoch is still the shard's; afterwards it is appended to with NOMKSTREAM. A successor raises the epoch
first and renames the stream of its predecessor then. From that moment on the predecessor can neither append nor create
a stream: what it acknowledged lies in the renamed stream, which the successor replays, and it acknowledges no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from rowbank_server.journal.writer import Barrier, StreamWriter
from rowbank_server.storage.connection import Redis, translated
from rowbank_server.storage.layout import Layout

_OPEN = """
if tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0') ~= tonumber(ARGV[1]) then return 0 end
redis.call('XADD', KEYS[2], '0-1', 'format', '1')
redis.call('HSET', KEYS[1], 'journal:' .. ARGV[1], '1')
return 1
"""
_WHAT = "journal"
_FIELD_PREFIX = b"journal:"
_READ_ENTRIES = 16


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as found; `place` names it for people: epoch, entry, field."""

    place: str
    data: bytes


class JournalStreams:
    """The streams of one shard. Methods raise RedisUnavailable when Redis cannot be used."""

    def __init__(self, redis: Redis, layout: Layout, *, shard: int) -> None:
        self._redis = redis
        self._layout = layout
        self._shard = shard
        self._open = redis.register_script(_OPEN)

    def open(self, epoch: int) -> bool:
        """Creates the stream of `epoch`; False: the shard has another epoch by now."""
        keys = [self._layout.state(self._shard), self._layout.journal(self._shard, epoch)]
        with translated(_WHAT):
            return bool(self._open(keys=keys, args=[epoch]))

    def seal_older(self, epoch: int) -> list[int]:
        """Takes the streams of earlier epochs from their writers; returns those that exist, oldest first."""
        found = []
        with translated(_WHAT):
            fields: list[bytes] = self._redis.hkeys(self._layout.state(self._shard))
            epochs = sorted(int(name[len(_FIELD_PREFIX) :]) for name in fields if name.startswith(_FIELD_PREFIX))
            for older in epochs:
                if older < epoch:
                    self._seal(older)
                    if self._redis.exists(self._layout.sealed_journal(self._shard, older)):
                        found.append(older)
                    else:  # It is gone, and nobody can create it any more.
                        self._redis.hdel(self._layout.state(self._shard), _field(older))
        return found

    def read_sealed(self, epoch: int) -> Iterator[StoredRecord]:
        """The records of a sealed stream, in order."""
        key, after = self._layout.sealed_journal(self._shard, epoch), "0-1"
        while True:
            with translated(_WHAT):
                entries: Any = self._redis.xrange(key, min=f"({after}", count=_READ_ENTRIES)
            for entry_id, fields in entries:
                after = entry_id.decode()
                for name, value in fields.items():
                    yield StoredRecord(f"{epoch}/{after}/{name.decode(errors='replace')}", value)
            if len(entries) < _READ_ENTRIES:
                return

    def quarantine(self, record: StoredRecord) -> None:
        """Keeps a copy of a record that cannot be replayed."""
        with translated(_WHAT):
            self._redis.hset(self._layout.journal_quarantine(self._shard), record.place, record.data)

    def delete_sealed(self, epochs: Sequence[int]) -> None:
        """Deletes sealed streams; everything in them must have been written back."""
        with translated(_WHAT):
            for epoch in epochs:
                self._delete(self._layout.sealed_journal(self._shard, epoch), epoch)

    def trim(self, epoch: int, first_group: int) -> None:
        """Deletes the entries before `first_group`."""
        with translated(_WHAT):
            self._redis.xtrim(self._layout.journal(self._shard, epoch), minid=f"{first_group}-0", approximate=False)

    def close(self, epoch: int) -> None:
        """Deletes this process's own stream; everything in it must have been written back."""
        with translated(_WHAT):
            self._delete(self._layout.journal(self._shard, epoch), epoch)

    def writer(self, epoch: int) -> StreamWriter:
        """Appends to the stream of `epoch`."""
        return StreamWriter(self._redis, self._layout.journal(self._shard, epoch))

    def barrier(self) -> Barrier:
        """Waits until what was appended is on disk or on replicas."""
        return Barrier(self._redis, self._layout.state(self._shard))

    def _delete(self, stream: str, epoch: int) -> None:
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.unlink(stream)
            pipeline.hdel(self._layout.state(self._shard), _field(epoch))
            pipeline.execute()

    def _seal(self, epoch: int) -> None:
        try:
            self._redis.rename(
                self._layout.journal(self._shard, epoch), self._layout.sealed_journal(self._shard, epoch)
            )
        except ResponseError as error:
            if "no such key" not in str(error):  # Sealed before, or never written.
                raise


def _field(epoch: int) -> bytes:
    return _FIELD_PREFIX + str(epoch).encode()
