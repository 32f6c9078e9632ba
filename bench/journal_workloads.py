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
    figures = []
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(services.running_redis(append_only=True))
        client = stack.enter_context(rowbank.Client(stack.enter_context(services.running_ps(port))))
        for durability, bar in (("journaled", 0.5), ("synced", None)):
            if durability == "synced" and not _syncs_at_once(port):
                continue
            tables = {}
            for kind in ("relaxed", durability):
                spec = rowbank.TableSpec(
                    f"{kind}-{durability}", dim=settings.dim, optimizer=rowbank.Adagrad(0.1), durability=kind
                )
                tables[kind] = client.create_table(spec)
                fill_rowbank(tables[kind], settings, keys)
            client.flush()
            timings = take_turns(
                {kind: functools.partial(_push, table, batches, gradients) for kind, table in tables.items()},
                rounds=settings.rounds,
                calls_per_round=settings.calls_per_round,
            )
            reference = timings["relaxed"]
            figures.append(speedup("journaled_push", timings[durability], reference, at_least=bar, rows=settings.batch))
    return figures


def _syncs_at_once(port: int) -> bool:
    """Has Redis sync its file with every write, if it can tell that it did: else a synced push waits for a second."""
    with redis.Redis(port=port) as client:
        version = tuple(int(part) for part in client.info("server")["redis_version"].split(".")[:2])
        return version >= (7, 2) and bool(client.config_set("appendfsync", "always"))


def _push(table: rowbank.Table, batches: list[Array], gradients: Array, number: int) -> None:
    table.push(batches[number % BATCHES], gradients)
