"""Random requests for rows, in every form that protobuf has and some that it has not: both endpoints agree."""

from __future__ import annotations

import random

import grpc
import numpy as np
import pytest
from tests.server.support import sgd

from rowbank_protos.fields import BYTES, VARINT, varint
from rowbank_protos.v1 import rows_pb2

CASES = 600


@pytest.fixture
def native(connect, target):
    """Stubs of the shared server's native endpoint."""
    return connect(target, native=True)


class Writer:
    """Writes tables, keys and types in any order and number, with tags and numbers longer than they need be."""

    def __init__(self, seed: int, table: str) -> None:
        self.random = random.Random(seed)
        self.table = table

    def pull(self) -> bytes:
        parts = [self._bytes(1, self._table()) for _ in range(self.random.randrange(4))]
        return self._shuffled([*parts, *self._dtypes(2), *self._unknown()])

    def lookup(self) -> bytes:
        return self._shuffled([self._table(), *self._dtypes(3), *self._unknown()])

    def _table(self) -> bytes:
        names = [self._bytes(1, self.table.encode()) for _ in range(self.random.choice((1, 1, 1, 2)))]
        keys = [self._bytes(2, self._keys()) for _ in range(self.random.choice((0, 1, 1, 2)))]
        return self._shuffled([*names, *keys, *(self._unknown() if self.random.random() < 0.1 else [])])

    def _keys(self) -> bytes:
        keys = np.array([self.random.randrange(-3, 40) for _ in range(self.random.randrange(5))], "<i8").tobytes()
        return keys + b"\0" * (self.random.random() < 0.05)

    def _dtypes(self, number: int) -> list[bytes]:
        values = [
            self.random.choice((0, 1, 2, 3, 4, 5, 2**32 + 1, 2**63)) for _ in range(self.random.choice((0, 1, 2)))
        ]
        return [self._tag(number, VARINT) + varint(value, at_least=self.random.choice((1, 5, 10))) for value in values]

    def _unknown(self) -> list[bytes]:
        if self.random.random() < 0.8:
            return []
        return [self._tag(self.random.choice((7, 15, 2047)), VARINT) + varint(self.random.randrange(2**20))]

    def _bytes(self, number: int, data: bytes) -> bytes:
        return self._tag(number, BYTES) + varint(len(data), at_least=self.random.choice((1, 1, 3, 5, 6, 10))) + data

    def _tag(self, number: int, kind: int) -> bytes:
        return varint(number << 3 | kind, at_least=self.random.choice((1, 1, 1, 2, 5, 6)))

    def _shuffled(self, fields: list[bytes]) -> bytes:
        self.random.shuffle(fields)
        return b"".join(fields)


def test_both_endpoints_read_alike(target, native, table_name):
    native.create(table_name, 3, optimizer=sgd(1.0))
    native.push(table_name, list(range(30)), np.arange(90).reshape(30, 3))
    seed = 4711
    writer = Writer(seed, table_name)
    answered = 0
    for number in range(CASES):
        name, request = ("Pull", writer.pull()) if number % 2 else ("Lookup", writer.lookup())
        if number % 100 == 0:  # gRPC's own server keeps the place of each call that it could not read.
            main = grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)])
        fast, slow = (_answer(channel, name, request) for channel in (native.native_channel, main))
        assert fast == slow, f"seed {seed}, {number}: {name} {request.hex()}"
        answered += isinstance(fast, bytes)
    assert CASES * 0.2 < answered < CASES * 0.9
    assert native.rows.Size(rows_pb2.SizeRequest(table=table_name)).rows == 30


def _answer(channel, name, request):
    """The answer's bytes, or the status; texts differ by what protobuf found, and are compared elsewhere."""
    try:
        return channel.unary_unary(f"/rowbank.v1.RowService/{name}")(request, timeout=30)
    except grpc.RpcError as error:
        return error.code()
