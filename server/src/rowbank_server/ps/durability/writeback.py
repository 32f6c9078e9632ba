"""Writes a table's changed rows to Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from rowbank_server.journal.journal import Journal
from rowbank_server.ps.durability.cold_writeback import write_cold
from rowbank_server.ps.tables.table import ShardTable, Unsettled
from rowbank_server.storage.cold import ColdStore
from rowbank_server.storage.rows import MAX_BYTES_PER_TRANSACTION, BucketChange, RowStore, rows_per_command


def flush_table(
    table: ShardTable,
    store: RowStore,
    journal: Journal,
    *,
    pause: Callable[[float], None] = lambda seconds: None,
    most_bytes: Callable[[], int] = lambda: MAX_BYTES_PER_TRANSACTION,
) -> int:
    """Writes what changed since the last time; returns how many rows were written or deleted.

    The table's lock is given up after each transaction: who clears or drops the table waits for one, not for all.

    Args:
        pause: called after each transaction with the seconds that it took, without the lock unless all that Redis has
            of the table is replaced.
        most_bytes: asked before each transaction how large it may be.
    Raises:
        RedisUnavailable: what was not written keeps its dirty mark.
        NotReady: another process has taken over the shard.
    """
    with table.write_lock:
        if table.dropped:
            return 0
        if table.mirror_unknown:
            write_cold(table, ColdStore(store), journal)
            written = _rewrite(table, store, journal, pause)
            table.unsettled.replaced = True
            return written
        _clear_mirror(table, store, journal)
        write_cold(table, ColdStore(store), journal)
    written, batches = 0, _batches(_changes(table), table.rows.packed_row_bytes, most_bytes)
    started = time.monotonic()
    while (rows := _write_next(table, store, journal, batches)) is not None:
        written += rows
        pause(time.monotonic() - started)
        started = time.monotonic()
    written += _write_last(table, store, journal)
    if written:
        table.last_write_back_s = time.time()
    return written


def _write_next(
    table: ShardTable, store: RowStore, journal: Journal, batches: Iterator[list[BucketChange]]
) -> int | None:
    """Writes the next of `batches`; returns its rows, None: there is none, or the table was dropped."""
    with table.write_lock:
        if table.dropped:
            return None
        _clear_mirror(table, store, journal)  # It may have been cleared since the last.
        batch = next(batches, None)
        return None if batch is None else _write(table, store, journal, batch)


def _write_last(table: ShardTable, store: RowStore, journal: Journal) -> int:
    with table.write_lock:
        return 0 if table.dropped else _write_common_row(table, store, journal)


def rewrite_table(
    table: ShardTable, store: RowStore, journal: Journal, *, pause: Callable[[float], None] = lambda seconds: None
) -> int:
    """Replaces all that Redis has of the table by what is in RAM; returns the rows written.

    Each bucket is written beside the stored one and then put in its place in one step: a crash on the way leaves every
    bucket whole, old or new.

    Args:
        pause: called after each bucket with the seconds that it took, with the table's lock.
    Raises:
        RedisUnavailable: what was not written keeps its dirty mark.
        NotReady: another process has taken over the shard.
    """
    with table.write_lock:
        if table.dropped:
            return 0
        write_cold(table, ColdStore(store), journal)
        written = _rewrite(table, store, journal, pause)
        table.unsettled.replaced = True
        return written


def _rewrite(table: ShardTable, store: RowStore, journal: Journal, pause: Callable[[float], None]) -> int:
    """As `rewrite_table`. REQUIRES: the caller holds `write_lock`."""
    written = 0
    for bucket in table.buckets:
        started = time.monotonic()
        store.start_rebuild(table.entry.table_id, bucket)
        table.rows.mark_dirty(bucket, table.rows.export_bucket(bucket).keys)
        for change in _bucket_changes(table, bucket):
            written += _write(table, store, journal, [change], rebuilt=True)
        if table.second_chance.on:
            _write_evicted(table, store, journal)
        store.finish_rebuild(table.entry.table_id, bucket)
        pause(time.monotonic() - started)
    if table.spec.admission.min_count > 1:
        table.rows.mark_common_row_dirty()
    written += _write_common_row(table, store, journal)
    table.mirror_stale = False
    table.last_write_back_s = time.time()
    return written


def _write_evicted(table: ShardTable, store: RowStore, journal: Journal) -> None:
    """Stores what was evicted before its rows are deleted: after a crash there is a row, to be evicted again, or its
    cold copy."""
    with table.second_chance.lock:  # An eviction that took rows has said so.
        pass
    write_cold(table, ColdStore(store), journal)


def settle(table: ShardTable) -> None:
    """Ends a write-back of the table: Redis has all of it, and says so if it loses any."""
    with table.write_lock:
        table.second_chance.settle()
        table.mirror_unknown &= not table.unsettled.replaced
        table.unsettled = Unsettled()


def unsettle(table: ShardTable) -> None:
    """Marks all that a write-back wrote to be written again, as it did not end: Redis may have lost any part."""
    with table.write_lock:
        unsettled, table.unsettled = table.unsettled, Unsettled()
        table.second_chance.unsettle()
        for bucket, keys in unsettled.keys:
            table.rows.mark_dirty(bucket, keys)
        table.mirror_stale |= unsettled.cleared
        if unsettled.common_row:
            table.rows.mark_common_row_dirty()


def _clear_mirror(table: ShardTable, store: RowStore, journal: Journal) -> None:
    """Deletes what Redis has of a table that was cleared. REQUIRES: the caller holds `write_lock`."""
    if table.mirror_stale:
        journal.wait_appended(journal.last_position())
        store.clear(table.entry.table_id, table.buckets)
        store.delete_common_row(table.entry.table_id)
        table.mirror_stale, table.unsettled.cleared = False, True


def _changes(table: ShardTable) -> Iterator[BucketChange]:
    for bucket in table.rows.dirty_buckets():
        yield from _bucket_changes(table, bucket)


def _bucket_changes(table: ShardTable, bucket: int) -> Iterator[BucketChange]:
    """Takes the dirty marks of a bucket, a command's worth at a time."""
    limit = rows_per_command(table.rows.packed_row_bytes)
    while True:
        dirty = table.rows.take_dirty(bucket, limit)
        if not (len(dirty.keys) or len(dirty.removed_keys)):
            return
        yield BucketChange(bucket, dirty.keys, dirty.packed, dirty.removed_keys)
        # A short answer says that the bucket was clean, unless repeats among the removed keys made it short. Asking
        # until nothing comes would never end on a bucket whose one row is pushed all the time.
        if not len(dirty.removed_keys) and len(dirty.keys) < limit:
            return


def _batches(
    changes: Iterator[BucketChange], row_bytes: int, most_bytes: Callable[[], int]
) -> Iterator[list[BucketChange]]:
    """Groups changes so that one transaction carries many small ones but not too many bytes."""
    batch: list[BucketChange] = []
    size = 0
    for change in changes:
        batch.append(change)
        size += len(change.keys) * row_bytes + len(change.removed) * 8
        if size >= most_bytes():
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write(
    table: ShardTable, store: RowStore, journal: Journal, batch: list[BucketChange], *, rebuilt: bool = False
) -> int:
    """Writes a batch, but not before the journal has every mutation that shows in it."""
    taken = [(change.bucket, np.concatenate([change.keys, change.removed])) for change in batch]
    try:
        if table.second_chance.on and any(len(change.removed) for change in batch):
            _write_evicted(table, store, journal)
        journal.wait_appended(journal.last_position())
        store.write(table.entry.table_id, batch, rebuilt=rebuilt)
    except BaseException:
        for bucket, keys in taken:
            table.rows.mark_dirty(bucket, keys)
        raise
    if not rebuilt:  # What is rebuilt is rebuilt wholly until that has succeeded.
        table.unsettled.keys += taken
    return sum(len(change.keys) + len(change.removed) for change in batch)


def _write_common_row(table: ShardTable, store: RowStore, journal: Journal) -> int:
    with table.mutation_lock:  # So that the row shows this table's mutations up to that position, and no later one.
        position = journal.last_position()
        packed = table.rows.take_common_row()
    if packed is None:
        return 0
    try:
        journal.wait_appended(position)
        store.write_common_row(table.entry.table_id, packed, position)
    except BaseException:
        table.rows.mark_common_row_dirty()
        raise
    table.unsettled.common_row = True
    return 1
