"""Servers that send nonsense, half of something, too much or nothing: a call ends by its deadline, with an answer."""

from __future__ import annotations

import concurrent.futures
import contextlib
import socket
import threading
import time

import grpc
import numpy as np
import pytest
from tests.native import frames
from tests.native.frames import DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, frame

http2 = pytest.importorskip("rowbank._http2")

LIMIT = 1 << 20
OPEN = frames.fields(__status="200", content_type="application/grpc")
CODE = {code.name: code.value[0] for code in grpc.StatusCode}


def trailers(status="0", **more):
    return frame(HEADERS, frames.fields(grpc_status=status, **more), flags=END_HEADERS | END_STREAM, stream=1)


def begin(block=OPEN, flags=END_HEADERS):
    return frame(HEADERS, block, flags=flags, stream=1)


def data(body, *, stream=1, flags=0):
    return frame(DATA, body, stream=stream, flags=flags)


@contextlib.contextmanager
def serving(answer):
    """The address of a server of one connection: `answer(socket)` says what comes once a request has arrived."""
    stopped = threading.Event()

    def serve(listener):
        peer, _ = listener.accept()
        with peer, contextlib.suppress(OSError):
            frames.greet(peer)
            for kind, flags, stream, _ in frames.received(peer):
                if stream == 1 and kind in (HEADERS, DATA) and flags & END_STREAM:
                    break
            if answer(peer) is not False:
                stopped.wait(20)

    with socket.create_server(("127.0.0.1", 0)) as listener, concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(serve, listener)
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stopped.set()
            running.result(timeout=30)


def answered(*sent, within_s=10.0, close=False):
    """How a call ends that is answered with these bytes; None: not within that time."""
    with serving(lambda peer: peer.sendall(b"".join(sent)) or not close) as address:
        line = http2.Line(address, max_message_bytes=LIMIT, timeout_s=10.0)
        assert line.start("/t/Echo", "a", [], "", [b"x"], 10.0)
        found = line.take() if line.finish(within_s) else None
        line.abandon()
        return found


WHOLE = frames.message(b"answer")
CASES = {
    "whole": ([begin(), data(WHOLE), trailers()], "answered", "OK"),
    "in single bytes": ([begin(), *(data(bytes((one,))) for one in WHOLE), trailers()], "answered", "OK"),
    "padded": ([begin(), data(b"\x03" + WHOLE + bytes(3), flags=8), trailers()], "answered", "OK"),
    "other streams' data between": ([begin(), data(WHOLE), frame(PING, bytes(8)), trailers()], "answered", "OK"),
    "trailers only": ([trailers("5", __status="200", content_type="application/grpc")], "answered", "NOT_FOUND"),
    "half a message": ([begin(), data(WHOLE[:-1]), trailers()], "answered", "INTERNAL"),
    "half a prefix": ([begin(), data(WHOLE[:3]), trailers()], "answered", "INTERNAL"),
    "no message": ([begin(), trailers()], "answered", "INTERNAL"),
    "two messages": ([begin(), data(WHOLE + WHOLE), trailers()], "answered", "INTERNAL"),
    "two messages apart": ([begin(), data(WHOLE), data(WHOLE), trailers()], "answered", "INTERNAL"),
    "compressed": ([begin(), data(frames.message(b"x", compressed=1)), trailers()], "answered", "INTERNAL"),
    "too large": ([begin(), data(frames.message(b"", length=LIMIT + 1))], "answered", "RESOURCE_EXHAUSTED"),
    "largest length": ([begin(), data(frames.message(b"", length=2**32 - 1))], "answered", "RESOURCE_EXHAUSTED"),
    "no status": ([begin(), data(WHOLE, flags=END_STREAM)], "answered", "INTERNAL"),
    "a status that is no number": ([begin(), data(WHOLE), trailers("fine")], "answered", "UNKNOWN"),
    "a status below zero": ([begin(), data(WHOLE), trailers("-1")], "answered", "UNKNOWN"),
    "an empty status": ([begin(), data(WHOLE), trailers("")], "answered", "UNKNOWN"),
    "not gRPC": ([begin(frames.fields(__status="200")), data(WHOLE), trailers()], "answered", "UNKNOWN"),
    "HTTP 503": ([begin(frames.fields(__status="503"), END_HEADERS | END_STREAM)], "answered", "UNAVAILABLE"),
    "HTTP 401": ([begin(frames.fields(__status="401"), END_HEADERS | END_STREAM)], "answered", "UNAUTHENTICATED"),
    "HTTP 500 with gRPC's success": (
        [begin(frames.fields(__status="500", content_type="application/grpc")), data(WHOLE), trailers()],
        "answered",
        "UNKNOWN",
    ),
    "refused": ([frame(RST_STREAM, b"\0\0\0\x07", stream=1)], "unsent", None),
    "going away, not worked on": ([frame(GOAWAY, bytes(8))], "unsent", None),
    "reset": ([frame(RST_STREAM, b"\0\0\0\x08", stream=1)], "lost", None),
    "reset in the answer": ([begin(), data(WHOLE[:6]), frame(RST_STREAM, b"\0\0\0\x02", stream=1)], "lost", None),
    "no HTTP/2": ([b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 100], "lost", None),
    "a frame of no size that is allowed": ([b"\xff\xff\xff\0\0\0\0\0\1"], "lost", None),
}


@pytest.mark.parametrize("name", CASES)
def test_answers_that_are_no_answers(name):
    sent, ending, status = CASES[name]
    found = answered(*sent)
    assert found is not None
    assert found[0] == ending, found
    if status is not None:
        assert found[1] == CODE[status], found
        assert found[4] == (b"answer" if status == "OK" else None)


def test_a_connection_that_ends_anywhere_in_an_answer():
    whole = b"".join([begin(), data(WHOLE), trailers()])
    for size in range(len(whole)):
        found = answered(whole[:size], close=True)
        assert found is not None
        assert found[0] == "lost", (size, found)


def test_a_length_that_is_announced_and_not_sent_takes_no_memory_of_the_machine():
    assert answered(begin(), data(frames.message(b"x" * 10, length=LIMIT)), within_s=0.2) is None


def test_metadata_without_end():
    block = frames.fields(__status="103") + frames.fields(x="y" * 8000)
    found = answered(*[frame(HEADERS, block, flags=END_HEADERS, stream=1)] * 100)
    assert found is not None
    assert found[1] == CODE["RESOURCE_EXHAUSTED"]


def test_pings_of_a_server_that_does_not_read(monkeypatch):
    """Their answers are not kept without end: the connection is given up, or waits."""
    sent = threading.Event()

    def flood(peer):
        with contextlib.suppress(OSError):
            for _ in range(400):
                peer.sendall(frame(PING, bytes(8)) * 1000)
        sent.set()

    with serving(flood) as address:
        line = http2.Line(address, max_message_bytes=LIMIT, timeout_s=10.0)
        assert line.start("/t/Echo", "a", [], "", [b"x"], 10.0)
        began = time.monotonic()
        ended = line.finish(3.0)
        assert time.monotonic() - began < 10.0
        if ended:
            assert line.take()[0] == "lost"
        line.abandon()
        assert sent.wait(30)


@pytest.mark.parametrize("seed", range(6))
def test_random_frames(seed):
    """No answer of a random kind keeps a call beyond its deadline, or ends the process."""
    rng = np.random.default_rng(seed)
    for _ in range(40):
        parts = [begin(), data(WHOLE[: rng.integers(0, len(WHOLE) + 1)])] if rng.integers(2) else []
        for _ in range(rng.integers(1, 40)):
            kind, flags = (int(part) for part in rng.integers(0, 12, size=2))
            payload = rng.bytes(int(rng.integers(0, 60)))
            parts.append(frame(kind, payload, flags=flags, stream=int(rng.integers(0, 4))))
        if rng.integers(2):
            parts.append(rng.bytes(int(rng.integers(0, 4000))))
        began = time.monotonic()
        found = answered(*parts, within_s=0.05, close=bool(rng.integers(2)))
        assert time.monotonic() - began < 20.0, seed
        if found is not None and found[4] is not None:
            assert found[1] == 0, seed
