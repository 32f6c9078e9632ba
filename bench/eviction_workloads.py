"""How well eviction chooses, and what it costs those who read meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import time
from collections import Counter
from typing import Literal

import numpy as np

import rowbank
from rowbank_server import _core

from . import services
from .arrays import Array
from .grpc_workloads import fill_rowbank
from .keys import BATCHES, query_batches, random_rows, table_keys
from .report import Figure, Settings
from .timing import take_turns

_IDS = 20_000
_CAP = 1_000
_STEPS = 300
_SEEN_STEPS = 50  # Before hits are counted.
_SWAPS_PER_STEP = (0, 20, 80, 320)  # Pairs of ids that trade popularity each step.
_HALF_LIVES_S = (20.0, 60.0)  # A step is a second.


def _table(half_life_s: float) -> _core.RowTable:
    optimizer = _core.Optimizer("sgd", learning_rate=0.1)
    return _core.RowTable(
        name="trace",
        dim=1,
        value_dtype="float32",
        initializer=_core.Initializer("zeros"),
        optimizer=optimizer,
        half_life_s=half_life_s,
    )


class _Oracle:
    """Exact LFU: remembers the frequency of every key ever seen, also of evicted ones."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.stored: set[int] = set()

    def push(self, keys: Array) -> None:
        self.counts.update(keys.tolist())
        self.stored |= set(keys.tolist())
        if len(self.stored) > _CAP:
            self.stored = set(sorted(self.stored, key=self.counts.__getitem__)[-int(_CAP * 0.9) :])


def _hit_rates(settings: Settings, swaps: int) -> dict[str, float]:
    """Share of accesses that find their row on a Zipf(1.2) trace, by way to evict."""
    random = np.random.default_rng(settings.seed)
    tables: dict[str, tuple[_core.RowTable, Literal["lfu", "lru"]]] = {
        f"lfu, half-life {half_life:g} s": (_table(half_life), "lfu") for half_life in _HALF_LIVES_S
    }
    tables["lfu"] = (_table(0.0), "lfu")
    tables["lru"] = (_table(0.0), "lru")
    oracle = _Oracle()
    hits = dict.fromkeys([*tables, "exact lfu"], 0)
    key_of_rank = random.permutation(_IDS)
    one = np.ones((500, 1), np.float32)
    found = np.zeros(500, np.uint8)
    accesses = 0
    for now in range(1, _STEPS + 1):
        for first, second in random.integers(0, _IDS, (swaps, 2)):
            key_of_rank[[first, second]] = key_of_rank[[second, first]]
        keys = key_of_rank[random.zipf(1.2, 500) % _IDS]
        counted = now > _SEEN_STEPS
        accesses += 500 * counted
        for name, (table, policy) in tables.items():
            table.lookup(keys, np.empty((500, 1), np.float32), found)
            hits[name] += int(found.sum()) * counted
            table.push(keys, one, None, step=1, now=now)
            table.evict_cycle(max_rows=_CAP, policy=policy, now=now, budget_ms=1e4)
        hits["exact lfu"] += int(np.isin(keys, list(oracle.stored)).sum()) * counted
        oracle.push(keys)
    return {name: count / accesses for name, count in hits.items()}


def eviction_quality(settings: Settings) -> list[Figure]:
    """Hit rates of LFU, decayed LFU and LRU against exact LFU with full memory, for four speeds of drift."""
    figures = []
    for swaps in _SWAPS_PER_STEP:
        rates = _hit_rates(settings, swaps)
        for name, rate in rates.items():
            if name != "exact lfu":
                detail = {"hit_rate": rate, "reference_hit_rate": rates["exact lfu"]}
                ratio = rate / rates["exact lfu"]
                figures.append(Figure(f"eviction_quality/{swaps}", name, "exact lfu", ratio, None, detail))
    return figures


def pull_under_eviction(settings: Settings) -> list[Figure]:
    """p99 of pulls while another client's new keys keep eviction and write-back busy, beside p99 of the idle server."""
    keys = table_keys(settings)
    batches = query_batches(settings, keys)
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(services.running_ps(stack.enter_context(services.running_redis())))
        client = stack.enter_context(rowbank.Client(address))
        spec = rowbank.TableSpec(
            "bench",
            dim=settings.dim,
            optimizer=rowbank.Adagrad(0.1),
            eviction=rowbank.Eviction("lfu", max_rows=len(keys)),
        )
        table = client.create_table(spec)
        fill_rowbank(table, settings, keys)
        client.flush()
        pull = {"pull": lambda number: table.pull(batches[number % BATCHES])}
        idle = take_turns(pull, rounds=settings.rounds, calls_per_round=settings.calls_per_round * 4)["pull"]
        pusher = multiprocessing.get_context("spawn").Process(
            target=_push_new_keys, args=(address, settings), daemon=True
        )
        pusher.start()
        try:
            _await_evictions(table, deadline_s=30.0)
            busy = take_turns(pull, rounds=settings.rounds, calls_per_round=settings.calls_per_round * 4)["pull"]
        finally:
            pusher.terminate()
            pusher.join()
        evicted = table.stats().evicted_rows
    detail = {
        "idle_p99_ms": idle.p99_ms,
        "busy_p99_ms": busy.p99_ms,
        "busy_p50_ms": busy.median_ms,
        "evicted_rows": float(evicted),
    }
    # The bar is under twice the idle p99, so the ratio is turned over: above 0.5 is under the bar.
    return [Figure("pull_under_eviction", "rowbank, evicting", "rowbank, idle", idle.p99_ms / busy.p99_ms, 0.5, detail)]


def _await_evictions(table: rowbank.Table, *, deadline_s: float) -> None:
    end = time.monotonic() + deadline_s
    while not table.stats().evicted_rows:
        if time.monotonic() > end:
            raise RuntimeError(f"no eviction within {deadline_s} s")
        time.sleep(0.05)


def _push_new_keys(address: str, settings: Settings) -> None:
    """Ten batches of unseen keys a second, each of which makes as many rows go; until the process is ended."""
    gradients = random_rows(settings, settings.batch)
    with rowbank.Client(address) as client:
        table = client.table("bench")
        for number in itertools.count():
            first = -(number + 1) * settings.batch - 1
            table.push(np.arange(first, first + settings.batch), gradients)
            time.sleep(0.1)
