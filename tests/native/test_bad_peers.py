"""Peers that send nonsense, half of something, or nothing, or that do not read: the endpoint goes on for all others."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time

import grpc
import numpy as np
import pytest
from tests.native import frames
from tests.server.support import f32, i64, refused, sgd

from rowbank.errors import DeadlineExceeded
from rowbank_protos.v1 import rows_pb2


@pytest.fixture
def served(connect, start_ps):
    """A server of the test's own with a table of one row, which must be served afterwards as before."""
    server = start_ps("--message-timeout-s", "1")
    wire = connect(server.target, native=True)
    wire.create("t", 2, optimizer=sgd(1.0))
    wire.push("t", [1], [[1, 2]])
    yield server, wire
    values, _ = wire.pull("t", [1])
    assert values.tolist() == [[-1, -2]]
    assert server.process.poll() is None
    assert "Traceback" not in server.log


def rss(server):
    with open(f"/proc/{server.process.pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_random_bytes(served):
    _, wire = served
    seed = 77
    rng = np.random.default_rng(seed)
    host, _, port = wire.native_address.rpartition(":")
    for number in range(150):
        with socket.create_connection((host, int(port)), timeout=10) as opened, contextlib.suppress(ConnectionError):
            if number % 3:
                opened.sendall(frames.PREFACE)
            if number % 3 == 2:
                opened.sendall(frames.frame(frames.SETTINGS))
                for _ in range(rng.integers(1, 30)):
                    payload = rng.bytes(int(rng.integers(0, 60)))
                    kind, flags = (int(part) for part in rng.integers(0, 12, size=2))
                    opened.sendall(frames.frame(kind, payload, flags=flags, stream=int(rng.integers(0, 9))))
            opened.sendall(rng.bytes(int(rng.integers(0, 4000))))


def test_calls_that_are_cut_off_anywhere(served):
    _, wire = served
    asked = rows_pb2.PullRequest(tables=[rows_pb2.TableKeys(table="t", keys=np.ones(1, "<i8").tobytes())])
    whole = frames.PREFACE + frames.frame(frames.SETTINGS)
    whole += frames.frame(frames.HEADERS, frames.request(), flags=frames.END_HEADERS, stream=1)
    body = frames.message(asked.SerializeToString())
    whole += frames.frame(frames.DATA, body, flags=frames.END_STREAM, stream=1)
    host, _, port = wire.native_address.rpartition(":")
    for length in range(0, len(whole), 3):
        with socket.create_connection((host, int(port)), timeout=10) as opened:
            opened.sendall(whole[:length])
    opened = frames.connect(wire.native_address)
    opened.sendall(whole[len(frames.PREFACE) + 9 :])
    assert frames.ended(opened, 1)
    opened.close()


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({}, b""),
        ({}, b"\x00\x00"),
        ({}, frames.message(b"abc", length=5)),
        ({}, frames.message(b"abc", length=2)),
        ({}, frames.message(b"") * 2),
        ({}, frames.message(b"abc", compressed=1)),
        ({}, frames.message(b"", length=0xFFFFFFFF)),
        ({"content_type": "text/html"}, frames.message(b"")),
        ({"path": "/nothing"}, frames.message(b"")),
        ({"grpc_encoding": "gzip"}, frames.message(b"", compressed=1)),
        ({"grpc_timeout": "99999999999H"}, frames.message(b"\xff")),
        ({"authorization": "Bearer \xe4"}, frames.message(b"")),
        ({"x_bin": "!!!"}, frames.message(b"")),
    ],
)
def test_calls_that_make_no_sense_are_ended(served, fields, body):
    _, wire = served
    with frames.connect(wire.native_address) as opened:
        block = frames.request(**fields)
        opened.sendall(frames.frame(frames.HEADERS, block, flags=frames.END_HEADERS, stream=1))
        opened.sendall(frames.frame(frames.DATA, body, flags=frames.END_STREAM, stream=1))
        assert frames.ended(opened, 1)


def test_metadata_that_is_no_text(served):
    """They are no text that a handler could read."""
    _, wire = served
    with frames.connect(wire.native_address) as opened:
        block = frames.request() + b"\x00" + b"\x03x-y" + b"\x02\xe4\xff"
        opened.sendall(frames.frame(frames.HEADERS, block, flags=frames.END_HEADERS, stream=1))
        opened.sendall(frames.frame(frames.DATA, frames.message(b""), flags=frames.END_STREAM, stream=1))
        assert frames.ended(opened, 1)


def test_requests_that_do_not_arrive_are_given_up(served):
    _, wire = served
    with frames.connect(wire.native_address) as opened:
        opened.sendall(frames.frame(frames.HEADERS, frames.request(), flags=frames.END_HEADERS, stream=1))
        opened.sendall(frames.frame(frames.DATA, frames.message(b"a", length=50), stream=1))
        assert frames.ended(opened, 1)
    with socket.create_connection(("127.0.0.1", int(wire.native_address.rpartition(":")[2])), timeout=10) as silent:
        for _ in frames.received(silent):  # The server's first words, and then the end.
            pass


@pytest.mark.parametrize("flood", ["resets", "pings", "settings", "empty data", "headers without end"])
def test_floods_end_the_connection_that_they_come_from(served, flood):
    server, wire = served
    before = rss(server)
    with frames.connect(wire.native_address) as opened, contextlib.suppress(ConnectionError, TimeoutError):
        opened.settimeout(2)
        if flood == "empty data":
            opened.sendall(frames.frame(frames.HEADERS, frames.request(), flags=frames.END_HEADERS, stream=1))
        if flood == "headers without end":
            opened.sendall(frames.frame(frames.HEADERS, frames.request(), stream=1))
        for number in range(20_000):
            if flood == "resets":
                stream = 2 * number + 1
                sent = frames.frame(frames.HEADERS, frames.request(), flags=frames.END_HEADERS, stream=stream)
                sent += frames.frame(frames.RST_STREAM, struct.pack(">I", 8), stream=stream)
            elif flood == "pings":
                sent = frames.frame(frames.PING, b"12345678")
            elif flood == "settings":
                sent = frames.frame(frames.SETTINGS)
            elif flood == "empty data":
                sent = frames.frame(frames.DATA, stream=1)
            else:
                sent = frames.frame(frames.CONTINUATION, frames.fields(**{f"x{number}": "y" * 100}), stream=1)
            opened.sendall(sent)
    assert rss(server) - before < 64 << 20


def test_answers_that_nobody_reads_are_bounded(served):
    """A caller asks on and on and reads nothing: the memory that its answers take stays small."""
    server, wire = served
    keys = np.ones(200_000, "<i8").tobytes()
    body = frames.message(rows_pb2.PullRequest(tables=[rows_pb2.TableKeys(table="t", keys=keys)]).SerializeToString())
    before = rss(server)
    with frames.connect(wire.native_address) as opened, contextlib.suppress(ConnectionError, TimeoutError):
        opened.settimeout(2)
        for number in range(300):
            stream = 2 * number + 1
            opened.sendall(frames.frame(frames.HEADERS, frames.request(), flags=frames.END_HEADERS, stream=stream))
            for start in range(0, len(body), 16384):
                last = start + 16384 >= len(body)
                part = body[start : start + 16384]
                opened.sendall(frames.frame(frames.DATA, part, flags=frames.END_STREAM if last else 0, stream=stream))
        assert rss(server) - before < 200 << 20


def test_many_connections_that_say_nothing(served):
    _, wire = served
    host, _, port = wire.native_address.rpartition(":")
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
        values, _ = wire.pull("t", [1])
        assert values.tolist() == [[-1, -2]]


def test_a_caller_that_goes_away_in_the_middle(served):
    """Its push is applied all the same, once, as with gRPC's own server."""
    _, wire = served
    part = rows_pb2.TableGradients(table="t", keys=i64(9), gradients=f32([[1, 1]]))
    body = frames.message(rows_pb2.PushRequest(tables=[part]).SerializeToString())
    with frames.connect(wire.native_address) as opened:
        block = frames.request("/rowbank.v1.RowService/Push")
        opened.sendall(
            frames.frame(frames.HEADERS, block, flags=frames.END_HEADERS, stream=1)
            + frames.frame(frames.DATA, body, flags=frames.END_STREAM, stream=1)
        )
    # Nobody waits for the answer.
    deadline = time.monotonic() + 20
    while wire.size("t") < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    values, _ = wire.pull("t", [9])
    assert values.tolist() == [[-1, -1]]


def test_metadata_beyond_the_limit(served):
    _, wire = served
    request = rows_pb2.SizeRequest(table="t")
    with pytest.raises(grpc.RpcError) as caught:
        wire.rows.Size(request, metadata=(("x-long", "y" * 40_000),), timeout=10)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "metadata: expected at most 16384 bytes" in str(caught.value.details())


def test_a_slow_request_is_told_why(served):
    _, wire = served
    with refused(DeadlineExceeded, "did not arrive in time"):
        _slow_size(wire)


def _slow_size(wire):
    """A call whose message is begun and not ended."""
    method = wire.native_channel.stream_unary("/rowbank.v1.RowService/Size")

    over = threading.Event()

    def nothing():
        over.wait(20)
        yield b""

    try:
        method(nothing(), timeout=20)
    finally:
        over.set()
