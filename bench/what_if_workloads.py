"""What a simulation predicts, against what then really happens."""

from __future__ import annotations

from typing import Any

import numpy as np

from rowbank_server import _core

from .arrays import Array
from .core_workloads import native_table
from .keys import BATCHES, query_batches, random_rows, table_keys
from .report import Figure, Settings, speedup
from .timing import take_turns

_IDS = 20_000
_CAP = 1_000
_BATCH = 500
_STEPS = 300  # A step is a second. The first half is what is predicted from, the second what is predicted.
_WARM_STEPS = 50  # Of the second half, before hits are counted.
_SWAPS_PER_STEP = (0, 20, 80, 320)  # Pairs of ids that trade popularity each step.
_WARM_CALLS = 5000
_SAMPLE_BYTES = 24 << 20
_THIN_SAMPLE_BYTES = 24 * 12_000
_POLICIES: dict[str, dict[str, Any]] = {
    "lfu": {"policy": "lfu"},
    "lru": {"policy": "lru"},
    "lfu, half-life 20 s": {"policy": "lfu", "half_life_s": 20.0},
}


def _table(policy: dict[str, Any], sample_bytes: int) -> _core.RowTable:
    table = _core.RowTable(
        name="trace",
        dim=1,
        value_dtype="float32",
        initializer=_core.Initializer("zeros"),
        optimizer=_core.Optimizer("sgd", learning_rate=0.1),
        half_life_s=policy.get("half_life_s", 0.0),
    )
    table.set_sample_bytes(sample_bytes)
    return table


def _trace(settings: Settings, swaps: int) -> list[Array]:
    """As `eviction_quality` has it: Zipf(1.2) over ids that trade popularity; without repeats in a batch."""
    random = np.random.default_rng(settings.seed)
    key_of_rank = random.permutation(_IDS)
    batches = []
    for _ in range(2 * _STEPS):
        for first, second in random.integers(0, _IDS, (swaps, 2)):
            key_of_rank[[first, second]] = key_of_rank[[second, first]]
        batches.append(np.unique(key_of_rank[random.zipf(1.2, _BATCH) % _IDS]))
    return batches


def _run(table: _core.RowTable, batches: list[Array], first: int, policy: dict[str, Any]) -> list[tuple[int, int]]:
    """Pulls, then pushes, then a cycle, each second. Keys and hits of each."""
    counts = []
    for now, keys in enumerate(batches, first):
        status = np.zeros(len(keys), np.uint8)
        table.pull(keys, np.empty((len(keys), 1), np.float32), status, now=now)
        counts.append((len(keys), int((status == 1).sum())))
        table.push(keys, np.ones((len(keys), 1), np.float32), None, step=1, now=now)
        table.evict_cycle(max_rows=_CAP, policy=policy["policy"], now=now, budget_ms=1e4)
    return counts


def _rate(counts: list[tuple[int, int]]) -> float:
    return sum(hits for _, hits in counts) / sum(keys for keys, _ in counts)


def _predicted(table: _core.RowTable, now: int) -> dict[str, float]:
    """Hit rates of pulls that the table foretells of itself with other policies."""
    what_ifs = [_core.WhatIf(cap_rows=_CAP, **policy) for policy in _POLICIES.values()]
    rates = {}
    for name, one in zip(_POLICIES, table.simulate(what_ifs, now=now).policies, strict=True):
        rates[name] = ((one.pull_hits - one.pulls) / one.rate + one.all_pulls) / one.all_pulls
    return rates


def what_if(settings: Settings) -> list[Figure]:
    """Hit rates of three policies as predicted from a table that runs another one, against those measured after."""
    figures = []
    for swaps in _SWAPS_PER_STEP:
        batches = _trace(settings, swaps)
        predictions = {}
        for sample, size in (("whole", _SAMPLE_BYTES), ("thin", _THIN_SAMPLE_BYTES)):
            present = _table(_POLICIES["lfu"], size)
            _run(present, batches[:_STEPS], 1, _POLICIES["lfu"])
            predictions[sample] = _predicted(present, _STEPS)
        for name, policy in _POLICIES.items():
            live = _table(policy, 0)
            counts = _run(live, batches, 1, policy)
            meanwhile, measured = _rate(counts[_STEPS // 2 : _STEPS]), _rate(counts[_STEPS + _WARM_STEPS :])
            whole, thin = predictions["whole"][name], predictions["thin"][name]
            detail = {
                "predicted": whole,
                "measured": measured,
                "error": abs(whole - measured),
                "measured_meanwhile": meanwhile,
                "error_meanwhile": abs(whole - meanwhile),
                "predicted_thin": thin,
                "error_thin": abs(thin - measured),
            }
            figures.append(Figure(f"what_if/{swaps}", name, "measured", whole / measured, None, detail))
    return figures


def access_sample_cost(settings: Settings) -> list[Figure]:
    """Pull and push with the access sample on, against off: one thread, batches of keys as the core workloads have."""
    keys = table_keys(settings)
    batches, gradients = query_batches(settings, keys), random_rows(settings, settings.batch)
    tables = {name: native_table(settings, keys) for name in ("off", "on")}
    tables["on"].set_sample_bytes(8 << 20)
    out = np.empty((settings.batch, settings.dim), np.float32)
    status = np.empty(settings.batch, np.uint8)
    calls: dict[str, Any] = {}
    for name, table in tables.items():

        def pull(number: int, table: _core.RowTable = table) -> None:
            table.pull(batches[number % BATCHES], out, status, now=1000 + number // 100)

        def push(number: int, table: _core.RowTable = table) -> None:
            table.push(batches[number % BATCHES], gradients, None, step=1, now=1000 + number // 100)

        calls[f"pull, sample {name}"], calls[f"push, sample {name}"] = pull, push
    for number in range(_WARM_CALLS):  # Until the sample has as few of the keys as it will have.
        calls["pull, sample on"](number)
        calls["push, sample on"](number)
    timings = take_turns(calls, rounds=settings.rounds * 4, calls_per_round=settings.calls_per_round)
    return [
        speedup(
            "access_sample_cost",
            timings[f"{verb}, sample on"],
            timings[f"{verb}, sample off"],
            at_least=0.98,
            rows=settings.batch,
        )
        for verb in ("pull", "push")
    ]
