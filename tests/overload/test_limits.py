"""What a shard refuses when too much is asked of it, how clients take that, and that others are served meanwhile."""

from __future__ import annotations

import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import grpc
import numpy as np
import pytest
from tests.server.test_metrics import scraped

import rowbank
from rowbank.errors import Overloaded, from_rpc_error
from rowbank_protos.v1 import rows_pb2

DIM = 256
# gRPC's own server, and the native endpoint.
WAYS = [
    pytest.param(False, id="grpc"),
    pytest.param(
        True,
        id="native",
        marks=pytest.mark.skipif(find_spec("rowbank_server._http2") is None, reason="built where nghttp2 is not"),
    ),
]


def address(wire, ps):
    """Where `wire` calls for rows."""
    return wire.native_address or ps.target


def waits_for(condition, *, within_s: float = 20.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "this did not come about"
        time.sleep(0.02)


def open_calls(target: str, count: int, *, method: bytes = b"/rowbank.v1.RowService/Pull") -> socket.socket:
    """A connection with `count` calls that have begun and whose requests never come: HTTP/2 by hand."""
    host, _, port = target.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
    for number in range(count):
        connection.sendall(frame(1, 4, 2 * number + 1, headers(method)))
    return connection


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def headers(path: bytes) -> bytes:
    """HPACK without compression: literals, none of them indexed."""
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"here"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    return b"".join(b"\x00" + bytes([len(n)]) + n + bytes([len(v)]) + v for n, v in fields)


@pytest.fixture
def server(start_ps):
    def start(*options: str):
        return start_ps("--http-bind", "127.0.0.1:0", *options)

    return start


@pytest.mark.parametrize("native", WAYS)
def test_calls_whose_request_never_comes_keep_no_thread_and_are_ended(server, connect, native):
    ps = server("--message-timeout-s", "1", "--max-calls", "128", "--max-calls-per-caller", "48")
    wire = connect(ps.target, native=native)
    wire.create("t")
    paths = [b"/rowbank.v1.RowService/" + name for name in (b"Pull", b"Push", b"Push")]
    slow = [open_calls(address(wire, ps), 100, method=path) for path in paths]
    try:
        for _ in range(20):  # Threads of all kinds are free for others.
            wire.push("t", [1], [[1, 1]])
            assert wire.pull("t", [1])[1]
            assert wire.serving()
        waits_for(lambda: scraped(ps).get(("rowbank_overloaded_total", "slow"), 0) >= 64)
        assert scraped(ps)[("rowbank_overloaded_total", "receiving")] >= 1
    finally:
        for connection in slow:
            connection.close()
    assert "Traceback" not in ps.log


@pytest.mark.parametrize("native", WAYS)
def test_a_thousand_idle_connections_do_not_keep_others_out(server, connect, native):
    ps = server()
    wire = connect(ps.target, native=native)
    wire.create("t")
    host, _, port = address(wire, ps).rpartition(":")
    idle = []
    try:
        for _ in range(1000):
            idle.append(socket.create_connection((host, int(port)), timeout=10))
        wire.push("t", [1], [[1, 1]])
        assert connect(ps.target, native=native).pull("t", [1])[1]
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.parametrize("native", WAYS)
def test_bytes_that_are_no_http_and_headers_without_end_are_let_go(server, connect, native):
    ps = server()
    wire = connect(ps.target, native=native)
    wire.create("t")
    host, _, port = address(wire, ps).rpartition(":")
    for start in (b"\x00" * 100_000, b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 50_000, b"\x16\x03\x01" + b"\xff" * 5000):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            try:
                connection.sendall(start)
                while connection.recv(65536):
                    pass
            except OSError:
                pass  # The server may end it while it is still being written to.
    with pytest.raises(grpc.RpcError) as caught:
        wire.rows.Size(rows_pb2.SizeRequest(table="t"), metadata=[("x-flood", "y" * 40_000)])
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert wire.size("t") == 0
    assert "Traceback" not in ps.log


def flood(target: str, table: str, keys: int, *, calls: int):
    """That many pulls at once on a connection of their own; their outcomes."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(target, options) as channel:
        pull = channel.unary_unary("/rowbank.v1.RowService/Pull", None, None)
        part = rows_pb2.TableKeys(table=table, keys=np.arange(keys).astype("<i8").tobytes())
        request = rows_pb2.PullRequest(tables=[part]).SerializeToString()
        made = [pull.future(request, timeout=60) for _ in range(calls)]
        return [from_rpc_error(call) if call.exception() else None for call in made]


@pytest.mark.parametrize("native", WAYS)
def test_who_is_beyond_the_limit_of_its_table_is_told_when_to_come_again(server, connect, native):
    ps = server("--max-calls-per-table", "4", "--worker-threads", "1")
    wire = connect(ps.target, native=native)
    wire.create("t", DIM)
    wire.create("other")
    errors = [error for error in flood(address(wire, ps), "t", 20_000, calls=60) if error is not None]
    assert errors
    assert {type(error) for error in errors} == {Overloaded}
    assert all(0.05 <= float(error.metadata["retry_after_s"]) <= 5 for error in errors)
    beyond = [error for error in errors if "'t'" in error.message and "max_calls_per_table" in error.message]
    assert len(beyond) == len(errors) or native  # There who has many answers to read is told to wait for that, too.
    assert scraped(ps)[("rowbank_overloaded_total", "table_calls")] == len(beyond) > 0
    assert wire.pull("other", [1])[1]
    waits_for(lambda: scraped(ps)[("rowbank_calls_in_flight",)] == 0)
    assert scraped(ps)[("rowbank_bytes_in_flight",)] == 0


def test_clients_come_again_until_all_is_done_and_each_push_counts_once(server):
    ps = server("--max-calls-per-table", "2", "--worker-threads", "1")
    with rowbank.Client(ps.target, timeout_s=60) as client:
        table = client.create_table(rowbank.TableSpec("t", dim=2, optimizer=rowbank.SGD(1.0)))
        keys, gradients = np.arange(2000), np.ones((2000, 2), np.float32)
        with ThreadPoolExecutor(12) as pool:
            for done in [pool.submit(table.push, keys, gradients) for _ in range(60)]:
                done.result()
        assert scraped(ps)[("rowbank_overloaded_total", "table_calls")] > 0
        np.testing.assert_array_equal(table.pull(keys[:3]), np.full((3, 2), -60, np.float32))
