"""Loads a table's rows from Redis, many buckets at a time, and sets aside what is corrupt."""

from __future__ import annotations

import concurrent.futures
import logging

from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.storage.rows import RowStore

_log = logging.getLogger("rowbank.ps")


def load_table(table: ShardTable, store: RowStore, executor: concurrent.futures.Executor) -> None:
    """Fills `table` with all stored rows of the buckets it owns.

    A row of a wrong length or checksum is not served: it is counted, logged and moved to the bucket's quarantine.

    Raises:
        RedisUnavailable: Redis failed on the way; `table` holds some of the rows.
    """
    sizes = store.sizes(table.entry.table_id, table.buckets)
    futures = [executor.submit(_load_bucket, table, store, bucket, rows) for bucket, rows in sizes.items()]
    corrupt = sum(future.result() for future in futures) + _load_common_row(table, store)
    if corrupt:
        table.corrupt_rows = corrupt
        _log.error("table %s: %d corrupt rows are in quarantine and are not served", table.name, corrupt)


def _load_bucket(table: ShardTable, store: RowStore, bucket: int, row_count: int) -> int:
    """Returns how many rows were corrupt."""
    bad: list[bytes] = []
    table_id = table.entry.table_id
    for fields in store.read(table_id, bucket, row_count=row_count):
        bad += table.rows.load_fields(bucket, fields).corrupt
    if bad:
        store.quarantine(table_id, bucket, bad)
    return len(bad)


def _load_common_row(table: ShardTable, store: RowStore) -> int:
    """Loads the row that keys without a row of their own share; returns 1 if it was corrupt."""
    packed, position = store.read_common_row(table.entry.table_id)
    if packed is None:
        return 0
    try:
        table.rows.load_common_row(packed)
        table.common_position = position
    except ValueError:
        store.quarantine_common_row(table.entry.table_id, packed)
        return 1
    return 0
