"""The core at many shapes: table sizes, dims, uniform and Zipf keys, one thread and two."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import multiprocessing
import sys

from . import machine, tfra_tables
from .core_workloads import fill_cuckoo, native_table, time_pulls, time_pushes, time_threads
from .keys import query_batches, table_keys
from .report import Figure, Settings, speedup

_ROWS = (100_000, 1_000_000, 10_000_000)
_DIMS = (16, 64, 256)
_KEYS = ("uniform", "zipf")


def core_sweep(settings: Settings) -> list[Figure]:
    """Pull and push at 100 k, 1 M and 10 M rows of 16, 64 and 256 floats, uniform and Zipf keys, 1 and 2 threads.

    Shapes that the free memory is too small for are left out and named. --rows, --dim and --keys do not count here.
    """
    figures = []
    for rows, dim in itertools.product(_ROWS, _DIMS):
        needed, free = _bytes_needed(rows, dim), machine.free_bytes()
        shape = f"{rows:,} x {dim}"
        if needed > free:
            print(f"  {shape} left out: needs {needed / 2**30:.0f} GiB, {free / 2**30:.0f} are free", file=sys.stderr)
            continue
        print(f"  {shape} ...", file=sys.stderr, flush=True)
        # A process of its own, for TensorFlow keeps what TFRA's tables took until its process ends.
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            figures += process.submit(_at_shape, dataclasses.replace(settings, rows=rows, dim=dim)).result()
    return figures


def _at_shape(settings: Settings) -> list[Figure]:
    """All figures of one table of ours and one of TFRA's."""
    keys = table_keys(settings)
    table = native_table(settings, keys)
    values, slots = (
        tfra_tables.cuckoo_variable(f"sweep_{part}", dim=settings.dim, init_size=len(keys)) for part in ("row", "slot")
    )
    for variable in (values, slots):
        fill_cuckoo(variable, settings, keys)
    figures = []
    for distribution in _KEYS:
        batches = query_batches(dataclasses.replace(settings, keys=distribution), keys)
        timings = {
            "pull": time_pulls(settings, table, values, batches),
            "push": time_pushes(settings, table, values, slots, batches),
        }
        threads = time_threads(settings, table, batches)
        for operation, pair in timings.items():
            name = f"core_sweep/{operation} {settings.rows:,} x {settings.dim} {distribution}"
            figure = speedup(name, *pair, at_least=None, rows=settings.batch)
            detail = figure.detail | {"two_threads": threads[operation]["two_threads"]}
            figures.append(dataclasses.replace(figure, detail=detail))
    return figures


def _bytes_needed(rows: int, dim: int) -> int:
    """RAM of our table with a slot, of two of TFRA's, whose capacity is a power of two, and of TensorFlow itself."""
    ours = rows * (8 * dim + 48)
    theirs = 2 * (1 << (rows - 1).bit_length()) * (4 * dim + 16)
    return int(1.1 * (ours + theirs)) + (1 << 30)
