"""Where the streams of all shards meet: each has room for so many bytes, and they are emptied in turn."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank_protos.v1 import deltas_pb2


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """One step of a shard's stream; see `ChangeBatch` for what the fields mean. Without a table: how far it is.

    Attributes:
        place: everything up to here has been told with this; None: a picture is under way.
    """

    shard: int
    place: deltas_pb2.StreamPosition | None = None
    table: str = ""
    keys: npt.NDArray[np.int64] | None = None
    values: npt.NDArray[np.float32] | None = None
    positions: npt.NDArray[np.uint64] | None = None
    removed: npt.NDArray[np.int64] | None = None
    reasons: npt.NDArray[np.uint8] | None = None
    oldest_ms: int = 0
    done_s: float = 0.0
    picture: bool = False
    restarted: bool = False
    whole: bool = False
    dropped: bool = False

    @property
    def size(self) -> int:
        """Bytes, roughly."""
        columns = (self.keys, self.values, self.positions, self.removed, self.reasons)
        return 256 + sum(column.nbytes for column in columns if column is not None)


class Inbox:
    """News of all shards: `put` by their threads, `take`n by the follower.

    Args:
        room_bytes: how much each shard may have waiting; one piece of news that is larger is taken when there is none.
    """

    def __init__(self, shard_count: int, *, room_bytes: int) -> None:
        self._changed = threading.Condition()
        self._waiting: list[deque[News]] = [deque() for _ in range(shard_count)]
        self._bytes = [0] * shard_count
        self._room_bytes = room_bytes
        self._next = 0
        self._failure: BaseException | None = None
        self._closed = False

    def put(self, news: News) -> bool:
        """Waits for room; False: the inbox was closed, or has failed, so that the failure comes after what waits."""
        with self._changed:
            waiting, shard = self._waiting[news.shard], news.shard
            if not news.table and waiting and not waiting[-1].table:
                waiting[-1] = news  # Two signs of how far it is are one.
                return not self._is_over()
            while self._bytes[shard] and self._bytes[shard] + news.size > self._room_bytes and not self._is_over():
                self._changed.wait()
            if self._is_over():
                return False
            waiting.append(news)
            self._bytes[shard] += news.size
            self._changed.notify_all()
            return True

    @property
    def over(self) -> bool:
        """Whether nothing is taken in any more."""
        with self._changed:
            return self._is_over()

    def fail(self, failure: BaseException) -> None:
        """Ends the following with an error, once everything that came before was taken."""
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()

    def check(self) -> None:
        """Raises what `fail` was given."""
        with self._changed:
            if self._failure is not None:
                raise self._failure

    def close(self) -> None:
        """Wakes everybody; there will be no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, timeout_s: float | None) -> News | None:
        """The next piece of news, of each shard in turn; None: none came in time, or the inbox is closed.

        Raises: what `fail` was given.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not any(self._waiting):
                if self._failure is not None:
                    raise self._failure
                left = None if deadline is None else deadline - time.monotonic()
                if self._closed or (left is not None and left <= 0.0):
                    return None
                self._changed.wait(left)
            return self._pop()

    def signs(self) -> list[News]:
        """Of each shard, how far it is, where no change waits before that."""
        with self._changed:
            found = [waiting.popleft() for waiting in self._waiting if waiting and not waiting[0].table]
            for news in found:
                self._bytes[news.shard] -= news.size
            self._changed.notify_all()
            return found

    def _is_over(self) -> bool:
        return self._closed or self._failure is not None

    def _pop(self) -> News:
        count = len(self._waiting)
        shard = next(one % count for one in range(self._next, self._next + count) if self._waiting[one % count])
        self._next = shard + 1
        news = self._waiting[shard].popleft()
        self._bytes[shard] -= news.size
        self._changed.notify_all()
        return news
