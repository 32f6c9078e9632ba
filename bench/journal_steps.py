"""Journaled training steps beside relaxed ones, and how near they come to what Redis alone takes for the bytes."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import multiprocessing.connection
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import redis

import rowbank

from . import services
from .arrays import Array
from .grpc_workloads import fill_rowbank
from .keys import BATCHES, query_batches, random_rows, table_keys
from .placement import placement
from .processor_time import processor_s
from .report import Figure, Settings

_LEVELS = ("relaxed", "journaled")
_TURN_S = 2.0
_APPENDS_S = 0.5  # Of a turn of nothing but appends: they stay in Redis's memory until its end.
_RECORD_BYTES = 250  # Of a record, beside its keys and gradients.
_ASKED = 0.75
_Pipe = multiprocessing.connection.Connection


@dataclass
class _Spent:
    """Processor time and calls, over all turns."""

    calls: float = 0.0
    user_s: float = 0.0
    system_s: float = 0.0
    call_s: list[float] = field(default_factory=list)  # Of each turn: its length for each of its calls.

    @property
    def median_ms(self) -> float:
        return float(np.median(self.call_s)) * 1e3

    def ms_a_call(self, prefix: str) -> dict[str, float]:
        """The process's time for each call."""
        spent = {"user": self.user_s, "system": self.system_s}
        return {f"{prefix}_{kind}_ms": seconds / self.calls * 1e3 for kind, seconds in spent.items()}

    @property
    def processor_ms(self) -> float:
        return (self.user_s + self.system_s) / self.calls * 1e3


@dataclass(frozen=True, slots=True)
class _Turn:
    """What is measured, told to programs, and Redis's process beside it."""

    pipes: list[_Pipe]
    what: str
    redis: int
    seconds: float
    tidy: Callable[[], object]  # What it left is not to be others' burden.

    def rate(self) -> float:
        return _told(self.pipes, self.what)


def journaled_steps(settings: Settings) -> list[Figure]:
    """Pull and push of the same rows, with Adagrad, by one client and by four: journaled tables beside relaxed ones.

    In turns with bare XADDs of as many bytes, over a connection of the same kind, from a process on the server's core.
    """
    cores = placement(1)
    print(f"journaled_steps: {cores}", flush=True)
    figures = []
    with contextlib.ExitStack() as stack:
        ports = {
            "append": stack.enter_context(services.running_redis(append_only=True, cores=cores.clients)),
            "append_without_file": stack.enter_context(services.running_redis(cores=cores.clients)),
        }
        processes = {name: _process(port) for name, port in ports.items()}
        shard = stack.enter_context(services.shard(ports["append"], cores=cores.server))
        client = stack.enter_context(rowbank.Client(shard.target, timeout_s=60))
        for level in _LEVELS:
            spec = rowbank.TableSpec(level, dim=settings.dim, optimizer=rowbank.Adagrad(0.1), durability=level)
            fill_rowbank(client.create_table(spec), settings, table_keys(settings))
        client.flush()
        bare = {}
        for name, port in ports.items():
            pipes = stack.enter_context(_programs(1, functools.partial(_append, port, settings), cores.server))
            clear = functools.partial(_told, pipes, "clear")
            bare[name] = _Turn(pipes, "append", processes[name], _APPENDS_S, clear)
        for count in (1, 4):
            with _programs(count, functools.partial(_train, shard.target, settings), cores.clients) as pipes:
                steps = {level: _Turn(pipes, level, processes["append"], _TURN_S, client.flush) for level in _LEVELS}
                figures += _figures(count, settings, _spent(settings.rounds, steps | bare))
    return figures


def _spent(rounds: int, turns: dict[str, _Turn]) -> dict[str, _Spent]:
    """All of them, one after the other, so many times; before that once for warmth."""
    found = {name: _Spent() for name in turns}
    for number in range(rounds + 1):
        for name, turn in turns.items():
            before = processor_s(turn.redis)
            rate = turn.rate()
            user, system = (end - start for end, start in zip(processor_s(turn.redis), before, strict=True))
            turn.tidy()
            if number:
                spent = found[name]
                spent.calls += rate * turn.seconds
                spent.user_s, spent.system_s = spent.user_s + user, spent.system_s + system
                spent.call_s.append(1 / rate)
    return found


def _figures(count: int, settings: Settings, spent: dict[str, _Spent]) -> list[Figure]:
    relaxed, journaled, append = (spent[name] for name in ("relaxed", "journaled", "append"))
    clients = f"{count} client{'s' if count > 1 else ''}"
    rows = {f"{level}_rows_per_s": settings.batch / spent[level].median_ms * 1e3 for level in _LEVELS}
    # Clients that leave their core no rest can have what is left of it by Redis; a lone one waits for the answer.
    floor_ms = relaxed.median_ms + (append.median_ms if count == 1 else append.processor_ms)
    detail = {
        "journaled_ms": journaled.median_ms, "relaxed_ms": relaxed.median_ms, "append_ms": append.median_ms,
        "append_without_file_ms": spent["append_without_file"].median_ms, "best_ratio": relaxed.median_ms / floor_ms,
        **append.ms_a_call("append_redis"), **spent["append_without_file"].ms_a_call("without_file_redis"),
        **journaled.ms_a_call("journaled_redis"),
    }  # fmt: skip
    return [
        Figure(
            "journaled_steps",
            f"journaled steps, {clients}",
            "relaxed steps",
            relaxed.median_ms / journaled.median_ms,
            _ASKED,
            rows,
        ),
        Figure(
            "journaled_steps",
            f"journaled steps, {clients}",
            "a relaxed step and a bare XADD",
            floor_ms / journaled.median_ms,
            None,
            detail,
        ),
    ]


def _process(port: int) -> int:
    with redis.Redis(port=port) as client:
        return int(client.info("server")["process_id"])


@contextlib.contextmanager
def _programs(count: int, work: Callable[[int, _Pipe], None], cores: tuple[int, ...]) -> Iterator[list[_Pipe]]:
    """Processes on these cores, by pipes: told what to do, each does it for a turn and answers with calls a second."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    try:
        for number in range(count):
            here, there = context.Pipe()
            process = context.Process(target=_pinned, args=(cores, work, number, there), daemon=True)
            process.start()
            pipes.append(here)
            processes.append(process)
        for pipe in pipes:
            pipe.recv()
        yield pipes
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _pinned(cores: tuple[int, ...], work: Callable[[int, _Pipe], None], number: int, pipe: _Pipe) -> None:
    os.sched_setaffinity(0, cores)
    work(number, pipe)


def _told(pipes: list[_Pipe], what: str) -> float:
    for pipe in pipes:
        pipe.send(what)
    return sum(float(pipe.recv()) for pipe in pipes)


def _train(address: str, settings: Settings, number: int, pipe: _Pipe) -> None:
    batches: list[Array] = query_batches(settings, table_keys(settings))
    gradients = random_rows(settings, settings.batch)
    with rowbank.Client(address) as client:
        pipe.send("ready")
        while True:
            table = client.table(pipe.recv())
            steps, start = 0, time.perf_counter()
            while time.perf_counter() - start < _TURN_S:
                batch = batches[(number * 16 + steps) % BATCHES]
                table.pull(batch)
                table.push(batch, gradients)
                steps += 1
            pipe.send(steps / (time.perf_counter() - start))


def _append(port: int, settings: Settings, number: int, pipe: _Pipe) -> None:
    """Appends records to a stream, one after the other, as a shard does; told to clear, deletes them."""
    record = random_rows(settings, settings.batch).tobytes() + bytes(8 * settings.batch + _RECORD_BYTES)
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pipe.send("ready")
        while True:
            if pipe.recv() == "clear":
                _ask(line, b"DEL", b"floor")
                pipe.send(0)
                continue
            appends, start = 0, time.perf_counter()
            while time.perf_counter() - start < _APPENDS_S:
                _ask(line, b"XADD", b"floor", b"%d-0" % (appends + 1), b"0", record)
                appends += 1
            pipe.send(appends / (time.perf_counter() - start))


def _ask(line: socket.socket, *words: bytes) -> None:
    """Sends a command without copying its words together, and reads its answer of one line or of two."""
    pieces: list[memoryview] = [memoryview(b"*%d\r\n" % len(words))]
    for word in words:
        pieces += map(memoryview, (b"$%d\r\n" % len(word), word, b"\r\n"))
    while pieces:
        sent = line.sendmsg(pieces)
        while pieces and sent >= len(pieces[0]):
            sent -= len(pieces.pop(0))
        if sent:
            pieces[0] = pieces[0][sent:]
    answer = line.recv(256)
    while answer.count(b"\r\n") < (2 if answer.startswith(b"$") else 1):
        answer += line.recv(256)
    if answer.startswith(b"-"):
        raise RuntimeError(f"Redis refused {words[0]!r}: {answer!r}")
