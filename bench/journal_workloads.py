"""Pushes by durability: what waiting for the journal, and for Redis's disk, costs beside an answer from RAM."""

from __future__ import annotations

import contextlib
import functools

import redis

import rowbank

from . import services
from .arrays import Array
from .grpc_workloads import fill_rowbank
from .keys import BATCHES, query_batches, random_rows, table_keys
from .report import Figure, Settings, speedup
from .timing import take_turns


def journaled_push(settings: Settings) -> list[Figure]:
    """One client pushes with Adagrad to a relaxed, a journaled and, where Redis can tell, a synced table."""
    keys = table_keys(settings)
    batches = query_batches(settings, keys)
    gradients = random_rows(settings, settings.batch)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(services.running_redis(append_only=True))
        client = stack.enter_context(rowbank.Client(stack.enter_context(services.running_ps(port))))
        tables = {}
        for durability in _durabilities(port):
            spec = rowbank.TableSpec(
                durability, dim=settings.dim, optimizer=rowbank.Adagrad(0.1), durability=durability
            )
            tables[durability] = client.create_table(spec)
            fill_rowbank(tables[durability], settings, keys)
        client.flush()
        timings = take_turns(
            {durability: functools.partial(_push, table, batches, gradients) for durability, table in tables.items()},
            rounds=settings.rounds,
            calls_per_round=settings.calls_per_round,
        )
    bars = {"journaled": 0.5, "synced": None}
    reference = timings["relaxed"]
    return [
        speedup("journaled_push", timings[durability], reference, at_least=bar, rows=settings.batch)
        for durability, bar in bars.items()
        if durability in timings
    ]


def _durabilities(port: int) -> list[str]:
    """Those that this Redis can keep."""
    with redis.Redis(port=port) as client:
        version = tuple(int(part) for part in client.info("server")["redis_version"].split(".")[:2])
        if version >= (7, 2):
            client.config_set("appendfsync", "always")
            return ["relaxed", "journaled", "synced"]
    return ["relaxed", "journaled"]


def _push(table: rowbank.Table, batches: list[Array], gradients: Array, number: int) -> None:
    table.push(batches[number % BATCHES], gradients)
