"""Brings the cold store to where a table's second chance is: what came back or was removed is deleted, what was evicted
is written, and the oldest make way.

Deletions are a part of a write-back: the journal is not trimmed of what they belong to before they are done, so a crash
in between repeats them, and nothing old rises again. What was evicted is written as far as it gets.
"""

from __future__ import annotations

import numpy as np

from rowbank_server.journal.journal import Journal
from rowbank_server.ps.tables.second_chance import SLOTS
from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.storage.cold import ColdStore, whole_copy

_ROWS_AT_ONCE = 4096
_ALL = 1 << 62


def list_cold(table: ShardTable, store: ColdStore) -> None:
    """Once a process owns the table: finds out what is in the store. Raises RedisUnavailable; then it is to be tried
    again."""
    chance = table.second_chance
    if chance.owned or not chance.on:
        return
    with table.write_lock:
        if table.dropped:
            return
        if chance.wipe_due:  # Then nothing that it has is of use.
            chance.rows.finish_listing(chance.rows.listing)
            chance.owned = True
            return
    table_id, listing = table.entry.table_id, chance.rows.listing
    samples: dict[int, tuple[int, int]] = {}
    for bucket in table.buckets:
        for slot, keys in enumerate(store.keys(table_id, bucket)):
            if not len(keys):
                continue
            samples.setdefault(slot, (bucket, int(keys[0])))
            present = table.rows.contains(keys) != 0
            chance.rows.list(keys[~present], slot=slot, listing=listing)
            if present.any():  # A crash came between the row and this copy.
                chance.rows.list_stale(keys[present], slot=slot)
    if samples:
        chance.slot = store.newest_slot(table_id, samples)
    chance.rows.finish_listing(listing)
    chance.owned = True


def correct_replayed(table: ShardTable, store: ColdStore) -> None:
    """After a replay on loaded rows: what it evicted may have been stored, and deleted from the rows, before.

    Then replay began with a row that was not there, and only the store has what it was. Raises RedisUnavailable.
    """
    chance = table.second_chance
    if not chance.on or chance.wipe_due:
        return
    keys, stamps, _ = chance.rows.waiting(_ALL)
    for start in range(0, len(keys), _ROWS_AT_ONCE):
        part = keys[start : start + _ROWS_AT_ONCE]
        anywhere = np.full(len(part), SLOTS, np.uint8)
        copies = store.read(table.entry.table_id, table.entry.bucket_count, part, anywhere)
        for key, stamp, found in zip(part, stamps[start : start + _ROWS_AT_ONCE], copies, strict=True):
            for _, copy in found:
                if (whole := whole_copy(copy, int(key), chance.row_bytes)) is not None and whole[0] == stamp:
                    chance.rows.correct(np.array([key]), np.array([stamp]), whole[1])


def write_cold(table: ShardTable, store: ColdStore, journal: Journal) -> None:
    """Deletes and writes what is to be. REQUIRES: the caller holds `write_lock`.

    Raises:
        RedisUnavailable: what was not written waits; what was not deleted is, once the table is unsettled.
        NotReady: another process has taken over the shard.
    """
    chance, table_id, bucket_count = table.second_chance, table.entry.table_id, table.entry.bucket_count
    if not (chance.on or chance.wipe_due):
        return
    if chance.wipe_due:
        journal.wait_appended(journal.last_position())
        store.wipe(table_id, table.buckets)
        chance.wiped()
    if chance.on:  # First: a copy that is written anew is not to be missing in between.
        _write_waiting(table, store, journal)
    keys, slots = chance.rows.take_deletes()
    if len(keys):
        journal.wait_appended(journal.last_position())
        store.delete(table_id, bucket_count, keys, slots)


def _write_waiting(table: ShardTable, store: ColdStore, journal: Journal) -> None:
    chance, table_id, bucket_count = table.second_chance, table.entry.table_id, table.entry.bucket_count
    counts, left, _ = chance.rows.counts()
    for place in range(1, SLOTS):  # Where the share became smaller; from the oldest.
        slot = (chance.slot + place) % SLOTS
        if counts[slot] and sum(counts) > SLOTS * chance.slot_rows:
            _drop(table, store, slot)
            counts, _, _ = chance.rows.counts()
    in_slot = counts[chance.slot]
    while left > 0:
        room = chance.slot_rows - in_slot
        if room <= 0:
            chance.slot = (chance.slot + 1) % SLOTS
            _drop(table, store, chance.slot)
            in_slot = 0
            continue
        keys, stamps, fields = chance.rows.waiting(min(left, room, _ROWS_AT_ONCE))
        if not len(keys):
            return
        journal.wait_appended(journal.last_position())
        store.write(table_id, bucket_count, keys, fields, slot=chance.slot)
        chance.rows.written(keys, np.ascontiguousarray(stamps), slot=chance.slot)
        in_slot += len(keys)
        left -= len(keys)


def _drop(table: ShardTable, store: ColdStore, slot: int) -> None:
    store.drop_slot(table.entry.table_id, table.buckets, slot)
    table.second_chance.count_expired(table.second_chance.rows.drop_slot(slot))
