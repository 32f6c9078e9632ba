"""A call ends within its deadline, whatever is at the other end."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import grpc
import pytest
from tests.processes import stand_still
from tests.redis_nodes import free_ports

from rowbank import Client, Credentials, TableSpec, errors
from rowbank.calls import methods
from rowbank.calls.servers import Shard
from rowbank.calls.transport import Transport
from rowbank_protos.v1 import rows_pb2

TIMEOUT_S = 1.0
# What a busy machine may add; the old ways of failing took several times as long as they were allowed.
SLACK_S = 2.0


@contextlib.contextmanager
def mute_port() -> Iterator[str]:
    """Accepts connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def full_port() -> Iterator[str]:
    """Accepts no more connections: packets to it are lost."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def closed_port() -> Iterator[str]:
    yield f"127.0.0.1:{free_ports(1)[0]}"


@contextlib.contextmanager
def no_name() -> Iterator[str]:
    yield "no-such-host.invalid:7700"


@pytest.mark.parametrize("options", [{"timeout_s": TIMEOUT_S}, {"connect_timeout_s": TIMEOUT_S}])
@pytest.mark.parametrize("other_end", [mute_port, full_port, closed_port, no_name])
def test_connecting_ends_in_time(other_end, options, target):
    with other_end() as away:
        for targets in ([away], [target, away]):
            started = time.monotonic()
            with pytest.raises((errors.ShardUnavailable, errors.DeadlineExceeded), match="cannot connect to"):
                Client(targets, **options)
            assert time.monotonic() - started < TIMEOUT_S + SLACK_S


def test_a_longer_wait_for_the_servers_can_be_asked_for():
    with closed_port() as away:
        started = time.monotonic()
        with pytest.raises(errors.ShardUnavailable):
            Client(away, timeout_s=0.1, connect_timeout_s=4 * TIMEOUT_S)
        # Far beyond timeout_s. Pauses between tries are random, and one that would end too late is not begun.
        assert time.monotonic() - started > TIMEOUT_S


def test_a_call_ends_in_time_when_a_shard_stands_still(start_ps, table_name):
    shards = [start_ps("--shard", f"{shard}/2") for shard in (0, 1)]
    with Client([shard.target for shard in shards], timeout_s=30.0) as whole:
        whole.create_table(TableSpec(table_name, dim=2))
    with Client([shard.target for shard in shards], timeout_s=TIMEOUT_S, connect_timeout_s=30.0) as client:
        table = client.table(table_name)
        stand_still(shards[1].pid)
        try:
            for call in (lambda: table.pull(list(range(100))), table.size, client.list_tables, table.stats):
                started = time.monotonic()
                with pytest.raises(errors.DeadlineExceeded, match="shard 1 at"):
                    call()
                assert time.monotonic() - started < TIMEOUT_S + SLACK_S
        finally:
            os.kill(shards[1].pid, signal.SIGCONT)


def test_a_deadline_says_why_there_was_a_second_attempt():
    asked, over = [], threading.Event()

    def size(request, context):
        asked.append(request)
        if len(asked) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the journal is away")
        over.wait(30)
        return rows_pb2.SizeResponse()

    read, write = rows_pb2.SizeRequest.FromString, rows_pb2.SizeResponse.SerializeToString
    handler = grpc.unary_unary_rpc_method_handler(size, read, write)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("rowbank.v1.RowService", {"Size": handler}),))
    shard = Shard(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", Credentials())
    server.start()
    try:
        transport = Transport([shard], timeout_s=TIMEOUT_S)
        with pytest.raises(errors.DeadlineExceeded, match=r"attempt 2, after: .*the journal is away"):
            transport.one(methods.SIZE, 0, rows_pb2.SizeRequest(table="t"))
        transport.close()
    finally:
        over.set()
        server.stop(None).wait()
