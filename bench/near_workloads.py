"""What a client saves that keeps rows near itself."""

from __future__ import annotations

import contextlib

import numpy as np

import rowbank

from . import services
from .arrays import Array
from .grpc_workloads import fill_rowbank
from .keys import table_keys
from .report import Figure, Settings, speedup
from .timing import Call, take_turns

_EXPONENTS = (0.9, 1.05, 1.2)
_BOUNDS = (4, 16)
_BYTES = 64_000_000
_BATCHES = 256


def zipf_batches(settings: Settings, keys: Array, exponent: float) -> list[Array]:
    """_BATCHES batches of [batch] keys as a trainer draws them, repeats included."""
    generator = np.random.default_rng(settings.seed + 1)
    cumulative = np.cumsum(1.0 / np.arange(1, len(keys) + 1) ** exponent)
    draws = (generator.random(settings.batch) * cumulative[-1] for _ in range(_BATCHES))
    return [keys[np.searchsorted(cumulative, drawn)] for drawn in draws]


def near_cache(settings: Settings) -> list[Figure]:
    """Pulls of Zipf keys by clients whose rows may be some steps old, beside one that always asks."""
    keys = table_keys(settings)
    figures = []
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(services.running_ps(stack.enter_context(services.running_redis())))
        with rowbank.Client(address) as filling:
            fill_rowbank(filling.create_table(rowbank.TableSpec("bench", dim=settings.dim)), settings, keys)
            filling.flush()
        for exponent in _EXPONENTS:
            figures += _beside_none(settings, address, zipf_batches(settings, keys, exponent), f"Zipf {exponent}")
    return figures


def _beside_none(settings: Settings, address: str, batches: list[Array], what: str) -> list[Figure]:
    with contextlib.ExitStack() as stack:
        clients = {
            bound: stack.enter_context(
                rowbank.Client(address, near_cache_bytes=_BYTES if bound else 0, max_staleness_steps=bound)
            )
            for bound in (0, *_BOUNDS)
        }
        tables = {bound: client.table("bench") for bound, client in clients.items()}
        calls = {f"{what}, bound {bound}": _pulls(table, batches) for bound, table in tables.items()}
        timings = take_turns(calls, rounds=settings.rounds, calls_per_round=settings.calls_per_round)
        figures = []
        for bound in _BOUNDS:
            names = f"{what}, bound {bound}", f"{what}, bound 0"
            figure = speedup("near_cache", timings[names[0]], timings[names[1]], at_least=None, rows=settings.batch)
            stats = clients[bound].near_cache()["bench"]
            figure.detail["hit_rate"] = stats.hits / (stats.hits + stats.misses)
            figures.append(figure)
    return figures


def _pulls(table: rowbank.Table, batches: list[Array]) -> Call:
    return lambda number: table.pull(batches[number % _BATCHES])
