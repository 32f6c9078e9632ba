"""A follower of tables: what `Client.follow` gives."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from rowbank.calls.following.inbox import Inbox, News
from rowbank.calls.following.streams import Request, ShardStream
from rowbank.calls.routing import Layout
from rowbank.calls.transport import Transport
from rowbank.changes import REASONS, ChangeBatch, Place, position_text, read_position
from rowbank.errors import DeadlineExceeded, InvalidRequest, shown
from rowbank_protos.v1 import deltas_pb2

if TYPE_CHECKING:
    from typing_extensions import Self

_DETAILS = {"keys": deltas_pb2.FOLLOW_DETAIL_KEYS, "rows": deltas_pb2.FOLLOW_DETAIL_ROWS}
_NOW = "now"
_ROOM_BYTES = 16 << 20
_LOOK_EVERY_S = 0.1
_NO_KEYS = np.empty(0, np.int64)
_NO_REASONS = np.empty(0, np.uint8)


class Follower:
    """Changes of tables as they happen, from all shards: iterate over it, or `poll`. See `Client.follow`.

    Of one row, changes come in order; shards are not in step with each other. For one thread at a time; `close` may be
    called by any. It belongs to the process that made it.
    """

    def __init__(
        self,
        transport: Transport,
        layout: Layout,
        tables: str | Sequence[str],
        since: str | None,
        detail: str,
        name: str,
    ) -> None:
        names = _names(tables)
        if not isinstance(name, str):
            raise InvalidRequest(f"name: expected a text, got {shown(name)}")
        if detail not in _DETAILS:
            raise InvalidRequest(f"detail: expected 'keys' or 'rows', got {shown(detail)}")
        if since is not None and not isinstance(since, str):
            raise InvalidRequest(f"since: expected None, 'now' or the position of a batch, got {shown(since)}")
        self._layout, self._pid = layout, os.getpid()
        count = layout.shard_count
        self._places: list[Place] = [None] * count if since in (None, _NOW) else read_position(str(since), count)
        self._pictures: set[tuple[int, str]] = set()
        self._inbox = Inbox(count, room_bytes=_ROOM_BYTES)
        asked = deltas_pb2.FollowRequest(
            name=name or f"{socket.gethostname()}:{os.getpid()}",
            detail=_DETAILS[detail],
            tables=names,
            start=deltas_pb2.FOLLOW_START_NOW if since == _NOW else deltas_pb2.FOLLOW_START_PICTURE,
        )
        self._streams = [
            ShardStream(transport, shard, self._inbox, _requests(asked), place, rows=detail == "rows")
            for shard, place in enumerate(self._places)
        ]
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._look_after, name="rowbank-follow-watch", daemon=True)
        self._open(transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[ChangeBatch]:
        return self

    def __next__(self) -> ChangeBatch:
        batch = self.poll(None)
        if batch is None:
            raise StopIteration
        return batch

    def poll(self, timeout_s: float | None = 0.0) -> ChangeBatch | None:
        """The next batch; None: there is none within that time, or the follower is closed.

        Args:
            timeout_s: seconds; None: as long as it takes.
        Raises:
            ClientClosed: the client was closed.
            RequestError: a shard refuses to be followed on.
        """
        self._require_process()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            news = self._inbox.take(left)
            if news is None:
                return None
            self._places[news.shard] = news.place or self._places[news.shard]
            if news.table:
                return self._batch(news)

    @property
    def position(self) -> str:
        """How far it is with the batches that were taken, for another follower's `since`."""
        self._take_signs()
        return position_text(self._places)

    @property
    def whole(self) -> bool:
        """Whether the batches that were taken make up everything that its position says: no picture is half read."""
        self._take_signs()
        return not self._pictures and all(self._places)

    def close(self) -> None:
        """Ends the streams; whoever waits for a batch gets none. Calling it twice does no harm."""
        if os.getpid() != self._pid:
            return  # The streams are the parent's.
        self._stop.set()
        self._inbox.close()
        for stream in self._streams:
            stream.stop()
        for stream in self._streams:
            stream.join()

    def _open(self, transport: Transport) -> None:
        """Starts the threads, and waits until every shard has answered, so that the start is where the caller asked."""
        try:
            for stream in self._streams:
                stream.start()
            self._watch.start()
            deadline = time.monotonic() + transport.timeout_s
            for shard, stream in enumerate(self._streams):
                while not stream.connected.wait(0.05):
                    self._inbox.check()
                    if time.monotonic() > deadline:
                        raise stream.last_error or DeadlineExceeded(
                            f"follow: shard {shard} at {transport.shards[shard].target} did not answer in "
                            f"{transport.timeout_s:g} s"
                        )
        except BaseException:
            self.close()
            raise

    def _take_signs(self) -> None:
        for news in self._inbox.signs():
            self._places[news.shard] = news.place or self._places[news.shard]

    def _look_after(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S) and any(stream.runs for stream in self._streams):
            for stream in self._streams:
                stream.look_after()

    def _batch(self, news: News) -> ChangeBatch:
        if news.restarted:
            self._pictures.add((news.shard, news.table))
        elif news.whole or news.dropped:
            self._pictures.discard((news.shard, news.table))
        reasons = _NO_REASONS if news.reasons is None else news.reasons
        return ChangeBatch(
            table=news.table,
            shard=news.shard,
            keys=_NO_KEYS if news.keys is None else news.keys,
            values=news.values,
            positions=news.positions,
            removed=_NO_KEYS if news.removed is None else news.removed,
            reasons=REASONS[np.where(reasons < len(REASONS), reasons, 0)],
            position=position_text(self._places),
            oldest_s=news.oldest_ms / 1000.0,
            done_s=news.done_s,
            picture=news.picture,
            restarted=news.restarted,
            whole=news.whole,
            dropped=news.dropped,
            shard_count=self._layout.shard_count,
            bucket_count=self._layout.bucket_count,
        )

    def _require_process(self) -> None:
        if os.getpid() != self._pid:
            raise InvalidRequest(
                f"the follower belongs to process {self._pid}, which forked this one; follow the tables here anew"
            )


def _names(tables: str | Sequence[str]) -> list[str]:
    names = [tables] if isinstance(tables, str) else tables
    if not isinstance(names, Sequence) or not all(isinstance(one, str) and one for one in names):
        raise InvalidRequest(f"tables: expected a table's name or a list of names, got {shown(tables)}")
    return list(names)


def _requests(asked: deltas_pb2.FollowRequest) -> Request:
    def request(place: Place) -> deltas_pb2.FollowRequest:
        made = deltas_pb2.FollowRequest()
        made.CopyFrom(asked)
        if place is not None:
            made.start = deltas_pb2.FOLLOW_START_POSITION
            made.since.CopyFrom(place)
        return made

    return request
