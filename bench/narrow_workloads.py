"""Rows and gradients of fewer bits on their way, beside float32."""

from __future__ import annotations

import contextlib
from typing import Any

import rowbank

from . import services
from .arrays import Array
from .grpc_workloads import fill_rowbank
from .keys import BATCHES, query_batches, random_rows, table_keys
from .report import Figure, Settings, speedup
from .timing import Call, take_turns

_PUSHES: dict[str, dict[str, Any]] = {
    "push float32": {},
    "push float16": {"wire_dtype": "float16"},
    "push float16, at random": {"wire_dtype": "float16", "gradient_rounding": "stochastic", "rounding_seed": 1},
    "push bfloat16": {"wire_dtype": "bfloat16"},
    "push bfloat16, at random": {"wire_dtype": "bfloat16", "gradient_rounding": "stochastic", "rounding_seed": 1},
}
_READS = ("float32", "float16", "int8")


def narrow_wire(settings: Settings) -> list[Figure]:
    """Pulls as float16 and int8, and pushes of gradients as float16 and bfloat16, beside float32."""
    keys = table_keys(settings)
    batches = query_batches(settings, keys)
    gradients = random_rows(settings, settings.batch)
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(services.running_ps(stack.enter_context(services.running_redis())))
        tables = {
            name: stack.enter_context(rowbank.Client(address, **options)).create_table(
                rowbank.TableSpec("bench", dim=settings.dim, optimizer=rowbank.Adagrad(0.1)), exist_ok=True
            )
            for name, options in _PUSHES.items()
        }
        reading = tables["push float32"]
        fill_rowbank(reading, settings, keys)
        calls: dict[str, Call] = {f"pull {dtype}": _pull(reading, batches, dtype) for dtype in _READS}
        calls |= {name: _push(table, batches, gradients) for name, table in tables.items()}
        timings = take_turns(calls, rounds=settings.rounds, calls_per_round=settings.calls_per_round)
    return [
        speedup("narrow_wire", timing, timings[f"{name.split()[0]} float32"], at_least=None, rows=settings.batch)
        for name, timing in timings.items()
        if not name.endswith("float32")
    ]


def _pull(table: rowbank.Table, batches: list[Array], dtype: str) -> Call:
    return lambda number: table.pull(batches[number % BATCHES], dtype=dtype)


def _push(table: rowbank.Table, batches: list[Array], gradients: Array) -> Call:
    return lambda number: table.push(batches[number % BATCHES], gradients)
