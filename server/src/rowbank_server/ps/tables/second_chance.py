"""What may come back of a table's evicted rows: which there are, what they may take of Redis, and what came of it."""

from __future__ import annotations

import collections
import threading
import time

import numpy as np
import numpy.typing as npt

from rowbank_server import _core
from rowbank_server.storage.cold import STAMP_BYTES

SLOTS = _core.COLD_SLOTS
MAX_WAITING_BYTES = 64 << 20  # Of rows in RAM that Redis has not taken yet; what is evicted beyond is given up.
_CACHED_BYTES = 16 << 20
_HASH_BYTES = 320  # Of Redis, for one hash beside its fields: key, object, tables.
_ENTRY_BYTES = 32 + 16 + 16  # Of Redis, for one field beside its value: the entry, the field, places in the table.
_Keys = npt.NDArray[np.int64]


def _allocated(size: int) -> int:
    """What the allocator of Redis takes for so many bytes: four sizes between one power of two and the next."""
    if size <= 128:
        return -(-size // 16) * 16
    step = 1 << ((size - 1).bit_length() - 3)
    return -(-size // step) * step


def entry_bytes(packed_row_bytes: int) -> int:
    """Bytes of Redis that one cold row takes."""
    return _ENTRY_BYTES + _allocated(STAMP_BYTES + packed_row_bytes + 6)


class SecondChance:
    """One table's. Thread-safe.

    Attributes:
        rows: which keys are cold.
        lock: held while rows come back or go: a mutation of a relaxed table takes no other lock. Taken after the
            table's `write_lock`, before its `mutation_lock`.
        owned: this process knows, or has asked, what the store has.
        wipe_due: all that the store has is to be deleted; only read and set under `write_lock`.
        slot: the slot that is being filled; only for who holds `write_lock`.
    """

    def __init__(self, packed_row_bytes: int, buckets: int) -> None:
        self.rows = _core.ColdRows(packed_row_bytes, MAX_WAITING_BYTES)
        self.lock = threading.Lock()
        self.owned = False
        self.wipe_due = False
        self.slot = 0
        self.row_bytes = packed_row_bytes
        self._entry_bytes = entry_bytes(packed_row_bytes)
        self._overhead = buckets * _HASH_BYTES
        self._max_bytes = 0
        self._wiped = False
        self._last_stamp = 0
        self._cache: collections.OrderedDict[int, tuple[int, bytes]] = collections.OrderedDict()
        self._cached = max(1, _CACHED_BYTES // packed_row_bytes)
        self._counting = threading.Lock()
        self.stored = self.returned = self.missed = self.expired = 0

    @property
    def on(self) -> bool:
        """Whether evicted rows are kept."""
        return self._max_bytes > 0

    @property
    def slot_rows(self) -> int:
        """How many rows a slot takes."""
        return max(1, (self._max_bytes // SLOTS - self._overhead) // self._entry_bytes)

    def configure(self, max_bytes: int) -> bool:
        """Keeps evicted rows in at most so many bytes of Redis; 0: none. Returns whether that began or ended."""
        was_on, self._max_bytes = self.on, max_bytes
        return was_on != self.on

    def begin_empty(self) -> None:
        """The table is new: the store has nothing of it."""
        self.rows.clear(listed=True)
        self.owned = True

    def reset(self) -> None:
        """Nothing is cold any more. REQUIRES: the caller holds `write_lock`, or the table is in no service."""
        self.rows.clear(listed=self.owned)
        self.wipe_due = True
        self._forget_cached()

    def wiped(self) -> None:
        """The store is empty now, unless Redis loses that."""
        self.wipe_due, self._wiped = False, True

    def put_aside(self) -> None:
        """Of an owner that is followed: what its write-back, which begins, will have done."""
        self.rows.put_aside()
        self._wiped |= self.wipe_due
        self.wipe_due = False

    def settle(self) -> None:
        """A write-back has ended."""
        self.rows.settle()
        self._wiped = False

    def unsettle(self) -> None:
        """A write-back has failed, or is not known to have ended."""
        self.rows.unsettle()
        self.wipe_due |= self._wiped
        self._wiped = False

    def evicted(self, report: _core.CycleReport | _core.RestrictReport, position: int) -> None:
        """Rows have just been evicted at that position; 0: none."""
        if not self.on or not report.evicted:
            return
        if not position:
            position = self._last_stamp = max(time.time_ns(), self._last_stamp + 1)
        kept = report.packed_keys
        stored = self.rows.evicted(kept, report.packed, position)
        if len(kept) < len(report.evicted_keys):
            self.rows.forget(np.setdiff1d(report.evicted_keys, kept))
        with self._counting:
            self.stored += stored

    def evicted_again(self, keys: _Keys, kept: _Keys, packed: bytes, position: int) -> None:
        """Another process evicted `keys` at that position. Of those that had rows here too, `kept` [n], there are n
        packed rows; of the others it has deleted the rows, and so has stored them before.
        """
        if len(kept) < len(keys):
            self.rows.evicted_elsewhere(np.setdiff1d(keys, kept), position)
        self.rows.evicted(kept, packed, position)

    def forget(self, keys: _Keys, *, returned: int = 0) -> None:
        """These keys have rows now, of which so many came back, or are to have none."""
        if not self.on:
            return
        known = self.rows.forget(keys)
        with self._counting:
            self.returned += returned
            self.missed += max(0, known - returned)

    def lost(self, keys: _Keys, stamps: npt.NDArray[np.uint64]) -> None:
        """The store has not got these keys, which were thought to be cold with these stamps."""
        known = self.rows.lost(keys, stamps)
        with self._counting:
            self.missed += known

    def count_expired(self, rows: int) -> None:
        """So many rows made way for newer ones."""
        with self._counting:
            self.expired += rows

    def restart_counts(self) -> None:
        """Counts from here."""
        with self._counting:
            self.stored = self.returned = self.missed = self.expired = 0

    def cached(self, key: int, stamp: int) -> bytes | None:
        """The packed row of `key` with that stamp, if it was fetched a moment ago."""
        with self._counting:
            found = self._cache.get(key)
        return found[1] if found is not None and found[0] == stamp else None

    def cache(self, key: int, stamp: int, packed: bytes) -> None:
        """Remembers a row that was fetched, for the push that follows."""
        with self._counting:
            self._cache[key] = (stamp, packed)
            self._cache.move_to_end(key)
            while len(self._cache) > self._cached:
                self._cache.popitem(last=False)

    def size(self) -> tuple[int, int]:
        """How many rows are cold, and about how many bytes of Redis they take."""
        slots, waiting, _ = self.rows.counts()
        stored = sum(slots)
        return stored + waiting, stored * self._entry_bytes

    def _forget_cached(self) -> None:
        with self._counting:
            self._cache.clear()
