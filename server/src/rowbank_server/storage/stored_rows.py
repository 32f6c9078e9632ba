"""Reads single rows from Redis, of whatever shard, for those who ask now and then and need no address of a server.

What is read is what was written back: of a relaxed table that is trained it is about `flush_interval_s` old, of a
journaled one up to `journaled_flush_interval_s` unless the newest is wanted, of a frozen table it is the table, since a
copy ends with a write-back.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rowbank.errors import TableNotFound
from rowbank_protos.v1 import common_pb2
from rowbank_server import _core
from rowbank_server.storage.catalog import Catalog, CatalogEntry
from rowbank_server.storage.connection import Redis, translated
from rowbank_server.storage.layout import Layout

_HEADER_BYTES = 24  # Of a packed row, as server/core/packed_row.h has it; values follow.
_KEYS_PER_COMMAND = 1024
_WANTED_S = 15
_WIDTHS = {common_pb2.DATA_TYPE_FLOAT32: 4, common_pb2.DATA_TYPE_FLOAT16: 2, common_pb2.DATA_TYPE_BFLOAT16: 2}


class StoredRows:
    """Thread-safe, as its Redis client is. Raises RedisUnavailable when Redis cannot be used."""

    def __init__(self, redis: Redis, layout: Layout) -> None:
        self._redis = redis
        self._layout = layout
        self._catalog = Catalog(redis, layout)

    def want_newest(self) -> None:
        """Asks all shards to write back what waits in their journals, for some seconds; returns at once."""
        with translated("rows"):
            self._redis.set(self._layout.rows_wanted, b"", ex=_WANTED_S)

    def newest_wanted(self) -> bool:
        """Whether somebody asked for that."""
        with translated("rows"):
            return bool(self._redis.exists(self._layout.rows_wanted))

    def lookup(
        self, keys: Mapping[str, npt.NDArray[np.int64]]
    ) -> dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]]:
        """By table, values [N, dim] float32 and found [N] bool for keys [N] int64; rows of unseen keys are zero, and so
        are those that cannot be read.

        Raises:
            TableNotFound: there is no such table.
        """
        return {name: self._of_table(name, wanted) for name, wanted in keys.items()}

    def _of_table(
        self, name: str, keys: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        entry = self._catalog.get(name)
        if entry is None:
            raise TableNotFound(f"table {name!r} does not exist", metadata={"table": name})
        values = np.zeros((len(keys), entry.spec.dim), np.float32)
        found = np.zeros(len(keys), np.bool_)
        buckets = _core.bucket_of(np.ascontiguousarray(keys), entry.bucket_count)
        order = np.argsort(buckets, kind="stable")
        ends = np.flatnonzero(np.diff(buckets[order])) + 1
        groups = [
            part[start : start + _KEYS_PER_COMMAND]
            for part in np.split(order, ends)
            for start in range(0, len(part), _KEYS_PER_COMMAND)
        ]
        with translated("row read"):
            pipeline = self._redis.pipeline(transaction=False)
            for group in groups:
                rows = self._layout.rows(entry.table_id, int(buckets[group[0]]))
                pipeline.hmget(rows, [key.tobytes() for key in keys[group].astype("<i8")])
            answers = pipeline.execute() if groups else []
        for group, packed in zip(groups, answers, strict=True):
            here, rows_values = _unpacked(entry, group, packed)
            values[here], found[here] = rows_values, True
        return values, found


def _unpacked(
    entry: CatalogEntry, places: npt.NDArray[np.intp], packed: list[bytes | None]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Which of the places have a row, and the rows' values."""
    kind, dim = entry.spec.value_dtype or common_pb2.DATA_TYPE_FLOAT32, entry.spec.dim
    end = _HEADER_BYTES + dim * _WIDTHS[kind]
    there = [place for place, row in enumerate(packed) if row is not None and len(row) >= end]
    data = b"".join(bytes(packed[place] or b"")[_HEADER_BYTES:end] for place in there)
    if kind == common_pb2.DATA_TYPE_FLOAT32:
        values = np.frombuffer(data, "<f4")
    elif kind == common_pb2.DATA_TYPE_FLOAT16:
        values = np.frombuffer(data, "<f2").astype(np.float32)
    else:
        values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return places[there], values.reshape(len(there), dim)
