"""Finds the cold rows of keys that are pulled or pushed again.

This is the one place where a request may wait for Redis: only for keys that may be cold, in tables that ask for it, not
longer than `second_chance_wait_ms`, and not at all while Redis does not answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from rowbank.errors import NotReady, RedisUnavailable
from rowbank_protos.columns import Array
from rowbank_protos.v1 import common_pb2, rows_pb2
from rowbank_server import _core
from rowbank_server.guard import Guard
from rowbank_server.ps.tables import specs
from rowbank_server.ps.tables.arrivals import Offer, absent_of
from rowbank_server.ps.tables.mutations import Push, PushPart
from rowbank_server.ps.tables.table import ShardTable
from rowbank_server.storage.cold import STAMP_BYTES, ColdStore, Copy, whole_copy
from rowbank_server.storage.rows import RowStore

_THREADS = 4
_QUICK_S = 0.01  # A Redis that fails sooner keeps nobody.
_MOST_ADDED_BYTES = 2 << 20  # To the record of one push.
_FOUND = common_pb2.ROW_STATUS_FOUND
_Keys = npt.NDArray[np.int64]


class Returning:
    """Thread-safe.

    Args:
        wait_ms: the longest wait for Redis.
        owns: whether this process is the shard's owner: who follows one has nothing of its own to give back.
    """

    def __init__(self, rows: RowStore, wait_ms: float, *, owns: Callable[[], bool]) -> None:
        self._store = ColdStore(rows)
        self._wait_s = wait_ms / 1e3
        self._owns = owns
        self._guard = Guard("Redis", RedisUnavailable, threads=_THREADS, quick_s=_QUICK_S, patience_s=self._wait_s)

    def offer(self, push: Push, *, last: bool) -> Iterator[Push]:
        """Puts on offer what may come back with a push; yields pushes of nothing that must come before it.

        Those bring back what would make the push's own record too large. Where rows went meanwhile, which is found out
        when the push is applied, it is to be done again, unless it is the `last` time.
        """
        left = _MOST_ADDED_BYTES
        for part in push.parts:
            table = part.table
            if not table.second_chance.on or not self._owns():
                continue
            offer = self._find(table, absent_of(table, part.keys), remember=False)
            part.offer, offer.last = offer, last
            if not offer.rows:
                continue
            most = max(1, left // (len(offer.rows[0]) + STAMP_BYTES))
            part.offer = offer.part(slice(0, most))
            left -= part.offer.bytes
            step = max(1, _MOST_ADDED_BYTES // (len(offer.rows[0]) + STAMP_BYTES))
            for start in range(most, len(offer.rows), step):
                yield _push_of_nothing(table, offer.part(slice(start, start + step)))

    def read(self, table: ShardTable, keys: _Keys, values: Array, status: npt.NDArray[np.uint8]) -> None:
        """Overwrites values [n, dim] and status [n] of those of `keys` [n] that have no rows and are cold.

        They stay cold: a pull inserts nothing.
        """
        if not table.second_chance.on or not self._owns():
            return
        places = np.flatnonzero(status != _FOUND)
        if not len(places):
            return
        with table.second_chance.lock:  # An eviction that took rows has said so.
            pass
        offer = self._find(table, keys[places], remember=True)
        if not offer.rows:
            return
        found = specs.build_table(table.spec, bucket_count=1)
        found.add_packed(offer.keys, b"".join(offer.rows), position=0)
        places = places[np.isin(keys[places], offer.keys)]
        rows, statuses = np.empty((len(places), *values.shape[1:]), values.dtype), np.empty(len(places), np.uint8)
        found.pull(np.ascontiguousarray(keys[places]), rows, statuses, now=0)
        good = statuses == _FOUND
        values[places[good]], status[places[good]] = rows[good], statuses[good]

    def _find(self, table: ShardTable, keys: _Keys, *, remember: bool) -> Offer:
        """Those of `keys`, which have no rows, that are cold and can be had in time."""
        chance = table.second_chance
        at, stamps, places = chance.rows.find(keys)
        if chance.wipe_due:  # What the store has of keys that are not known here is about to be deleted.
            known_ones = stamps != 0
            at, stamps, places = at[known_ones], stamps[known_ones], places[known_ones]
        cold, rows = keys[at], [b""] * len(at)
        asked, tried = [], dict(zip(cold.tolist(), stamps.tolist(), strict=True))
        for i, (key, stamp, place) in enumerate(zip(cold.tolist(), stamps.tolist(), places.tolist(), strict=True)):
            known = chance.rows.waiting_row(key) if place == _core.COLD_WAITING else chance.cached(key, stamp)
            rows[i] = known or b""
            if not known:
                if place == _core.COLD_WAITING:  # It has just been written, or come back.
                    return self._find(table, keys, remember=remember)
                asked.append(i)
        if asked:
            with contextlib.suppress(RedisUnavailable, NotReady):
                copies = self._read(table, cold[asked], places[asked])
                self._believe(table, cold, stamps, rows, zip(asked, copies, strict=True), remember=remember)
        good = np.array([bool(row) for row in rows], np.bool_)
        return Offer(cold[good], stamps[good], [row for row in rows if row], tried)

    def _read(self, table: ShardTable, keys: _Keys, places: npt.NDArray[np.uint8]) -> list[list[Copy]]:
        entry = table.entry
        return self._guard.call(
            lambda: self._store.read(entry.table_id, entry.bucket_count, keys, places), within_s=self._wait_s
        )

    def _believe(
        self,
        table: ShardTable,
        keys: _Keys,
        stamps: npt.NDArray[np.uint64],
        rows: list[bytes],
        answers: Iterator[tuple[int, list[Copy]]],
        *,
        remember: bool,
    ) -> None:
        """Takes over copies that are whole and of the right eviction, into `rows` and `stamps`."""
        chance = table.second_chance
        lost: list[int] = []  # Places.
        for i, copies in answers:
            key = int(keys[i])
            found = [(slot, *whole) for slot, copy in copies if (whole := whole_copy(copy, key, chance.row_bytes))]
            fitting = [one for one in found if stamps[i] in (0, one[1])]
            if len(fitting) == 1 and chance.rows.confirm(key, fitting[0][1], fitting[0][0]):
                stamps[i], rows[i] = fitting[0][1:]
                if remember:
                    chance.cache(key, int(stamps[i]), rows[i])
            else:
                lost.append(i)
        if lost:
            chance.lost(keys[lost], stamps[lost])


def _push_of_nothing(table: ShardTable, offer: Offer) -> Push:
    """A push that brings rows back and changes none."""
    part = PushPart(
        table=table,
        keys=np.empty(0, np.int64),
        gradients=np.empty((0, table.dim), np.float32),
        counts=None,
        step=max(1, table.step),
        learning_rate=None,
        clip_value=None,
        max_norm=None,
        offer=offer,
    )
    return Push([part])


def request_of(push: Push) -> bytes:
    """What the journal keeps as the request of a push of nothing."""
    return rows_pb2.PushRequest(
        tables=[rows_pb2.TableGradients(table=part.table.name, step=part.step) for part in push.parts]
    ).SerializeToString()
