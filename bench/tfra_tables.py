"""The references: TFRA's own tables, in this process (CuckooHashTable) and on a real Redis (RedisTable)."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_FILL_ROWS = 65_536  # Rows per call while a table is filled.


def load() -> tuple[Any, Any]:
    """Imports TensorFlow and TFRA's dynamic_embedding, late: it takes seconds.

    Returns:
        (tensorflow, dynamic_embedding).
    """
    import tensorflow as tf
    from tensorflow_recommenders_addons import dynamic_embedding as de

    return tf, de


def cuckoo_variable(name: str, *, dim: int, **options: object) -> Any:
    """An empty `de.Variable` on CuckooHashTable, on the CPU of this process."""
    tf, de = load()
    return de.get_variable(
        name, key_dtype=tf.int64, value_dtype=tf.float32, dim=dim, initializer=0.0, devices=["/CPU:0"], **options
    )


@contextlib.contextmanager
def redis_config(port: int, *, tag: str) -> Iterator[Any]:
    """A RedisTableCreator for a standalone Redis on a loopback port."""
    _, de = load()
    settings = {
        "redis_connection_mode": 2,
        "redis_host_ip": ["127.0.0.1"],
        "redis_host_port": [port],
        "redis_user": "default",
        "redis_password": "",
        "redis_db": 0,
        "storage_slice": 1,
        "table_store_mode": 0,
        "model_tag_import": tag,
        "model_tag_runtime": tag,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "redis.json"
        path.write_text(json.dumps(settings))
        yield de.RedisTableCreator(config=de.RedisTableConfig(redis_config_abs_dir=str(path)))


def redis_variable(name: str, *, dim: int, creator: Any, **options: object) -> Any:
    """An empty `de.Variable` on RedisTable."""
    tf, de = load()
    return de.get_variable(
        name,
        key_dtype=tf.int64,
        value_dtype=tf.float32,
        dim=dim,
        initializer=0.0,
        devices=["/CPU:0"],
        kv_creator=creator,
        **options,
    )


def fill(variable: Any, keys: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> None:
    """Upserts `values` [N, dim] under `keys` [N], in chunks."""
    tf, _ = load()
    for start in range(0, len(keys), _FILL_ROWS):
        part = slice(start, start + _FILL_ROWS)
        variable.upsert(tf.constant(keys[part]), tf.constant(values[part]))
