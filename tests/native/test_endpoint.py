"""The native endpoint beside gRPC's own server: the same answers and refusals, and a way of its own to be found."""

from __future__ import annotations

import concurrent.futures
import os
import re
import signal

import grpc
import httpx
import numpy as np
import pytest
from tests.native import frames
from tests.processes import stand_still
from tests.server.support import LIMIT, f32, i64, refused, sgd, uniform

from rowbank.errors import NotReady, RedisUnavailable, TableNotFound
from rowbank_protos.v1 import admin_pb2, common_pb2, rows_pb2, tables_pb2

FLOAT16, BFLOAT16 = common_pb2.DATA_TYPE_FLOAT16, common_pb2.DATA_TYPE_BFLOAT16
# What the handlers in Python answer, for they alone know what such a caller may want.
BY_HANDLERS = (("x-request-id", "by-handlers"),)


@pytest.fixture
def native(connect, target):
    """Stubs of the shared server's native endpoint."""
    return connect(target, native=True)


@pytest.fixture
def call(native):
    """Calls of RowService as bytes: call(name, request, metadata) answers (code, text, message)."""

    def make(channel, name, request, metadata=()):
        method = channel.unary_unary(f"/rowbank.v1.RowService/{name}")
        try:
            return grpc.StatusCode.OK, "", method(request, timeout=30, metadata=metadata)
        except grpc.RpcError as error:
            return error.code(), re.sub(r"request_id\S*", "", error.details()), b""

    return make


def filled(wire, name, dim, rows, **fields):
    wire.create(name, dim, optimizer=sgd(1.0), initializer=uniform(3), **fields)
    keys = np.arange(rows, dtype="<i8") * 7919
    values = np.random.default_rng(5).normal(size=(rows, dim)).astype("<f4")
    part = rows_pb2.TableGradients(table=name, keys=keys.tobytes(), gradients=values.tobytes())
    wire.rows.Push(rows_pb2.PushRequest(tables=[part]))
    return keys


def test_reads_without_the_interpreter_are_those_of_the_handlers(native, call, table_name):
    """Byte for byte: several tables, data types, repeated, absent and no keys, names whose lengths move columns."""
    rng = np.random.default_rng(11)
    names = [table_name, table_name + "-", table_name + "-2", table_name + "-23"]
    stored = {name: filled(native, name, dim, 50) for name, dim in zip(names, (1, 3, 8, 64), strict=True)}
    for number in range(120):
        parts = []
        for name in rng.choice(names, size=rng.integers(0, 5)):
            keys = rng.choice(np.concatenate([stored[name], stored[name] + 1]), size=rng.integers(0, 40))
            parts.append(rows_pb2.TableKeys(table=name, keys=keys.astype("<i8").tobytes()))
        wire_dtype = int(rng.integers(0, 5))
        pull = rows_pb2.PullRequest(tables=parts, wire_dtype=wire_dtype).SerializeToString()
        assert call(native.native_channel, "Pull", pull) == call(native.channel, "Pull", pull), f"seed 11, {number}"
        if parts:
            asked = rows_pb2.LookupRequest(table=parts[0].table, keys=parts[0].keys, wire_dtype=wire_dtype)
            lookup = asked.SerializeToString()
            fast, slow = call(native.native_channel, "Lookup", lookup), call(native.channel, "Lookup", lookup)
            assert fast == slow, f"seed 11, {number}"
            assert fast == call(native.native_channel, "Lookup", lookup, BY_HANDLERS)


def test_damaged_requests_are_answered_as_by_grpcs_server(native, call, table_name):
    """Mutated requests: the native reading of a message is protobuf's, or leaves it to that."""
    seed = 20240
    rng = np.random.default_rng(seed)
    keys = filled(native, table_name, 4, 30)
    tables = [rows_pb2.TableKeys(table=table_name, keys=keys[:5].tobytes())] * 2
    whole = rows_pb2.PullRequest(tables=tables, wire_dtype=1).SerializeToString()
    for number in range(400):
        damaged = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(0, len(damaged)))
            match rng.integers(0, 4):
                case 0:
                    damaged[at] = int(rng.integers(0, 256))
                case 1:
                    del damaged[at : at + int(rng.integers(1, 5))]
                case 2:
                    damaged[at:at] = bytes(rng.integers(0, 256, size=rng.integers(1, 5), dtype=np.uint8))
                case _:
                    damaged += whole[at:]
            if not damaged:
                break
        fast, slow = (call(channel, "Pull", bytes(damaged)) for channel in (native.native_channel, native.channel))
        assert fast == slow, f"seed {seed}, {number}: {bytes(damaged).hex()}"


def test_other_services_are_at_the_main_address(native):
    stub = native.native_channel.unary_unary("/rowbank.v1.AdminService/GetServerInfo")
    with pytest.raises(grpc.RpcError) as caught:
        stub(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "main address" in str(caught.value.details())


def test_a_call_for_another_process_is_refused(native, table_name):
    """Whoever kept the address of a server that is gone must not read another one's rows."""
    native.create(table_name)
    mine = native.admin.GetServerInfo(admin_pb2.GetServerInfoRequest()).server_id
    request = rows_pb2.SizeRequest(table=table_name)
    assert native.rows.Size(request, metadata=(("rowbank-server-id", mine),)).rows == 0
    with refused(NotReady, "another process answers at this address"):
        native.rows.Size(request, metadata=(("rowbank-server-id", "another"),))


def test_reads_are_counted_whoever_answers_them(connect, start_ps):
    server = start_ps("--http-bind", "127.0.0.1:0")
    wire = connect(server.target, native=True)
    filled(wire, "t", 2, 10)
    for _ in range(5):
        wire.pull("t", [0])
    wire.rows.Pull(rows_pb2.PullRequest(tables=[rows_pb2.TableKeys(table="t", keys=i64(1))]), metadata=BY_HANDLERS)
    text = httpx.get(f"{server.http_url}/metrics").text
    assert 'rowbank_requests_total{code="OK",method="Pull"} 6.0' in text
    assert 'rowbank_request_seconds_count{method="Pull"} 6.0' in text
    assert 'rowbank_request_seconds_bucket{le="+Inf",method="Pull"} 6.0' in text
    (seconds,) = re.findall(r'rowbank_request_seconds_sum{method="Pull"} (\S+)', text)
    assert 0 < float(seconds) < 60


def test_tables_come_and_go(native, table_name):
    for dim in (2, 5):
        native.create(table_name, dim)
        native.push(table_name, [1], [[1.0] * dim])
        values, _ = native.pull(table_name, [1], dim)
        assert values.tolist() == [[-1.0] * dim]
        native.tables.DropTable(tables_pb2.DropTableRequest(name=table_name))
        with refused(TableNotFound):
            native.pull(table_name, [1], dim)


def test_many_calls_over_one_connection(native, table_name):
    keys = filled(native, table_name, 16, 2000)
    expected = native.rows.Lookup(rows_pb2.LookupRequest(table=table_name, keys=keys.tobytes())).values
    with concurrent.futures.ThreadPoolExecutor(16) as pool:

        def one(number):
            if number % 3 == 0:
                native.push(table_name + "-other", [number], [[1.0, 1.0]])
            return native.rows.Lookup(rows_pb2.LookupRequest(table=table_name, keys=keys.tobytes())).values

        native.create(table_name + "-other")
        assert all(answer == expected for answer in pool.map(one, range(200)))
    assert native.size(table_name + "-other") == 67


def test_a_deadline_that_passed(native, table_name):
    """By hand, for a stock client's shortest deadline is a millisecond on the wire, and the answer may be faster."""
    native.create(table_name)
    size = rows_pb2.SizeRequest(table=table_name).SerializeToString()
    with frames.connect(native.native_address) as opened:
        block = frames.request("/rowbank.v1.RowService/Size", grpc_timeout="1n")
        opened.sendall(frames.frame(frames.HEADERS, block, flags=frames.END_HEADERS, stream=1))
        opened.sendall(frames.frame(frames.DATA, frames.message(size), flags=frames.END_STREAM, stream=1))
        assert frames.status(opened, 1) == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]


def test_compressed_requests_are_refused(native, table_name):
    native.create(table_name)
    request = rows_pb2.UpsertRequest(table=table_name, keys=i64(1), values=f32([[1, 1]]))
    with pytest.raises(grpc.RpcError) as caught:
        native.rows.Upsert(request, compression=grpc.Compression.Gzip)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "identity" in str(caught.value.details())


def test_a_unix_socket(connect, start_ps, tmp_path):
    path = tmp_path / "rows.sock"
    for _ in range(2):  # The second finds what the first, which was killed, left behind.
        server = start_ps("--native-bind", f"unix:{path}")
        wire = connect(server.target, native=True)
        assert wire.native_address == f"unix:{path}"
        wire.create("t")
        wire.push("t", [1], [[1, 1]])
        assert wire.size("t") == 1
        wire.tables.DropTable(tables_pb2.DropTableRequest(name="t"))
        server.kill()


@pytest.mark.parametrize(("options", "has_one"), [(("--native-bind", "off"), False), ((), True)])
def test_whether_there_is_one(connect, start_ps, options, has_one):
    info = connect(start_ps(*options).target).admin.GetServerInfo(admin_pb2.GetServerInfoRequest())
    assert bool(info.native_address) is has_one


def test_an_address_that_is_taken(start_ps):
    taken = start_ps()
    server = start_ps("--native-bind", taken.target, wait=False)
    assert server.wait() == 1
    assert re.search(r"native_bind 127\.0\.0\.1:\d+: cannot be listened on .*Address already in use", server.log)
    assert "Traceback" not in server.log


def test_it_stops_in_order(connect, start_ps):
    """What is in flight is answered, then the port is closed."""
    server = start_ps()
    wire = connect(server.target, native=True)
    filled(wire, "t", 64, 5000)
    asked = rows_pb2.LookupRequest(table="t", keys=(np.arange(5000, dtype="<i8") * 7919).tobytes())
    futures = [wire.rows.Lookup.future(asked, timeout=30) for _ in range(8)]
    assert server.terminate() == 0
    outcomes = [future.exception() for future in futures]
    assert all(error is None or error.code() is grpc.StatusCode.UNAVAILABLE for error in outcomes), outcomes


def test_answers_of_many_megabytes(native, table_name):
    keys = filled(native, table_name, 64, 100)
    repeated = np.tile(keys, 1500)
    asked = rows_pb2.LookupRequest(table=table_name, keys=repeated.tobytes())
    answer = native.rows.Lookup(asked)
    assert len(answer.values) == repeated.size * 256 < LIMIT
    once = native.rows.Lookup(rows_pb2.LookupRequest(table=table_name, keys=keys.tobytes())).values
    assert answer.values == once * 1500


def test_a_push_that_waits_for_redis_hears_why_before_its_deadline(connect, start_ps, own_redis):
    """Also where the deadline comes before the server's own limit for that wait."""
    server = start_ps("--journal-wait-s", "30", redis=own_redis.url)
    wire = connect(server.target, native=True)
    wire.create("t")
    part = rows_pb2.TableGradients(table="t", keys=i64(1), gradients=f32([[1, 1]]))
    stand_still(own_redis.pid)
    try:
        with refused(RedisUnavailable, "the journal has not confirmed the mutation"):
            wire.rows.Push(rows_pb2.PushRequest(tables=[part]), timeout=2.0)
    finally:
        os.kill(own_redis.pid, signal.SIGCONT)
