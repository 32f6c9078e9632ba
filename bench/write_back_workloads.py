"""What write-back moves, and the replay that it leaves after a kill."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import time

import numpy as np
import redis

import rowbank
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
from .timing import time_once

_LAYOUT = Layout("rowbank")
_LOAD_THREADS = 4
_EXPONENT = 1.05
_ASKED = 0.3
_WRITE_BACKS = 2
_RECORD_BYTES = 250  # Of a record and its command, beside the request.
_TARGET_S = 2.0  # So that the time of a replay decides, and not the bytes of the journal.


def write_back_bytes(settings: Settings) -> list[Figure]:
    """Bytes of write-back that Redis takes for each byte pushed under Zipf keys, at the default settings."""
    keys = table_keys(settings)
    cumulative = np.cumsum(1.0 / np.arange(1, len(keys) + 1) ** _EXPONENT)
    generator = np.random.default_rng(settings.seed + 1)
    rows = random_rows(settings, settings.batch)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(services.running_redis(append_only=True))
        client = stack.enter_context(rowbank.Client(stack.enter_context(services.running_ps(port))))
        admin = stack.enter_context(redis.Redis(port=port))
        spec = rowbank.TableSpec("bench", dim=settings.dim, optimizer=rowbank.Adagrad(0.1))
        table = client.create_table(spec)
        fill_rowbank(table, settings, keys)
        client.flush()
        before, started = _taken(admin), time.perf_counter()
        pushed = pushes = trims = journal = largest = 0
        while trims < _WRITE_BACKS:
            drawn = np.searchsorted(cumulative, generator.random(settings.batch) * cumulative[-1])
            batch = keys[np.unique(drawn)]
            table.push(batch, rows[: len(batch)])
            pushed += len(batch) * (8 + 4 * settings.dim)
            pushes += 1
            if pushes % 5 == 0:
                now = client.health()[0].journal_bytes
                trims, journal, largest = trims + (now < journal / 2), now, max(largest, now)
        written = _taken(admin) - before - pushed - pushes * _RECORD_BYTES
        seconds = time.perf_counter() - started
    detail = {
        "written_bytes_per_pushed": written / pushed,
        "pushed_mb": pushed / 1e6,
        "seconds": seconds,
        "largest_journal_mb": largest / 1e6,
    }
    ratio = _ASKED * pushed / written
    return [Figure("write_back_bytes", "write-back, Zipf 1.05", f"{_ASKED} bytes a byte", ratio, 1.0, detail)]


def _taken(admin: redis.Redis) -> int:
    return int(admin.info("stats")["total_net_input_bytes"])


def replay_target(settings: Settings) -> list[Figure]:
    """Kills a shard when its journal is as long as it was allowed to become; the replay beside `recovery_target_s`."""
    keys = table_keys(settings)
    batches, gradients = query_batches(settings, keys), random_rows(settings, settings.batch)
    limits: tuple[str, ...] = ("--recovery-target-s", str(_TARGET_S), "--journaled-flush-interval-s", "3600")
    limits += ("--journal-max-bytes", str(16 << 30))
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(services.running_redis(append_only=True))
        with services.running_ps(port, *limits, orderly=False) as address, rowbank.Client(address) as client:
            spec = rowbank.TableSpec("bench", dim=settings.dim, optimizer=rowbank.Adagrad(0.1))
            table = client.create_table(spec)
            fill_rowbank(table, settings, keys)
            client.flush()
            largest = _push_until_written(client, table, batches, gradients)
            bytes_left, number = 0, 0
            while bytes_left < 0.95 * largest:
                table.push(batches[number % BATCHES], gradients)
                number += 1
                bytes_left = client.health()[0].journal_bytes
        seconds, records = _replay(stack.enter_context(connect(f"redis://127.0.0.1:{port}", timeout_s=60.0)))
    detail = {"replay_s": seconds, "records": float(records)}
    detail |= {"journal_mb": bytes_left / 1e6, "largest_journal_mb": largest / 1e6}
    return [Figure("replay_target", f"replay, {_TARGET_S:g} s asked", "its target", _TARGET_S / seconds, 1.0, detail)]


def _push_until_written(client: rowbank.Client, table: rowbank.Table, batches: list[Array], gradients: Array) -> int:
    """Pushes until the journal was trimmed twice; returns the most bytes that it had."""
    largest = trims = before = 0
    for number in itertools.count():
        table.push(batches[number % BATCHES], gradients)
        now = client.health()[0].journal_bytes
        largest, trims, before = max(largest, now), trims + (now < before / 2), now
        if trims == 2:
            break
    return largest


def _replay(store: Redis) -> tuple[float, int]:
    """Loads the rows and replays the journal, as a start does: seconds of the replay, and records."""
    entry = Catalog(store, _LAYOUT).read().entries["bench"]
    table = ShardTable(entry, Ownership(0, 1))
    with concurrent.futures.ThreadPoolExecutor(_LOAD_THREADS) as executor:
        load_table(table, RowStore(store, _LAYOUT, shard=0, owner="bench"), executor)
    streams = JournalStreams(store, _LAYOUT, shard=0, owner="bench")
    replay = Replay(streams, DedupWindow(window=1024, max_clients=16))
    sealed = streams.seal_older(1 << 20)
    seconds = time_once(lambda: replay.run(sealed, [table]))
    return seconds, replay.records
