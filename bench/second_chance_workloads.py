"""What a second chance is worth on a trace whose ids come and go, and what it costs pushes and pulls."""

from __future__ import annotations

import contextlib

import numpy as np

import rowbank

from . import services
from .arrays import Array
from .report import Figure, Settings
from .timing import take_turns

_IDS = 20_000
_CAP = 1_000
_STEPS = 120
_SEEN_STEPS = 30  # Before losses are counted.
_BATCH = 500
_SWAPS = 80  # Pairs of ids that trade popularity each step.


def _trace(settings: Settings) -> list[Array]:
    """Keys of each step: Zipf(1.2) over ids of which some trade places all the time."""
    random = np.random.default_rng(settings.seed)
    key_of_rank = random.permutation(_IDS)
    steps = []
    for _ in range(_STEPS):
        for first, second in random.integers(0, _IDS, (_SWAPS, 2)):
            key_of_rank[[first, second]] = key_of_rank[[second, first]]
        steps.append(np.unique(key_of_rank[random.zipf(1.2, _BATCH) % _IDS]))
    return steps


def _train(table: rowbank.Table, steps: list[Array], targets: Array) -> float:
    """Learns each id's own number; returns the mean squared error of what was pulled before it was learnt."""
    errors = []
    for number, keys in enumerate(steps):
        wanted = targets[keys][:, None]
        missed = table.pull(keys) - wanted
        if number >= _SEEN_STEPS:
            errors.append(float(np.mean(missed**2)))
        table.push(keys, missed)
        if number % 4 == 3:
            table.restrict(num_reserved=_CAP)
    return float(np.mean(errors))


def second_chance(settings: Settings) -> list[Figure]:
    """Loss on a drifting trace, and pushes and pulls of a table that evicts nothing meanwhile: with and without."""
    random = np.random.default_rng(settings.seed)
    steps, targets = _trace(settings), random.normal(size=_IDS).astype(np.float32)
    ways = {"without": 0, "with": 64 << 20}
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(services.running_ps(stack.enter_context(services.running_redis())))
        client = stack.enter_context(rowbank.Client(address))
        tables = {
            name: client.create_table(
                rowbank.TableSpec(
                    name,
                    dim=1,
                    optimizer=rowbank.SGD(0.5),
                    eviction=rowbank.Eviction("lfu", second_chance_bytes=share),
                )
            )
            for name, share in ways.items()
        }
        losses = {name: _train(table, steps, targets) for name, table in tables.items()}
        stats = tables["with"].stats()
        keys = np.arange(_CAP * 4)
        ones = np.zeros((len(keys), 1), np.float32)
        for table in tables.values():
            table.push(keys, ones)
        calls = {f"push {name}": lambda _, table=table: table.push(keys, ones) for name, table in tables.items()}
        calls |= {f"pull {name}": lambda _, table=table: table.pull(keys) for name, table in tables.items()}
        times = take_turns(calls, rounds=settings.rounds, calls_per_round=settings.calls_per_round)
    share = stats.second_chance_returned / max(1, stats.second_chance_stored)
    detail = {"loss": losses["with"], "reference_loss": losses["without"], "share_returned": share}
    figures = [Figure("second_chance/loss", "with", "without", losses["without"] / losses["with"], None, detail)]
    for what in ("push", "pull"):
        one, other = times[f"{what} with"], times[f"{what} without"]
        cost = {"median_ms": one.median_ms, "reference_median_ms": other.median_ms}
        ratio = other.median_ms / one.median_ms
        figures.append(Figure(f"second_chance/{what}", "with", "without", ratio, None, cost))
    return figures
