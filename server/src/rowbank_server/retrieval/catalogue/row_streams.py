"""A follow of rows over the shards' own streams of changes: one for each shard, by keys, from now on.

A stream that breaks is asked for again from where it was. Where the shard does not know what came since, everything
counts as missed and the stream goes on from now. Times are the shard's, of which only differences are used: a change
is dated by how long after the stream's first message it was done, counted from before that stream was asked for. That
is never too late, whatever the two machines' clocks say, and too early by at most the time that the first message took.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from rowbank_protos.v1 import deltas_pb2, deltas_pb2_grpc
from rowbank_server.retrieval.catalogue.rows_feed import Sink

_log = logging.getLogger("rowbank.api")

_SILENT_S = 1.5  # A stream that says nothing for so long is broken; a sign of life comes every 0.2 s.
_LOOK_S = 0.25
_PAUSES_S = (0.05, 0.1, 0.25, 0.5, 1.0)
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class RowStreams:
    """Follows `tables` on all shards until it is closed.

    Args:
        targets: of each shard its address, or several with "|" between them.
        name: by which the shards' lists of followers name this process.
    """

    def __init__(self, targets: Sequence[str], tables: Sequence[str], sink: Sink, name: str) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._waiting = len(targets)
        self._shards = [_ShardStream(target.split("|"), tables, self, name) for target in targets]
        for shard in self._shards:
            shard.start()
        threading.Thread(target=self._watch, name="rows-watch", daemon=True).start()

    def close(self) -> None:
        """Ends all streams; does not wait for their threads."""
        self._stop.set()
        for shard in self._shards:
            shard.cancel()

    @property
    def stopped(self) -> threading.Event:
        return self._stop

    @property
    def sink(self) -> Sink:
        return self._sink

    def began(self) -> None:
        """A shard's stream has begun for the first time."""
        with self._lock:
            self._waiting -= 1
            if self._waiting:
                return
        self._sink.in_force()

    def _watch(self) -> None:
        """Breaks streams that went silent, as of a process that was stopped or a connection that was cut."""
        while not self._stop.wait(_LOOK_S):
            for shard in self._shards:
                shard.check()


@dataclass(slots=True)
class _Clock:
    """Of one stream: `asked_s` by our monotonic clock, `hello_ms` by the shard's."""

    asked_s: float
    hello_ms: int = 0

    def local_s(self, at_ms: int) -> float:
        return min(time.monotonic(), self.asked_s + (at_ms - self.hello_ms) / 1e3)


class _ShardStream:
    """Follows one shard in a thread of its own."""

    def __init__(self, addresses: Sequence[str], tables: Sequence[str], owner: RowStreams, name: str) -> None:
        self._addresses = list(addresses)
        self._tables = list(tables)
        self._owner = owner
        self._name = name
        self._position: Any = None
        self._table_ids: dict[str, int] | None = None
        self._has_begun = False
        self._was_heard = False
        self._must_say_missed = False
        self._call: Any = None
        self._heard_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"rows-{addresses[0]}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def cancel(self) -> None:
        call = self._call
        if call is not None:
            call.cancel()

    def check(self) -> None:
        """Cancels a call that is silent."""
        if self._call is not None and time.monotonic() - self._heard_at > _SILENT_S:
            self._heard_at = time.monotonic()
            self.cancel()

    def _run(self) -> None:
        at, failures, stopped = 0, 0, self._owner.stopped
        while not stopped.is_set():
            address = self._addresses[at % len(self._addresses)]
            self._was_heard = False
            try:
                self._follow(address)
            except grpc.RpcError as error:
                _log.info("the stream of rows from %s ended: %s", address, error.code().name)
            except Exception:
                _log.exception("the stream of rows from %s failed for a reason that is a defect", address)
                self._position, self._must_say_missed = None, True
            self._call = None
            failures = 0 if self._was_heard else failures + 1
            at += not self._was_heard
            stopped.wait(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])

    def _follow(self, address: str) -> None:
        """Takes in what one stream says, until it ends."""
        with grpc.insecure_channel(address, options=_OPTIONS) as channel:
            clock = _Clock(time.monotonic())
            self._heard_at = clock.asked_s
            self._call = deltas_pb2_grpc.DeltaServiceStub(channel).Follow(self._request())
            if self._owner.stopped.is_set():
                return
            for message in self._call:
                self._heard_at, self._was_heard = time.monotonic(), True
                if not self._take_in(message, clock):
                    return

    def _request(self) -> deltas_pb2.FollowRequest:
        request = deltas_pb2.FollowRequest(
            name=self._name,
            detail=deltas_pb2.FOLLOW_DETAIL_KEYS,
            tables=self._tables,
            start=deltas_pb2.FOLLOW_START_NOW,
        )
        if self._position is not None:
            request.start = deltas_pb2.FOLLOW_START_POSITION
            request.since.CopyFrom(self._position)
        return request

    def _take_in(self, message: Any, clock: _Clock) -> bool:
        """False if another stream has to be asked for."""
        kind = message.WhichOneof("content")
        if kind == "hello":
            clock.hello_ms = message.at_ms
            if self._position is not None and not message.hello.continued:
                self._position, self._must_say_missed = None, True  # A picture would follow, of which nobody has need.
                return False
            self._begin()
        elif kind == "tables":
            self._compare({table.spec.name: table.table_id for table in message.tables.tables})
        elif kind == "changes":
            changes = message.changes
            keys = np.concatenate([np.frombuffer(part, "<i8") for part in (changes.keys, changes.removed)])
            if len(keys):
                self._owner.sink.moved(changes.table, keys.astype(np.int64), clock.local_s(changes.oldest_ms))
        elif kind == "picture_start":
            self._owner.sink.missed(self._tables)
        if message.HasField("position"):
            self._position = message.position
        return True

    def _begin(self) -> None:
        if self._must_say_missed:
            self._must_say_missed = False
            self._owner.sink.missed(self._tables)
        if not self._has_begun:
            self._has_begun = True
            self._owner.began()

    def _compare(self, ids: dict[str, int]) -> None:
        """Of tables that came, or are others under the same name, any row may have changed."""
        known, self._table_ids = self._table_ids, ids
        if known is not None:
            others = [name for name, table in ids.items() if known.get(name) != table]
            if others:
                self._owner.sink.missed(others)
