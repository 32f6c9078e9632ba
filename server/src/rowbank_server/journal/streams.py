"""Journal streams in Redis: opened, appended to, sealed, read, trimmed.

Fencing. The stream's name carries the epoch and the name of its writer, so that two processes never append to one
stream, even where both got the same epoch because Redis came back older. It is only ever created together with a check,
in one script, that the shard is still its writer's; afterwards it is appended to with NOMKSTREAM. A successor raises
the epoch first and renames the stream of its predecessor then. From that moment on the predecessor can neither append
nor create a stream: what it acknowledged lies in the renamed stream, which the successor replays, and it acknowledges
no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from rowbank_server.journal.tail import TailFinder
from rowbank_server.journal.writer import Barrier, StreamWriter
from rowbank_server.storage.connection import Redis, translated
from rowbank_server.storage.layout import Layout
from rowbank_server.storage.state import EPOCH_SHIFT

_OPEN = """
if tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0') ~= tonumber(ARGV[1]) then return 0 end
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[2] then return 0 end
redis.call('XADD', KEYS[2], '0-1', 'format', '1')
redis.call('HSET', KEYS[1], 'journal:' .. ARGV[1] .. ':' .. ARGV[2], ARGV[3])
return 1
"""
_NOT_KNOWN = 1  # What former versions wrote where the number of writers stands now.
_WHAT = "journal"
_FIELD_PREFIX = b"journal:"
_MOST_READ_ENTRIES = 64
_READ_BYTES = (
    16 << 20
)  # About as much of a sealed stream is in memory at once; an entry has up to 4 MiB, or one record.


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as found; `place` names it for people: epoch, entry, field."""

    place: str
    data: bytes


class JournalStreams:
    """The streams of one shard, by epoch and name of their writer. Methods raise RedisUnavailable when Redis fails.

    Args:
        owner: the name of this process.
        writers: at most so many threads of it have records that are begun and not queued yet; 0: not known.
    """

    def __init__(self, redis: Redis, layout: Layout, *, shard: int, owner: str, writers: int = 0) -> None:
        self._redis = redis
        self._layout = layout
        self._shard = shard
        self._owner = owner
        self._writers = writers
        self._sealed_writers: dict[str, int] = {}
        self._open = redis.register_script(_OPEN)
        self._tails = TailFinder(redis)
        self._looked: tuple[str, int, int] = ("", 0, 0)  # Stream, position, the entry that `look_ahead` found.

    def open(self, epoch: int) -> bool:
        """Creates this process's stream of `epoch`; False: another process has the shard by now."""
        keys = [self._layout.state(self._shard), self._layout.journal(self._shard, self._name(epoch))]
        with translated(_WHAT):
            return bool(self._open(keys=keys, args=[epoch, self._owner, self._writers]))

    def seal_older(self, epoch: int) -> list[str]:
        """Takes the streams of earlier epochs from their writers; returns those that exist, oldest first."""
        found = []
        with translated(_WHAT):
            fields: dict[bytes, bytes] = self._redis.hgetall(self._layout.state(self._shard))
            self._sealed_writers = {
                name[len(_FIELD_PREFIX) :].decode(): int(writers)
                for name, writers in fields.items()
                if name.startswith(_FIELD_PREFIX)
            }
            for stream in sorted(self._sealed_writers, key=_epoch_of):
                if _epoch_of(stream) >= epoch:
                    break
                self._seal(stream)
                if self._redis.exists(self._layout.sealed_journal(self._shard, stream)):
                    found.append(stream)
                else:  # It is gone, and nobody can create it any more.
                    self._redis.hdel(self._layout.state(self._shard), _field(stream))
        return found

    def read_sealed(self, stream: str) -> Iterator[StoredRecord]:
        """The records of a sealed stream, in order."""
        yield from self._read(self._layout.sealed_journal(self._shard, stream), stream, "0-1")

    def read_tail(self, stream: str, *, above: int) -> Iterator[StoredRecord]:
        """The records of a sealed stream whose positions are above `above`, in order, and maybe others."""
        epoch, key = _epoch_of(stream), self._layout.sealed_journal(self._shard, stream)
        if above >> EPOCH_SHIFT > epoch:
            return
        if above >> EPOCH_SHIFT < epoch:
            yield from self.read_sealed(stream)
            return
        looked, position, first = self._looked
        if looked != stream or above < position:
            with translated(_WHAT):
                first = self._first(key, above, self._sealed_writers.get(stream, 0))
        yield from self._read(key, stream, f"{first - 1}-1" if first else "0-1")

    def look_ahead(self, epoch: int, owner: str, *, above: int) -> None:
        """Finds out where `read_tail` will have to begin in another's stream, before it is sealed.

        What is found stays true: whatever is appended later comes later.
        """
        stream = f"{epoch}:{owner}"
        with translated(_WHAT):
            writers = int(self._redis.hget(self._layout.state(self._shard), _field(stream)) or 0)
            self._looked = stream, above, self._first(self._layout.journal(self._shard, stream), above, writers)

    def _first(self, key: str, above: int, writers: int) -> int:
        """Where the positions above `above` begin; 0: anywhere."""
        return 0 if writers <= _NOT_KNOWN else self._tails.first_group(key, above=above, writers=writers)

    def read_own(self, epoch: int, first_group: int) -> Iterator[StoredRecord]:
        """The records of this process's stream of `epoch`, from an entry on, in order."""
        yield from self._read(self._key(epoch), self._name(epoch), f"{first_group - 1}-1")

    def _read(self, key: str, stream: str, after: str) -> Iterator[StoredRecord]:
        count = 1
        while True:
            with translated(_WHAT):
                entries: Any = self._redis.xrange(key, min=f"({after}", count=count)
            asked, size = count, sum(len(value) for _, fields in entries for value in fields.values())
            count = min(_MOST_READ_ENTRIES, 2 * count, max(1, count * _READ_BYTES // max(1, size)))
            for entry_id, fields in entries:
                after = entry_id.decode()
                for name, value in fields.items():
                    yield StoredRecord(f"{stream}/{after}/{name.decode(errors='replace')}", value)
            if len(entries) < asked:
                return

    def quarantine(self, record: StoredRecord) -> None:
        """Keeps a copy of a record that cannot be replayed."""
        with translated(_WHAT):
            self._redis.hset(self._layout.journal_quarantine(self._shard), record.place, record.data)

    def delete_sealed(self, streams: Sequence[str]) -> None:
        """Deletes sealed streams; everything in them must have been written back."""
        with translated(_WHAT):
            for stream in streams:
                self._delete(self._layout.sealed_journal(self._shard, stream), stream)

    def trim(self, epoch: int, first_group: int) -> None:
        """Deletes the entries before `first_group`."""
        with translated(_WHAT):
            self._redis.xtrim(self._key(epoch), minid=f"{first_group}-0", approximate=False)

    def close(self, epoch: int) -> None:
        """Deletes this process's own stream; everything in it must have been written back."""
        with translated(_WHAT):
            self._delete(self._key(epoch), self._name(epoch))

    def writer(self, epoch: int) -> StreamWriter:
        """Appends to the stream of `epoch`."""
        return StreamWriter(self._redis, self._key(epoch))

    def barrier(self) -> Barrier:
        """Waits until what was appended is on disk or on replicas."""
        return Barrier(self._redis, self._layout.state(self._shard))

    def _name(self, epoch: int) -> str:
        return f"{epoch}:{self._owner}"

    def _key(self, epoch: int) -> str:
        return self._layout.journal(self._shard, self._name(epoch))

    def _delete(self, key: str, stream: str) -> None:
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.unlink(key)
            pipeline.hdel(self._layout.state(self._shard), _field(stream))
            pipeline.execute()

    def _seal(self, stream: str) -> None:
        try:
            self._redis.rename(
                self._layout.journal(self._shard, stream), self._layout.sealed_journal(self._shard, stream)
            )
        except ResponseError as error:
            if "no such key" not in str(error):  # Sealed before, or never written.
                raise


def _epoch_of(stream: str) -> int:
    return int(stream.partition(":")[0])


def _field(stream: str) -> bytes:
    return _FIELD_PREFIX + stream.encode()
