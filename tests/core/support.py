"""Short ways to make tables and read them in tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from rowbank_server._core import Initializer, Optimizer, PushCounts, RowTable


def keys_of(*keys: int) -> np.ndarray:
    return np.array(keys, np.int64)


def make_table(dim: int = 4, optimizer: Optimizer | None = None, **options: Any) -> RowTable:
    options = {
        "name": "t",
        "value_dtype": "float32",
        "initializer": Initializer("uniform", -1.0, 1.0, seed=7),
        **options,
    }
    return RowTable(dim=dim, optimizer=optimizer or Optimizer("sgd", learning_rate=1.0), **options)


def push(
    table: RowTable, keys: np.ndarray, gradients: Any = 0.0, *, now: int = 1, step: int = 1, **kw: Any
) -> PushCounts:
    full = np.broadcast_to(np.asarray(gradients, np.float32), (len(keys), table.dim))
    return table.push(keys, np.ascontiguousarray(full), None, step=step, now=now, **kw)


def pull(table: RowTable, keys: np.ndarray, dtype: Any = np.float32, *, now: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Values [N, dim] and status [N]."""
    out = np.empty((len(keys), table.dim), dtype)
    status = np.empty(len(keys), np.uint8)
    table.pull(keys, out, status, now=now)
    return out, status


def lookup(table: RowTable, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values [N, dim] and found [N]."""
    out = np.empty((len(keys), table.dim), np.float32)
    found = np.empty(len(keys), np.bool_)
    table.lookup(keys, out, found)
    return out, found


def stored_keys(table: RowTable) -> list[int]:
    """All keys, sorted."""
    return sorted(k for bucket in range(table.bucket_count) for k in table.export_bucket(bucket).keys.tolist())


def take_all_dirty(table: RowTable) -> dict[int, tuple[dict[int, bytes], list[int]]]:
    """Per dirty bucket: packed rows by key, and removed keys."""
    taken = {}
    for bucket in table.dirty_buckets():
        dirty = table.take_dirty(bucket, 2**30)
        size = table.packed_row_bytes
        rows = {int(k): dirty.packed[i * size : (i + 1) * size] for i, k in enumerate(dirty.keys)}
        taken[bucket] = (rows, dirty.removed_keys.tolist())
    return taken
