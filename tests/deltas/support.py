"""A follower as anybody could write one: the messages that came, and a mirror of keys and values."""

from __future__ import annotations

import threading
from collections import defaultdict

import grpc
import numpy as np
from tests.processes import until

from rowbank.errors import from_rpc_error
from rowbank_protos.v1 import deltas_pb2, deltas_pb2_grpc, rows_pb2
from rowbank_server.journal.records import parse

KEYS, ROWS, RECORDS = (
    deltas_pb2.FOLLOW_DETAIL_KEYS,
    deltas_pb2.FOLLOW_DETAIL_ROWS,
    deltas_pb2.FOLLOW_DETAIL_RECORDS,
)
PICTURE, NOW, POSITION = (
    deltas_pb2.FOLLOW_START_PICTURE,
    deltas_pb2.FOLLOW_START_NOW,
    deltas_pb2.FOLLOW_START_POSITION,
)


class Mirror:
    """What a follower of keys or rows knows, by table id."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.rows: dict[int, dict[int, bytes]] = defaultdict(dict)
        self.reasons: dict[int, dict[int, int]] = defaultdict(dict)
        self.unwhole: set[int] = set()
        self.pictures = 0
        self.of_records = False
        self.position: deltas_pb2.StreamPosition | None = None

    def take(self, message: deltas_pb2.FollowResponse) -> None:
        kind = message.WhichOneof("content")
        if kind == "tables":
            self.names = {table.table_id: table.spec.name for table in message.tables.tables}
            self.rows = defaultdict(dict, {k: rows for k, rows in self.rows.items() if k in self.names})
        elif kind == "picture_start":
            self.rows[message.picture_start.table_id] = {}
            self.unwhole.add(message.picture_start.table_id)
        elif kind == "picture_end":
            self.unwhole.discard(message.picture_end.table_id)
            self.pictures += 1
        elif kind == "changes":
            self._change(message.changes)
        if message.HasField("position"):
            assert self.of_records or not self.unwhole
            assert self.position is None or message.position.number >= self.position.number
            self.position = message.position

    def table(self, name: str) -> dict[int, bytes]:
        (table_id,) = (table_id for table_id, other in self.names.items() if other == name)
        return self.rows[table_id]

    def why(self, name: str) -> dict[int, int]:
        (table_id,) = (table_id for table_id, other in self.names.items() if other == name)
        return self.reasons[table_id]

    def _change(self, changes: deltas_pb2.RowChanges) -> None:
        rows = self.rows[changes.table_id]
        keys = np.frombuffer(changes.keys, "<i8").tolist()
        size = len(changes.values) // len(keys) if keys else 0
        assert len(set(keys)) == len(keys)
        for place, key in enumerate(keys):
            rows[key] = changes.values[place * size : (place + 1) * size]
            self.reasons[changes.table_id].pop(key, None)
        removed = np.frombuffer(changes.removed, "<i8").tolist()
        assert not set(removed) & set(keys)
        for key, reason in zip(removed, changes.removed_reasons, strict=True):
            rows.pop(key, None)
            self.reasons[changes.table_id][key] = reason


class Follower:
    """Reads a stream in a thread, from where `mirror` is if it has a position."""

    def __init__(self, target: str, *, mirror: Mirror | None = None, **fields) -> None:
        self.channel = grpc.insecure_channel(target, [("grpc.max_receive_message_length", -1)])
        self.stub = deltas_pb2_grpc.DeltaServiceStub(self.channel)
        self.mirror = mirror or Mirror()
        self.messages: list[deltas_pb2.FollowResponse] = []
        self.error: Exception | None = None
        request = deltas_pb2.FollowRequest(**{"name": "test", "detail": ROWS, **fields})
        self.mirror.unwhole.clear()
        self.mirror.of_records = request.detail == RECORDS
        if self.mirror.position is not None:
            request.start = POSITION
            request.since.CopyFrom(self.mirror.position)
        self._call = self.stub.Follow(request)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def hello(self) -> deltas_pb2.FollowHello:
        until(lambda: self.messages or self.error, what="the first message")
        assert self.messages, self.error
        return self.messages[0].hello

    @property
    def position(self) -> int:
        return self.mirror.position.number if self.mirror.position is not None else 0

    def contents(self, kind: str) -> list:
        return [getattr(message, kind) for message in self.messages if message.WhichOneof("content") == kind]

    def records(self) -> list:
        """All records so far, parsed."""
        return [parse(data) for batch in self.contents("records") for data in batch.records]

    def reaches(self, position: int) -> None:
        """Waits until everything up to `position` was taken in."""
        until(lambda: self.position >= position or self.error is not None, what=f"position {position}")
        assert self.error is None, self.error

    def fails(self) -> Exception:
        """Waits for the end of the stream; the error."""
        self._thread.join(60)
        assert self.error is not None
        return self.error

    def close(self) -> Mirror:
        self._call.cancel()
        self._thread.join(60)
        self.channel.close()
        return self.mirror

    def _read(self) -> None:
        try:
            for message in self._call:
                self.mirror.take(message)
                self.messages.append(message)
            self.error = AssertionError("the stream ended")
        except grpc.RpcError as error:
            self.error = from_rpc_error(error)
        except Exception as error:
            self.error = error


def last_position(target: str) -> int:
    """The position of the shard: of the last mutation that was released."""
    with grpc.insecure_channel(target) as channel:
        return deltas_pb2_grpc.DeltaServiceStub(channel).ListFollowers(deltas_pb2.ListFollowersRequest()).position


def stored(wire, table: str) -> dict[int, bytes]:
    """All rows of a table by key: values alone."""
    rows = {}
    for chunk in wire.rows.Export(rows_pb2.ExportRequest(table=table)):
        keys = np.frombuffer(chunk.keys, "<i8").tolist()
        size = len(chunk.values) // len(keys)
        for place, key in enumerate(keys):
            rows[key] = chunk.values[place * size : (place + 1) * size]
    return rows
