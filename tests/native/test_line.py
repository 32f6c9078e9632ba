"""A connection of the client's native transport, with a stock gRPC server at the other end."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import socket
import time

import grpc
import numpy as np
import pytest
from tests.native import frames
from tests.native.echoing import echoing
from tests.processes import until

http2 = pytest.importorskip("rowbank._http2")

LIMIT = 64 << 20


@pytest.fixture(scope="module")
def shared():
    with echoing() as server:
        yield server


@pytest.fixture
def line(shared):
    opened = connect(shared.address)
    yield opened
    opened.abandon()


def connect(address, *, limit=LIMIT):
    return http2.Line(address, max_message_bytes=limit, timeout_s=10.0)


def call(line, method, *parts, metadata=(), timeout="", within_s=30.0):
    assert line.start(f"/t/{method}", "a", list(metadata), timeout, parts, within_s)
    assert line.finish(within_s)
    return line.take()


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 65535, 65536, 1 << 20, 20 << 20])
def test_messages_come_back_as_they_were_sent(line, size):
    """Larger than a frame, than gRPC's first window, than what is read at once."""
    data = np.random.default_rng(size).bytes(size)
    for _ in range(2):
        ending, status, text, _, message = call(line, "Echo", data)
        assert (ending, status, text) == ("answered", 0, "")
        assert message == data
        assert line.usable()


def test_parts_are_joined(line):
    seed = 5
    rng = np.random.default_rng(seed)
    for _ in range(30):
        parts = [rng.bytes(int(size)) for size in rng.integers(0, 60_000, size=rng.integers(0, 200))]
        views = [memoryview(part) if place % 2 else part for place, part in enumerate(parts)]
        assert call(line, "Echo", *views)[4] == b"".join(parts), seed


def test_metadata_both_ways(shared, line):
    ending, status, _, trailers, _ = call(
        line, "Echo", b"x", metadata=[("rowbank-server-id", "abc"), ("data-bin", "AAEC")], timeout="5000000u"
    )
    assert (ending, status) == ("answered", 0)
    seen = dict(shared.seen[-1])
    assert seen["rowbank-server-id"] == "abc"
    assert seen["data-bin"] == b"\0\1\2"
    assert 4.0 < shared.left_s[-1] <= 5.0
    assert dict(trailers)["position"] == "17"


def test_failures_say_what_the_server_said(line):
    text = "not 100 % — ümläut\nand more"
    ending, status, said, trailers, message = call(line, "Fail", text.encode())
    assert (ending, status, said, message) == ("answered", grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], text, None)
    assert ("x", "y") in trailers
    assert call(line, "Nothing", b"")[1] == grpc.StatusCode.UNIMPLEMENTED.value[0]
    assert call(line, "Echo", b"after")[4] == b"after"


def test_an_answer_that_is_too_large_is_refused_before_it_is_read(shared):
    line = connect(shared.address, limit=1 << 20)
    ending, status, text, _, message = call(line, "Sized", b"%d" % (2 << 20))
    assert (ending, status, message) == ("answered", grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], None)
    assert str(2 << 20) in text
    assert not line.usable()
    assert len(call(connect(shared.address, limit=1 << 20), "Sized", b"%d" % (1 << 20))[4]) == 1 << 20


def test_a_call_that_is_not_answered_can_be_waited_for_again(shared):
    with echoing() as server:
        line = connect(server.address)
        assert line.start("/t/Wait", "a", [], "", [b"w"], 10.0)
        assert not line.finish(0.0)
        began = time.monotonic()
        assert not line.finish(0.2)
        assert 0.19 < time.monotonic() - began < 5.0
        assert not line.usable()
        server.release.set()
        assert line.finish(30.0)
        assert line.take()[4] == b"w"


def test_stop_ends_a_call_from_another_thread(shared):
    with echoing() as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
        line = connect(server.address)
        assert line.start("/t/Wait", "a", [], "", [b"w"], 10.0)
        waiting = pool.submit(line.finish, 60.0)
        assert server.begun.acquire(timeout=30)
        line.stop()
        assert waiting.result(timeout=10) is False
        assert not line.usable()


def test_a_signal_interrupts_a_call():
    class InterruptedTestError(Exception):
        pass

    def interrupt(number, frame):
        raise InterruptedTestError

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with echoing() as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
            line = connect(server.address)
            assert line.start("/t/Wait", "a", [], "", [b"w"], 10.0)

            def interrupt_it():
                if server.begun.acquire(timeout=30):
                    os.kill(os.getpid(), signal.SIGUSR1)

            def be_interrupted():
                pool.submit(interrupt_it)
                line.finish(60.0)

            with pytest.raises(InterruptedTestError):  # Wherever it finds this thread.
                be_interrupted()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_server_that_stops_is_noticed_before_the_next_call():
    with echoing() as server:
        line = connect(server.address)
        assert call(line, "Echo", b"x")[4] == b"x"
    until(lambda: not line.usable(), what="the connection's end")


def test_a_server_that_goes_during_a_call_loses_it():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:

            def serve():
                peer, _ = listener.accept()
                with peer:
                    frames.greet(peer)
                    for kind, _flags, _, _ in frames.received(peer):
                        if kind == frames.HEADERS:
                            return

            serving = pool.submit(serve)
            line = connect(f"127.0.0.1:{listener.getsockname()[1]}")
            assert line.start("/t/Echo", "a", [], "", [bytes(10)], 10.0)
            assert line.finish(10.0)
            assert line.take()[0] == "lost"
            serving.result()


@pytest.mark.parametrize("family", ["unix", "six"])
def test_addresses_of_other_kinds(family, tmp_path):
    address = f"unix:{tmp_path}/s" if family == "unix" else "[::1]:0"
    if family == "six":
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this machine has no IPv6")
    with echoing(address) as server:
        assert call(connect(server.address), "Echo", b"x")[4] == b"x"


@pytest.mark.parametrize(
    "address", ["localhost:1", "127.0.0.1", "unix:", "unix:" + "x" * 200, "", "[::1", "1.2.3.4.5:6"]
)
def test_what_is_no_address_is_an_error(address):
    with pytest.raises(OSError):
        connect(address)


def test_nobody_there_is_an_error_at_once():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        connect(f"127.0.0.1:{port}")


def test_a_server_that_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        began = time.monotonic()
        with pytest.raises(OSError, match="says nothing"):
            http2.Line(f"127.0.0.1:{listener.getsockname()[1]}", max_message_bytes=LIMIT, timeout_s=0.2)
        assert time.monotonic() - began < 5.0


def test_calls_of_many_threads(shared):
    def work(seed):
        rng = np.random.default_rng(seed)
        line = connect(shared.address)
        for _ in range(40):
            data = rng.bytes(int(rng.integers(0, 200_000)))
            assert call(line, "Echo", data)[4] == data
        line.abandon()
        return True

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
