"""Pushes without the interpreter: as the handlers answer them, once each, and not while somebody has to look."""

from __future__ import annotations

import concurrent.futures
import random
import re
import struct
import threading

import grpc
import httpx
import numpy as np
import pytest
from tests.following.cluster import READY, require_equal
from tests.processes import until
from tests.server.support import adam, constant, exported, f32, i64, refused, sgd

from rowbank.errors import InvalidRequest, MemoryLimit, NonFiniteGradient
from rowbank_protos.fields import BYTES, FIXED32, VARINT, varint
from rowbank_protos.v1 import admin_pb2, common_pb2, deltas_pb2, deltas_pb2_grpc, rows_pb2, tables_pb2

CASES = 500
HERE, THERE = (
    "-of-native-one",
    "-of-grpcs-own-",
)  # Tables that are pushed by way of the native endpoint, and of gRPC's own server.
ID = b"<the-place-id>"
JOURNALED, RELAXED = common_pb2.DURABILITY_JOURNALED, common_pb2.DURABILITY_RELAXED


@pytest.fixture
def native(connect, target):
    """Stubs of the shared server's native endpoint."""
    return connect(target, native=True)


@pytest.fixture
def own(connect, start_ps):
    """A server of its own: its stubs, and how many mutations took their turn in the handlers' line."""
    server = start_ps("--http-bind", "127.0.0.1:0")
    wire = connect(server.target, native=True)

    def turns():
        text = httpx.get(f"{server.http_url}/metrics").text
        return int(float(re.findall(r'rowbank_queue_wait_seconds_count{line="mutations"} (\S+)', text)[0]))

    return wire, turns


class Writer:
    """Writes pushes with any fields in any order, and now and then a wrong one."""

    def __init__(self, seed: int, tables: dict[str, int]) -> None:
        self.random = random.Random(seed)
        self.tables = tables
        self.sequence = 0

    def push(self) -> bytes:
        rng = self.random
        dtype = rng.choice((0, 0, 1, 2, 3, 3, 4, 2**32 + 1))
        names = rng.sample(list(self.tables), rng.choice((0, 1, 1, 2, 2)))
        if rng.random() < 0.05:
            names = [*names, *names]
        parts = [self._bytes(1, self._table(name, dtype)) for name in names]
        ids = [self._bytes(3, self._id()) for _ in range(rng.choice((0, 1, 1, 1, 2)))]
        return self._shuffled([*parts, *ids, self._number(2, dtype), *self._unknown()])

    def _table(self, name: str, dtype: int) -> bytes:
        rng, dim = self.random, self.tables[name]
        count = rng.randrange(6)
        keys = np.array([rng.randrange(-3, 30) for _ in range(count)], "<i8").tobytes()
        gradients = np.array([rng.uniform(-1, 1) for _ in range(count * dim)], "<f4")
        if rng.random() < 0.05 and len(gradients):
            gradients[-1] = rng.choice((np.nan, np.inf))
        column = gradients.astype("<f2").tobytes() if dtype == 2 else gradients.tobytes()
        if dtype == 3:
            column = gradients.view("<u2")[1::2].tobytes()
        column += b"\0" * rng.choice((0,) * 20 + (1, 4))
        fields = [self._bytes(1, name.encode()), self._bytes(2, keys), self._bytes(3, column)]
        if rng.random() < 0.3:
            fields.append(self._bytes(4, np.array([rng.randrange(5) for _ in range(count)], "<u4").tobytes()))
        if rng.random() < 0.3:
            fields.append(self._number(5, rng.choice((0, 1, 7, 50))))
        for number in (6, 7, 8):
            if rng.random() < 0.2:
                value = rng.choice((0.0, 0.5, 1.0, 2.0) * 5 + (-1.0, np.nan))
                fields.append(self._tag(number, FIXED32) + struct.pack("<f", value))
        return self._shuffled([*fields, *self._unknown()])

    def _id(self) -> bytes:
        rng = self.random
        self.sequence += 1
        sequence = self.sequence if rng.random() < 0.8 else rng.randrange(self.sequence + 1)
        client = rng.choice((b"", b"a" + ID, "é".encode() + ID, b"b" + ID, b"\xff" + ID))
        return self._shuffled([self._bytes(1, client), self._number(2, sequence)])

    def _unknown(self) -> list[bytes]:
        return [] if self.random.random() < 0.97 else [self._number(self.random.choice((9, 15, 2047)), 3)]

    def _number(self, number: int, value: int) -> bytes:
        return self._tag(number, VARINT) + varint(value, at_least=self.random.choice((1, 1, 5)))

    def _bytes(self, number: int, data: bytes) -> bytes:
        return self._tag(number, BYTES) + varint(len(data), at_least=self.random.choice((1, 1, 1, 3, 5))) + data

    def _tag(self, number: int, kind: int) -> bytes:
        return varint(number << 3 | kind, at_least=self.random.choice((1, 1, 1, 2, 5)))

    def _shuffled(self, fields: list[bytes]) -> bytes:
        self.random.shuffle(fields)
        return b"".join(fields)


@pytest.mark.parametrize("durability", [RELAXED, JOURNALED], ids=["relaxed", "journaled"])
def test_both_endpoints_push_alike(native, table_name, durability):
    """Every push goes to two tables of the same name but for its end, and under two ids: the same comes of it."""
    placeholder = "?" * len(HERE)
    tables = {f"{table_name[:20]}-{durability}{number}{placeholder}": dim for number, dim in enumerate((1, 3, 8))}
    optimizers = [sgd(0.5), adam(), sgd(0.1)]
    for end in (HERE, THERE):
        for (name, dim), optimizer in zip(tables.items(), optimizers, strict=True):
            fields = {"admission": tables_pb2.Admission(min_count=3)} if dim == 8 else {}
            native.create(
                name.replace(placeholder, end),
                dim,
                optimizer=optimizer,
                initializer=constant(0.25),
                durability=durability,
                **fields,
            )
    seed = 4096
    writer = Writer(seed, tables)
    applied = 0
    for number in range(CASES):
        request = writer.push()
        answers = []
        for channel, end in ((native.native_channel, HERE), (native.channel, THERE)):
            mine = request.replace(placeholder.encode(), end.encode()).replace(ID, end.encode())
            answers.append(_answer(channel, mine, end))
        assert answers[0] == answers[1], f"seed {seed}, {number}: {request.hex()}"
        applied += isinstance(answers[0], bytes)
    assert CASES * 0.3 < applied < CASES * 0.9
    for name in tables:
        here, there = (_rows(native, name.replace(placeholder, end), tables[name]) for end in (HERE, THERE))
        assert here == there, f"seed {seed}: {name}"
        assert here


def _answer(channel, request, end):
    """The answer's bytes, or the status and its text, without what differs: the end of names, and the request's id."""
    try:
        return channel.unary_unary("/rowbank.v1.RowService/Push")(request, timeout=30)
    except grpc.RpcError as error:
        return error.code(), re.sub(r"request_id\S*", "", error.details() or "").replace(end, "")


def _rows(wire, table, dim):
    """Rows by key, without the times of their last use."""
    return {key: row[: 4 * dim + 4] + row[4 * dim + 8 :] for key, row in exported(wire, table).items()}


def test_plain_pushes_take_no_turn_in_the_handlers_line(own):
    wire, turns = own
    wire.create("t", durability=RELAXED)
    wire.create("journaled", durability=JOURNALED)
    wire.push("t", [1], [[1, 1]])  # Of the handlers, who find that nobody follows.
    before = turns()
    for number in range(20):
        answer = wire.push("t", [1, number], [[1, 1], [2, 2]])
        assert list(answer.steps) == [number + 2]
    assert turns() == before
    wire.push("journaled", [1], [[1, 1]])
    assert list(wire.push("journaled", [1], [[1, 1]]).steps) == [2]
    both = [rows_pb2.TableGradients(table=name, keys=i64(1), gradients=f32([[1, 1]])) for name in ("t", "journaled")]
    assert list(wire.rows.Push(rows_pb2.PushRequest(tables=both)).steps) == [22, 3]
    assert turns() == before
    wire.create("admitting", durability=JOURNALED, admission=tables_pb2.Admission(min_count=2))
    wire.push("admitting", [1], [[1, 1]])  # Of which a record says who was admitted.
    part = rows_pb2.TableGradients(table="t", keys=i64(1), gradients=f32([[1, 1]]))
    wire.rows.Push(rows_pb2.PushRequest(tables=[part]), metadata=(("x-request-id", "seen"),))
    assert turns() == before + 2


def test_plain_pushes_are_counted(own):
    wire, _ = own
    wire.create("t", durability=RELAXED)
    for _ in range(7):
        wire.push("t", [1], [[1, 1]])
    stats = wire.admin.GetStats(admin_pb2.GetStatsRequest()).tables[0]
    assert (stats.pushed_rows, stats.inserted_rows, stats.step) == (7, 1, 7)


@pytest.mark.parametrize("first", ["native", "main"])
@pytest.mark.parametrize("durability", [RELAXED, JOURNALED], ids=["relaxed", "journaled"])
def test_a_push_is_applied_once_wherever_it_comes_again(native, connect, target, table_name, first, durability):
    native.create(table_name, durability=durability)
    native.push(table_name, [1], [[1, 1]])
    ways = [native.rows, connect(target).rows]
    if first == "main":
        ways.reverse()
    part = rows_pb2.TableGradients(table=table_name, keys=i64(2), gradients=f32([[1, 1]]))
    for sequence in (1, 2):
        request_id = common_pb2.RequestId(client_id=table_name, sequence=sequence)
        request = rows_pb2.PushRequest(tables=[part], request_id=request_id)
        answers = [way.Push(request) for way in (*ways, *ways)]
        assert [answer.repeated_request for answer in answers] == [False, True, True, True]
        assert {tuple(answer.steps) for answer in answers} == {(sequence + 1,)}
    assert native.pull(table_name, [2])[0].tolist() == [[-2, -2]]
    remove = rows_pb2.RemoveRequest(table=table_name, keys=i64(2), request_id=request_id)
    with refused(InvalidRequest, "another kind"):
        native.rows.Remove(remove)


@pytest.mark.parametrize("durability", [RELAXED, JOURNALED], ids=["relaxed", "journaled"])
def test_the_same_push_from_many_at_once_is_applied_once(native, connect, target, table_name, durability):
    native.create(table_name, durability=durability)
    native.push(table_name, [1], [[1, 1]])
    ways = [connect(target, native=number % 3 > 0).rows for number in range(6)]
    keys = np.arange(3000, dtype="<i8").tobytes()
    part = rows_pb2.TableGradients(table=table_name, keys=keys, gradients=np.ones((3000, 2), "<f4").tobytes())
    with concurrent.futures.ThreadPoolExecutor(len(ways)) as pool:
        for sequence in range(1, 31):
            request_id = common_pb2.RequestId(client_id=table_name, sequence=sequence)
            request = rows_pb2.PushRequest(tables=[part], request_id=request_id)
            answers = list(pool.map(lambda way, request=request: way.Push(request), ways))
            assert sum(not answer.repeated_request for answer in answers) == 1
            assert {tuple(answer.steps) for answer in answers} == {(sequence + 1,)}
    assert native.pull(table_name, [7])[0].tolist() == [[-30, -30]]


def test_a_push_that_is_refused_changes_nothing(native, table_name):
    native.create(table_name, durability=RELAXED)
    native.push(table_name, [1], [[1, 1]])
    good = rows_pb2.TableGradients(table=table_name, keys=i64(1), gradients=f32([[1, 1]]))
    bad = rows_pb2.TableGradients(table=table_name + "-2", keys=i64(1), gradients=f32([[1, np.nan]]))
    native.create(table_name + "-2", durability=RELAXED)
    with refused(NonFiniteGradient, "row 0 (key 1)"):
        native.rows.Push(rows_pb2.PushRequest(tables=[good, bad]))
    assert native.pull(table_name, [1])[0].tolist() == [[-1, -1]]
    assert list(native.push(table_name, [1], [[1, 1]]).steps) == [2]


def test_budgets_hold(native, table_name):
    eviction = tables_pb2.Eviction(max_bytes=4096)
    native.create(table_name, durability=RELAXED, eviction=eviction)
    with refused(MemoryLimit, "budget of 4096 bytes"):
        for start in range(0, 1000, 10):
            native.push(table_name, list(range(start, start + 10)), [[1, 1]] * 10)


def test_who_begins_to_follow_gets_all_that_comes_after(connect, start_ps):
    """Pushes go on from several threads while a replica begins to follow: in the end it has what the owner has."""
    owner = start_ps()
    wire = connect(owner.target, native=True)
    wire.create("t", dim=8, durability=RELAXED, optimizer=adam())
    stop = threading.Event()
    pushed = [0, 0, 0]

    def push(place):
        rng = np.random.default_rng(place)
        while not stop.is_set():
            keys = rng.integers(0, 500, 40).tolist()
            wire.push("t", keys, rng.normal(size=(40, 8)))
            pushed[place] += 1

    with concurrent.futures.ThreadPoolExecutor(len(pushed)) as pool:
        running = [pool.submit(push, place) for place in range(len(pushed))]
        until(lambda: min(pushed) > 20, what="pushes")
        replica = connect(start_ps("--replica").target)
        until(lambda: replica.admin.GetServerInfo(admin_pb2.GetServerInfoRequest()).state == READY, what="the replica")
        before = list(pushed)
        until(lambda: all(now > then + 20 for now, then in zip(pushed, before, strict=True)), what="more pushes")
        stop.set()
        for one in running:
            one.result()
    stub = deltas_pb2_grpc.DeltaServiceStub(wire.channel)
    last = stub.ListFollowers(deltas_pb2.ListFollowersRequest()).position
    until(
        lambda: replica.admin.GetServerInfo(admin_pb2.GetServerInfoRequest()).position >= last,
        what="the replica catches up",
    )
    assert last >= len(pushed) * 20
    assert require_equal(wire, replica) > 400
