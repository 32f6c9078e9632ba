"""What durability costs and how fast it pays back: recovery beside Redis's own rate, snapshots under load, levels."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import redis

import rowbank
from rowbank import snapshots
from rowbank_server.journal.streams import JournalStreams
from rowbank_server.ps.durability.dedup import DedupWindow
from rowbank_server.ps.durability.recovery import Replay
from rowbank_server.ps.tables.loading import load_table
from rowbank_server.ps.tables.table import Ownership, ShardTable
from rowbank_server.storage.catalog import Catalog
from rowbank_server.storage.connection import Redis, connect
from rowbank_server.storage.layout import Layout
from rowbank_server.storage.rows import RowStore

from . import services
from .arrays import Array
from .grpc_workloads import fill_rowbank
from .keys import BATCHES, query_batches, random_rows, table_keys
from .report import Figure, Settings
from .timing import take_turns, time_once

_LAYOUT = Layout("rowbank")
_LOAD_THREADS = 4  # The setting load_threads has this default.
_TURNS = 5
_REPLAYED_PUSHES = 500
_PUSHERS = 4
_LEVEL_S = 2.0


def recovery(settings: Settings) -> list[Figure]:
    """Loads all rows as a starting shard does, beside bare HGETALLs of the same buckets; then replays a journal."""
    keys = table_keys(settings)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(services.running_redis(append_only=True))
        with services.running_ps(port) as address, rowbank.Client(address) as client:
            spec = rowbank.TableSpec("bench", dim=settings.dim, optimizer=rowbank.Adagrad(0.1))
            fill_rowbank(client.create_table(spec), settings, keys)
        store = stack.enter_context(contextlib.closing(connect(f"redis://127.0.0.1:{port}", timeout_s=60.0)))
        loaded = _loading(store, len(keys))
        pushes_per_s = _push_and_kill(settings, port, keys)
        return [loaded, _replay(store, pushes_per_s)]


def _loading(store: Redis, row_count: int) -> Figure:
    entry = Catalog(store, _LAYOUT).read().entries["bench"]

    def read(number: int) -> None:
        found = sum(len(store.hgetall(_LAYOUT.rows(entry.table_id, bucket))) for bucket in range(entry.bucket_count))
        _require(found, row_count, "rows in Redis")

    def load(number: int) -> None:
        with concurrent.futures.ThreadPoolExecutor(_LOAD_THREADS) as executor:
            table = ShardTable(entry, Ownership(0, 1))
            load_table(table, RowStore(store, _LAYOUT, shard=0, owner="bench"), executor)
            _require(table.rows.size(), row_count, "rows loaded")

    timings = take_turns({"recovery": load, "HGETALL": read}, rounds=_TURNS, calls_per_round=1, warmup=1)
    ours, theirs = timings["recovery"].median_ms, timings["HGETALL"].median_ms
    detail = {"rows_per_s": row_count / ours * 1e3, "hgetall_rows_per_s": row_count / theirs * 1e3}
    return Figure("recovery", "loading rows", "redis-py HGETALL", theirs / ours, 0.7, detail)


def _push_and_kill(settings: Settings, port: int, keys: Array) -> float:
    """Leaves a journal of pushes that no write-back has covered; returns pushes per second, acknowledged one by one."""
    batches, gradients = query_batches(settings, keys), random_rows(settings, settings.batch)
    limits = ("--flush-interval-s", "3600", "--journal-max-bytes", str(4 << 30))
    with services.running_ps(port, *limits, orderly=False) as address, rowbank.Client(address) as client:
        table = client.table("bench")
        return _REPLAYED_PUSHES / time_once(
            lambda: [table.push(batches[number % BATCHES], gradients) for number in range(_REPLAYED_PUSHES)]
        )


def _replay(store: Redis, pushes_per_s: float) -> Figure:
    entry = Catalog(store, _LAYOUT).read().entries["bench"]
    table = ShardTable(entry, Ownership(0, 1))
    with concurrent.futures.ThreadPoolExecutor(_LOAD_THREADS) as executor:
        load_table(table, RowStore(store, _LAYOUT, shard=0, owner="bench"), executor)
    streams = JournalStreams(store, _LAYOUT, shard=0, owner="bench")
    sealed = streams.seal_older(1 << 20)
    replay = Replay(streams, DedupWindow(window=1024, max_clients=16))
    seconds = time_once(lambda: replay.run(sealed, [table]))
    _require(replay.records, _REPLAYED_PUSHES, "records replayed")
    rate = _REPLAYED_PUSHES / seconds
    detail = {"replayed_pushes_per_s": rate, "pushes_per_s": pushes_per_s}
    return Figure("recovery", "replay of pushes", "the same pushes, first time", rate / pushes_per_s, None, detail)


def snapshot(settings: Settings) -> list[Figure]:
    """Saves snapshots while one client pushes and another pulls; p99 of the pulls beside that without a snapshot."""
    keys = table_keys(settings)
    batches = query_batches(settings, keys)
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(services.running_ps(stack.enter_context(services.running_redis())))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        client = stack.enter_context(rowbank.Client(address))
        spec = rowbank.TableSpec("bench", dim=settings.dim, optimizer=rowbank.Adagrad(0.1))
        table = client.create_table(spec)
        fill_rowbank(table, settings, keys)
        client.flush()
        pull = {"pull": lambda number: table.pull(batches[number % BATCHES])}
        rounds, calls = settings.rounds, settings.calls_per_round * 4
        with _running(_push_batches, address, settings):
            without = take_turns(pull, rounds=rounds, calls_per_round=calls)["pull"]
            with _running(_save_again_and_again, address, str(folder)):
                _await_snapshots(folder, 1)
                during = take_turns(pull, rounds=rounds, calls_per_round=calls)["pull"]
                _await_snapshots(folder, 2)
        rates = [float(path.read_text()) for path in folder.glob("*.rate")]
    detail = {
        "save_mb_per_s": float(np.median(rates)),
        "snapshots": float(len(rates)),
        "p99_ms": during.p99_ms,
        "p99_without_ms": without.p99_ms,
        "p50_ms": during.median_ms,
        "p50_without_ms": without.median_ms,
    }
    ratio = without.p99_ms / during.p99_ms
    return [Figure("snapshot", "pull p99, saving and pushing", "pull p99, pushing", ratio, None, detail)]


@contextlib.contextmanager
def _running(work: Callable[..., None], *arguments: object) -> Iterator[None]:
    """`work` in a process of its own, until the block ends."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _push_batches(address: str, settings: Settings) -> None:
    """Twenty batches a second, until the process is ended."""
    batches, gradients = query_batches(settings, table_keys(settings)), random_rows(settings, settings.batch)
    with rowbank.Client(address) as client:
        table = client.table("bench")
        for number in itertools.count():
            table.push(batches[number % BATCHES], gradients)
            time.sleep(0.05)


def _save_again_and_again(address: str, folder: str) -> None:
    """Saves snapshots until the process is ended, and notes MB/s of each."""
    with rowbank.Client(address) as client:
        for number in itertools.count():
            start = time.perf_counter()
            saved = snapshots.save(client, folder, name=f"s{number}")
            seconds = time.perf_counter() - start
            size = sum(path.stat().st_size for path in Path(saved.location).rglob("*") if path.is_file())
            (Path(folder) / f"s{number}.rate").write_text(str(size / seconds / 1e6))


def _await_snapshots(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 300
    while len(list(folder.glob("*.rate"))) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no {count} snapshots within 300 s")
        time.sleep(0.05)


def durability_levels(settings: Settings) -> list[Figure]:
    """Four clients push to a relaxed, a journaled and a synced table of one Redis; pushes per second of each."""
    keys = table_keys(settings)
    rates: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(services.running_redis(append_only=True, binary=services.waitaof_binary()))
        with redis.Redis(port=port) as admin:  # Else a synced push waits for the sync of each second.
            admin.config_set("appendfsync", "always")
        address = stack.enter_context(services.running_ps(port))
        with rowbank.Client(address) as client:
            for durability in ("relaxed", "journaled", "synced"):
                spec = rowbank.TableSpec(
                    durability, dim=settings.dim, optimizer=rowbank.Adagrad(0.1), durability=durability
                )
                fill_rowbank(client.create_table(spec), settings, keys)
            client.flush()
        for _ in range(3):
            for durability in ("relaxed", "journaled", "synced"):
                rates[durability] = max(rates.get(durability, 0.0), _push_rate(address, durability, settings, keys))
    return [
        Figure(
            "durability_levels",
            level,
            "relaxed",
            rates[level] / rates["relaxed"],
            None,
            {"pushes_per_s": rates[level], "relaxed_pushes_per_s": rates["relaxed"]},
        )
        for level in ("journaled", "synced")
    ]


def _push_rate(address: str, table: str, settings: Settings, keys: Array) -> float:
    """Pushes per second of some clients at once."""
    counts = [0] * _PUSHERS
    deadline = time.perf_counter() + _LEVEL_S

    def push(number: int) -> None:
        with rowbank.Client(address) as client:
            while time.perf_counter() < deadline:
                client.table(table).push(batches[(number + counts[number]) % BATCHES], gradients)
                counts[number] += 1

    batches, gradients = query_batches(settings, keys), random_rows(settings, settings.batch)
    threads = [threading.Thread(target=push, args=(number,)) for number in range(_PUSHERS)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


def _require(got: int, expected: int, what: str) -> None:
    if got != expected:
        raise RuntimeError(f"{what}: expected {expected}, got {got}")
