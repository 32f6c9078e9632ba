"""What a flood on one table costs the reads of another, with and without turns."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import threading
import time
from collections.abc import Iterator

import grpc
import numpy as np

import rowbank
from rowbank_protos.v1 import common_pb2, rows_pb2

from . import services
from .report import Figure, Settings
from .timing import Timing

_FLOODERS, _THREADS, _FLOOD_KEYS = 2, 16, 8192
_QUIET_ROWS, _QUIET_KEYS, _PAUSE_S = 10_000, 256, 0.004
_FLOOD_ROWS = 200_000


def overload(settings: Settings) -> list[Figure]:
    """One caller pulls few rows of a table now and then: alone, and beside 32 pulls of 2 MiB at once of another table.

    The ratio is that of the p99 without turns to the p99 with them.
    """
    timings = {}
    for fair in (False, True):
        options = [] if fair else ["--first-come"]
        with services.running_redis() as redis, services.running_ps(redis, *options) as address:
            with rowbank.Client(address) as client:
                quiet = _made(client, "quiet", _QUIET_ROWS, settings)
                _made(client, "flood", _FLOOD_ROWS, settings)
                _timed("warm", quiet, settings, calls=50)
                timings["alone", fair] = _timed("alone", quiet, settings)
                with _flooding(address, settings):
                    timings["flood", fair] = _timed("beside a flood", quiet, settings)
    detail = {
        f"{name}_{'turns' if fair else 'fifo'}_{what}": getattr(timing, what)
        for (name, fair), timing in timings.items()
        for what in ("median_ms", "p99_ms")
    }
    ratio = timings["flood", False].p99_ms / timings["flood", True].p99_ms
    return [Figure("overload", "p99 beside a flood, turns", "first come, first served", ratio, 1.0, detail)]


def _made(client: rowbank.Client, name: str, rows: int, settings: Settings) -> rowbank.Table:
    table = client.create_table(rowbank.TableSpec(name, dim=settings.dim, durability="relaxed"))
    for start in range(0, rows, 50_000):
        count = min(50_000, rows - start)
        table.upsert(np.arange(start, start + count), np.zeros((count, settings.dim), np.float32))
    return table


def _timed(name: str, table: rowbank.Table, settings: Settings, *, calls: int = 400) -> Timing:
    rng = np.random.default_rng(settings.seed)
    seconds = []
    for _ in range(calls):
        keys = rng.integers(0, _QUIET_ROWS, _QUIET_KEYS)
        started = time.perf_counter()
        table.pull(keys)
        seconds.append(time.perf_counter() - started)
        time.sleep(_PAUSE_S)
    return Timing(name, tuple(seconds))


@contextlib.contextmanager
def _flooding(address: str, settings: Settings) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    flooders = []
    for number in range(_FLOODERS):
        here, there = context.Pipe()
        flooders.append(context.Process(target=_flood, args=(address, settings.seed + number, there), daemon=True))
        flooders[-1].start()
        here.recv()
    try:
        yield
    finally:
        for flooder in flooders:
            flooder.kill()
            flooder.join()


def _flood(address: str, seed: int, report: multiprocessing.connection.Connection) -> None:
    keys = np.random.default_rng(seed).integers(0, _FLOOD_ROWS, _FLOOD_KEYS).astype("<i8").tobytes()
    part = rows_pb2.TableKeys(table="flood", keys=keys)
    request = rows_pb2.PullRequest(tables=[part], wire_dtype=common_pb2.DATA_TYPE_FLOAT32).SerializeToString()
    channel = grpc.insecure_channel(address, options=services.CHANNEL_OPTIONS)
    pull = channel.unary_unary("/rowbank.v1.RowService/Pull", None, None)

    def go_on() -> None:
        while True:
            with contextlib.suppress(grpc.RpcError):  # What is refused is part of it.
                pull(request)

    for _ in range(_THREADS):
        threading.Thread(target=go_on, daemon=True).start()
    time.sleep(0.5)
    report.send(True)
    threading.Event().wait()
