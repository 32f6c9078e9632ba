"""Pushes over the native endpoint whose connections are reset, cut, stopped and cancelled: each counts once.

With SGD(1.0) and gradients of -1 a row is the number of its pushes. Who is not told what became of a push makes it
again under its request id, until somebody answers.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import functools
import os
import random
import signal
import socket
import threading
import time

import grpc
import numpy as np
import pytest
from tests.journal.support import CuttingProxy, push_request
from tests.native import frames
from tests.processes import until
from tests.server.support import sgd

from rowbank.calls.native.lines import Lines
from rowbank.calls.native.unary import NativeUnary
from rowbank.credentials import Credentials
from rowbank_protos.v1 import admin_pb2, rows_pb2

pytest.importorskip("rowbank._http2")

DIM = 4000  # So that a push of a few rows is more than a socket takes at once.
WORKERS, PUSHES = 4, 40
PUSH = "/rowbank.v1.RowService/Push"
AGAIN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class ResettingProxy(CuttingProxy):
    """One whose connections can end with a reset, which loses what is on its way."""

    def reset(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        libc = ctypes.CDLL(None)
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    libc.connect(end.fileno(), bytes(16), 16)  # To no address: that resets a connection.


@pytest.fixture
def served(connect, start_ps, own_redis):
    """A server of the test's own with a journaled table, and what asks it."""
    server = start_ps("--message-timeout-s", "5", redis=own_redis.url)
    wire = connect(server.target, native=True)
    wire.create("t", DIM, optimizer=sgd(1.0))
    return server, wire


def native_push(server, wire, address):
    """Push as the client makes it, over connections to `address`; closed by the caller."""
    told = wire.admin.GetServerInfo(admin_pb2.GetServerInfoRequest()).server_id
    lines = Lines(server.target, Credentials())
    lines.learn(address, told, [server.target])
    assert lines.address == address
    other = wire.channel.unary_unary(
        "/rowbank.v1.RowService/Push",
        request_serializer=rows_pb2.PushRequest.SerializeToString,
        response_deserializer=rows_pb2.PushResponse.FromString,
    )
    return NativeUnary(
        lines, server.target, "/rowbank.v1.RowService/Push", rows_pb2.PushResponse.FromString, other
    ), lines


def push_of(worker, number):
    keys = [worker, 100, 101]
    return push_request("t", keys, -np.ones((3, DIM)), sequence=number + 1, client=f"w{worker}")


def until_acknowledged(push, request):
    """How often it had to be made."""
    for attempt in range(1, 1000):
        try:
            push(request, timeout=10)
            return attempt
        except grpc.RpcError as error:
            if error.code() not in AGAIN:
                raise
            time.sleep(0.005)  # As clients do; nothing is waited for.
    raise AssertionError("nobody answers")


def work(push, worker, *, first=0):
    return sum(until_acknowledged(push, push_of(worker, number)) for number in range(first, first + PUSHES))


def judge(wire, pushes=PUSHES, workers=WORKERS):
    values, _ = wire.pull("t", [*range(workers), 100, 101], DIM)
    expected = [pushes] * workers + [pushes * workers] * 2
    np.testing.assert_array_equal(values, np.repeat(np.array(expected, np.float32)[:, None], DIM, axis=1))


def trouble(server, proxy, seed):
    """Until it is told to stop: resets, cuts, and stops of the server in the middle of whatever it does."""
    rng, over, count = random.Random(seed), threading.Event(), [0]

    def run():
        while not over.wait(rng.uniform(0.0, 0.05)):
            count[0] += 1
            kind = rng.randrange(4)
            if kind == 0:
                os.kill(server.pid, signal.SIGSTOP)
                over.wait(rng.uniform(0.0, 0.05))
                os.kill(server.pid, signal.SIGCONT)
            elif kind == 1:
                proxy.cut()
            else:
                proxy.reset()

    thread = threading.Thread(target=run)
    thread.start()

    def stop():
        over.set()
        thread.join()
        return count[0]

    return stop


def test_connections_that_are_reset_in_the_middle_of_pushes(served):
    server, wire = served
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    proxy = ResettingProxy(wire.native_address)
    push, lines = native_push(server, wire, proxy.target)
    stop = trouble(server, proxy, seed)
    made = pushes = 0
    try:
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            while not pushes or proxy.connections <= WORKERS:  # Fast pushes are over before a reset has hit one.
                made += sum(pool.map(functools.partial(work, push, first=pushes), range(WORKERS)))
                pushes += PUSHES
    finally:
        faults = stop()
        lines.close()
        proxy.close()
    print(f"{faults} faults, {made} attempts")
    assert proxy.connections > WORKERS
    assert made >= WORKERS * pushes
    judge(wire, pushes)


def test_calls_that_are_cancelled_among_others_on_one_connection(served):
    """Of a stock client, which resets streams and not connections; half of the calls are given up at some point."""
    server, wire = served
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)

    def one(worker):
        for number in range(PUSHES):
            made = wire.rows.Push.future(push_of(worker, number), timeout=30)
            if rng.random() < 0.5:
                time.sleep(rng.uniform(0.0, 0.004))
                made.cancel()
        return sum(until_acknowledged(wire.rows.Push, push_of(worker, number)) for number in range(PUSHES))

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, range(WORKERS)))
    judge(wire)
    assert "Traceback" not in server.log


def test_answers_go_on_after_the_server_stood_still(served):
    """In the middle of answers that are larger than sockets take, read by threads."""
    server, wire = served
    until_acknowledged(wire.rows.Push, push_of(0, 0))
    asked = rows_pb2.LookupRequest(table="t", keys=np.tile(np.array([0, 100, 7], "<i8"), 200).tobytes())
    expected = wire.rows.Lookup(asked).values
    path = "/rowbank.v1.RowService/Lookup"
    told = wire.admin.GetServerInfo(admin_pb2.GetServerInfoRequest()).server_id
    lines = Lines(server.target, Credentials())
    lines.learn(wire.native_address, told, [server.target])
    lookup = NativeUnary(lines, server.target, path, rows_pb2.LookupResponse.FromString, None)
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        answers = [pool.submit(lookup, asked, timeout=60) for _ in range(5 * WORKERS)]
        for _ in range(10):
            os.kill(server.pid, signal.SIGSTOP)
            time.sleep(0.02)
            os.kill(server.pid, signal.SIGCONT)
        assert all(answer.result().values == expected for answer in answers)
    lines.close()


def test_a_call_into_the_void_ends_at_its_deadline_and_the_next_is_answered(served):
    """What is between swallows all that comes and says nothing."""
    server, wire = served
    with contextlib.closing(_Void()) as void:
        push, lines = native_push(server, wire, void.target)
        began = time.monotonic()
        push(push_of(0, 0), timeout=30)  # No word comes from there, so gRPC's client makes the call.
        assert time.monotonic() - began < 20
        assert len(lines._all) == 0
        lines.close()
    assert wire.size("t") == 3


class _Void:
    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self):
        self._listener.close()


def test_thousands_of_connections_while_pushes_count(served):
    server, wire = served
    push, lines = native_push(server, wire, wire.native_address)
    with contextlib.ExitStack() as stack:
        for number in range(2000):
            opened = stack.enter_context(frames.connect(wire.native_address))
            if number % 4 == 0:
                opened.sendall(frames.frame(frames.HEADERS, frames.request(), flags=frames.END_HEADERS, stream=1))
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            assert sum(pool.map(lambda worker: work(push, worker), range(WORKERS))) >= WORKERS * PUSHES
    lines.close()
    judge(wire)
    until(lambda: len(os.listdir(f"/proc/{server.pid}/fd")) < 500, what="the end of the connections")
