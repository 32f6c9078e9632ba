"""Clients that pull and push until they are told to stop, and how long each request took."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rowbank import Client
from rowbank.errors import RowbankError

_PAUSE_S = 0.05  # After a request that failed, so that a server in trouble is not asked all the harder.


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked.

    Attributes:
        rows: keys 0 to rows - 1 are there.
        batch: keys of a request.
        pull_share: of the requests; the others push.
    """

    table: str
    rows: int
    dim: int
    batch: int
    pull_share: float


@dataclass(slots=True)
class Measured:
    """Of one verb: seconds of each request that was answered, and how those that were not failed."""

    seconds: list[float] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)


def fill(client: Client, load: Load) -> None:
    """Stores the rows, before anything is measured."""
    table, rng = client.table(load.table), np.random.default_rng(0)
    for start in range(0, load.rows, load.batch):
        keys = np.arange(start, min(start + load.batch, load.rows), dtype=np.int64)
        table.upsert(keys, rng.normal(0, 0.05, (len(keys), load.dim)).astype(np.float32))


@contextlib.contextmanager
def working(clients: Sequence[Client], load: Load) -> Iterator[dict[str, Measured]]:
    """Lets each client work in a thread until the block ends; then what is yielded is whole."""
    stop = threading.Event()
    parts = [{"pull": Measured(), "push": Measured()} for _ in clients]
    threads = [
        threading.Thread(target=_work, args=(client, load, seed, parts[seed], stop), daemon=True)
        for seed, client in enumerate(clients)
    ]
    whole = {"pull": Measured(), "push": Measured()}
    for thread in threads:
        thread.start()
    try:
        yield whole
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for part in parts:
            for verb, measured in part.items():
                whole[verb].seconds += measured.seconds
                for name, count in measured.failed.items():
                    whole[verb].failed[name] = whole[verb].failed.get(name, 0) + count


def _work(client: Client, load: Load, seed: int, parts: dict[str, Measured], stop: threading.Event) -> None:
    rng = np.random.default_rng(seed)
    table = client.table(load.table)
    gradients = rng.normal(0, 1e-3, (load.batch, load.dim)).astype(np.float32)
    while not stop.is_set():
        verb = "pull" if rng.random() < load.pull_share else "push"
        keys = rng.integers(0, load.rows, load.batch)
        started = time.perf_counter()
        try:
            _ask(table, verb, keys, gradients)
        except RowbankError as error:
            failed = parts[verb].failed
            failed[type(error).__name__] = failed.get(type(error).__name__, 0) + 1
            stop.wait(_PAUSE_S)
        else:
            parts[verb].seconds.append(time.perf_counter() - started)


def _ask(table: Any, verb: str, keys: Any, gradients: Any) -> None:
    if verb == "pull":
        table.pull(keys)
    else:
        table.push(keys, gradients)


def records(measured: dict[str, Measured], load: Load, *, elapsed_s: float, clients: int) -> list[dict[str, Any]]:
    """One record for each verb that was asked."""
    found = []
    for verb, one in measured.items():
        if not one.seconds and not one.failed:
            continue
        taken = np.asarray(one.seconds) * 1e3
        times = dict.fromkeys(("p50_ms", "p90_ms", "p99_ms", "max_ms"))
        if len(taken):
            times = dict(zip(times, np.percentile(taken, [50, 90, 99, 100]).tolist(), strict=True))
        found.append(
            {
                "verb": verb,
                "requests": len(taken),
                "failed": sum(one.failed.values()),
                "requests_per_s": len(taken) / elapsed_s,
                "rows_per_s": len(taken) * load.batch / elapsed_s,
                **times,
                "batch": load.batch,
                "dim": load.dim,
                "table_rows": load.rows,
                "clients": clients,
                "elapsed_s": elapsed_s,
                "failures": dict(sorted(one.failed.items())),
            }
        )
    return found
