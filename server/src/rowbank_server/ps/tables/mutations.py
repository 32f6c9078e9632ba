"""What changes rows: each kind of mutation, checked and ready to be applied, live or from the journal.

A mutation is applied with a position, which every row it touches remembers. Replay applies one again `after` dropping
the keys whose rows have seen that position or a later one, so it does each row's missing mutations exactly once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from rowbank.errors import InvalidRequest
from rowbank_protos.columns import Array, pack_keys
from rowbank_protos.v1 import admin_pb2, deltas_pb2, rows_pb2
from rowbank_server import _core
from rowbank_server.journal.records import Kind
from rowbank_server.ps.tables import outcomes as outcomes_of_pushes
from rowbank_server.ps.tables.arrivals import Arrivals, Offer, Returned, absent_of, lock_chances, with_returned
from rowbank_server.ps.tables.table import ShardTable

REMOVAL_REASONS: dict[int, int] = {
    admin_pb2.EVICTION_REASON_CAPACITY: deltas_pb2.REMOVAL_REASON_CAPACITY,
    admin_pb2.EVICTION_REASON_BYTES: deltas_pb2.REMOVAL_REASON_BYTES,
    admin_pb2.EVICTION_REASON_TTL: deltas_pb2.REMOVAL_REASON_TTL,
    admin_pb2.EVICTION_REASON_RESTRICT: deltas_pb2.REMOVAL_REASON_RESTRICT,
    admin_pb2.EVICTION_REASON_MANUAL: deltas_pb2.REMOVAL_REASON_MANUAL,
}
_EVICTIONS = frozenset(REMOVAL_REASONS.values())
_Report = TypeVar("_Report", _core.RestrictReport, _core.CycleReport)


class Mutation(Protocol):
    """A checked mutation of some tables."""

    kind: ClassVar[Kind]

    @property
    def tables(self) -> Sequence[ShardTable]:
        """In the order of the request."""

    def lock_first(self, held: contextlib.ExitStack) -> None:
        """Takes the locks that come before the tables' mutation locks into `held`."""

    def prepare(self) -> Message | None:
        """Called under the tables' mutation locks, before the position is taken: decides what a record must say.

        Returns the answer, if it can be known before the mutation is applied.
        """

    def apply(self, *, now: int, position: int) -> Message:
        """Changes the rows; returns the answer."""

    def body(self, request: bytes) -> bytes | None:
        """What the journal keeps of the applied mutation, where `request` came for it; None: nothing happened."""

    def steps(self) -> Sequence[int]:
        """Per table: the step used, 0 where there is none."""

    def outcomes(self, position: int) -> Sequence[bytes]:
        """Per table: what replay could not find out again, once applied at `position`; see `TablePart`."""

    def after(self, position: int) -> Mutation:
        """Without the keys whose rows have seen `position`."""


@dataclass(slots=True)
class PushPart:
    """One table's part of a push. `step` 0: the next; `frequencies`: in a replay, those that rows had afterwards.

    What is on `offer` of evicted rows is looked through when the push is applied; what is left of it has `returned`.
    """

    table: ShardTable
    keys: npt.NDArray[np.int64]
    gradients: Array
    counts: Array | None
    step: int
    learning_rate: float | None
    clip_value: float | None
    max_norm: float | None
    admission: Literal["by_count", "own", "common"] = "by_count"
    frequencies: npt.NDArray[np.uint32] | None = None
    offer: Offer | None = None
    absent: npt.NDArray[np.int64] | None = None
    returned: Returned | None = None

    def select(self, places: npt.NDArray[np.bool_], admission: Literal["own", "common"]) -> PushPart:
        """The same for some of the keys."""
        return replace(
            self,
            keys=self.keys[places],
            gradients=self.gradients[places],
            counts=None if self.counts is None else self.counts[places],
            admission=admission,
            frequencies=None if self.frequencies is None else self.frequencies[places],
        )

    def take_offer(self) -> None:
        """Finds out what comes back. REQUIRES: the caller holds the locks of a push. Raises GoneMeanwhileError."""
        if self.offer is not None:
            self.absent = absent_of(self.table, self.keys)
            wanted = self.absent if len(self.keys) else absent_of(self.table, self.offer.keys)
            self.returned = self.offer.taken(self.table, wanted)

    def apply(self, *, now: int, position: int) -> None:
        """Changes the rows, or the common one."""
        rows = self.table.rows
        absent = absent_of(self.table, self.keys) if self.absent is None else self.absent
        arrivals = Arrivals(self.table, absent, self.returned, position)
        made = None if self.frequencies is None else rows.contains(self.keys) == 0
        rows.push(
            self.keys,
            self.gradients,
            self.counts,
            step=self.step,
            now=now,
            position=position,
            learning_rate=self.learning_rate,
            clip_value=self.clip_value,
            max_norm=self.max_norm,
            admission=self.admission,
        )
        if self.admission == "common":
            self.table.common_position = position
        elif self.frequencies is not None:
            outcomes_of_pushes.count_seen_before(
                rows, self.keys[made], self.frequencies[made], now=now, position=position
            )
        arrivals.end()


@dataclass(slots=True)
class Push:
    """Gradients of any number of tables."""

    kind: ClassVar[Kind] = Kind.PUSH
    parts: list[PushPart]

    @property
    def tables(self) -> Sequence[ShardTable]:
        return [part.table for part in self.parts]

    def lock_first(self, held: contextlib.ExitStack) -> None:
        lock_chances((part.table for part in self.parts if part.offer is not None), held)

    def prepare(self) -> Message | None:
        for part in self.parts:
            part.take_offer()
        for part in self.parts:
            part.step = part.table.next_step(part.step)
        if any(part.table.admits_by_count for part in self.parts):
            return None  # Which keys are admitted is known afterwards.
        return rows_pb2.PushResponse(steps=self.steps())

    def apply(self, *, now: int, position: int) -> Message:
        for part in self.parts:
            part.apply(now=now, position=position)
        return rows_pb2.PushResponse(steps=self.steps())

    def require_own(self) -> None:
        """Raises InvalidRequest for rows that come back, which only the journal has."""
        if any(part.returned is not None for part in self.parts):
            raise InvalidRequest("returned: expected none, got some; evicted rows come back by themselves")

    def body(self, request: bytes) -> bytes | None:
        return with_returned(request, [part.returned for part in self.parts])

    def steps(self) -> Sequence[int]:
        return [part.step for part in self.parts]

    def outcomes(self, position: int) -> Sequence[bytes]:
        return [
            outcomes_of_pushes.record(part.table.rows, part.keys, position) if part.table.admits_by_count else b""
            for part in self.parts
        ]

    def after(self, position: int, outcomes: Sequence[bytes] = ()) -> Push:
        """As recorded: keys that had rows get them, the others train the common row, if it has not seen this."""
        parts = []
        for part, outcome in zip(self.parts, outcomes or [b""] * len(self.parts), strict=True):
            missing = _missing(part.table, part.keys, position)
            if not outcome and missing is None:
                parts.append(replace(part, admission="own"))
                continue
            found = outcomes_of_pushes.read(outcome, len(part.keys))
            own, part = found.own, replace(part, frequencies=found.frequencies)
            if not own.all() and part.table.common_position < position:
                parts.append(part.select(~own, "common"))
            parts.append(part.select(own if missing is None else own & missing, "own"))
        return Push(parts)


@dataclass(slots=True)
class _OneTable:
    """What mutations of one table by keys share."""

    table: ShardTable
    keys: npt.NDArray[np.int64]

    @property
    def tables(self) -> Sequence[ShardTable]:
        return [self.table]

    def lock_first(self, held: contextlib.ExitStack) -> None:
        pass

    def prepare(self) -> Message | None:
        return None

    def body(self, request: bytes) -> bytes | None:
        return request

    def steps(self) -> Sequence[int]:
        return [0]

    def outcomes(self, position: int) -> Sequence[bytes]:
        return [b""]


@dataclass(slots=True)
class Upsert(_OneTable):
    """Rows as they are."""

    kind: ClassVar[Kind] = Kind.UPSERT
    values: Array
    touch: bool = False

    def apply(self, *, now: int, position: int) -> rows_pb2.UpsertResponse:
        rows = self.table.rows
        inserted = rows.upsert(self.keys, self.values, now=now, position=position, touch=self.touch)
        self.table.second_chance.forget(self.keys)
        return rows_pb2.UpsertResponse(inserted=inserted)

    def after(self, position: int) -> Upsert:
        missing = _missing(self.table, self.keys, position)
        return self if missing is None else replace(self, keys=self.keys[missing], values=self.values[missing])


@dataclass(slots=True)
class Accumulate(_OneTable):
    """Deltas on rows that are, or are not, as the caller says."""

    kind: ClassVar[Kind] = Kind.ACCUMULATE
    deltas: Array
    exists: Array
    touch: bool = False

    def apply(self, *, now: int, position: int) -> rows_pb2.AccumulateResponse:
        rows = self.table.rows
        applied = rows.accumulate(self.keys, self.deltas, self.exists, now=now, position=position, touch=self.touch)
        if self.table.second_chance.on:
            self.table.second_chance.forget(self.keys[rows.contains(self.keys) != 0])
        return rows_pb2.AccumulateResponse(applied=applied)

    def after(self, position: int) -> Accumulate:
        missing = _missing(self.table, self.keys, position)
        if missing is None:
            return self
        return replace(self, keys=self.keys[missing], deltas=self.deltas[missing], exists=self.exists[missing])


@dataclass(slots=True)
class Remove(_OneTable):
    """Rows that go; with an eviction's `reason` they may come back."""

    kind: ClassVar[Kind] = Kind.REMOVE
    reason: int = deltas_pb2.REMOVAL_REASON_UNSPECIFIED

    def lock_first(self, held: contextlib.ExitStack) -> None:
        lock_chances([self.table], held)

    def apply(self, *, now: int, position: int) -> Message:
        chance, rows = self.table.second_chance, self.table.rows
        evicted = chance.on and self.reason in _EVICTIONS
        packed = rows.pack_rows(self.keys) if evicted else None
        removed = rows.remove(self.keys)
        if packed is not None:
            chance.evicted_again(self.keys, *packed, position)
        else:
            chance.forget(self.keys)
        return rows_pb2.RemoveResponse(removed=removed)

    def after(self, position: int) -> Remove:
        missing = _missing(self.table, self.keys, position)
        return self if missing is None else replace(self, keys=self.keys[missing])


@dataclass(slots=True)
class Touch(_OneTable):
    """Occurrences without a gradient."""

    kind: ClassVar[Kind] = Kind.TOUCH
    counts: Array | None

    def apply(self, *, now: int, position: int) -> Message:
        touched = self.table.rows.touch(self.keys, self.counts, now=now, position=position)
        return rows_pb2.TouchResponse(touched=touched)

    def after(self, position: int) -> Touch:
        missing = _missing(self.table, self.keys, position)
        if missing is None:
            return self
        return replace(self, keys=self.keys[missing], counts=None if self.counts is None else self.counts[missing])


@dataclass(slots=True)
class Store:
    """Rows of any number of tables, as they are or added to.

    A part writes and touches a row in one step: the row remembers one position for both, so a write-back in between
    would let replay take the touch for done.
    """

    kind: ClassVar[Kind] = Kind.STORE
    parts: list[Upsert | Accumulate]

    @property
    def tables(self) -> Sequence[ShardTable]:
        return [part.table for part in self.parts]

    def lock_first(self, held: contextlib.ExitStack) -> None:
        pass

    def prepare(self) -> Message | None:
        return None

    def apply(self, *, now: int, position: int) -> Message:
        answer = rows_pb2.StoreResponse()
        for part in self.parts:
            done = part.apply(now=now, position=position)
            answer.changed.append(done.inserted if isinstance(done, rows_pb2.UpsertResponse) else done.applied)
        return answer

    def body(self, request: bytes) -> bytes | None:
        return request

    def steps(self) -> Sequence[int]:
        return [0] * len(self.parts)

    def outcomes(self, position: int) -> Sequence[bytes]:
        return [b""] * len(self.parts)

    def after(self, position: int) -> Store:
        return Store([part.after(position) for part in self.parts])


@dataclass(slots=True)
class Import(_OneTable):
    """Whole rows; afterwards the table's step is at least `step`."""

    kind: ClassVar[Kind] = Kind.IMPORT
    values: Array
    frequency: Array | None
    last_used: Array | None
    slots: Array | None
    step: int

    def apply(self, *, now: int, position: int) -> Message:
        self.table.rows.import_rows(
            self.keys, self.values, self.frequency, self.last_used, self.slots, now=now, position=position
        )
        self.table.second_chance.forget(self.keys)
        self.table.raise_step(self.step)
        return rows_pb2.ImportResponse(imported=len(self.keys))

    def after(self, position: int) -> Import:
        missing = _missing(self.table, self.keys, position)
        if missing is None:
            return self
        return replace(
            self,
            keys=self.keys[missing],
            values=self.values[missing],
            frequency=None if self.frequency is None else self.frequency[missing],
            last_used=None if self.last_used is None else self.last_used[missing],
            slots=None if self.slots is None else self.slots[missing],
        )


@dataclass(slots=True)
class Clear(_OneTable):
    """All rows; replayed, those that have not seen its position."""

    kind: ClassVar[Kind] = Kind.CLEAR
    keys: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def lock_first(self, held: contextlib.ExitStack) -> None:
        # Write-back holds this lock while it waits for the journal and when it takes the mutation lock.
        held.enter_context(self.table.write_lock)
        lock_chances([self.table], held)

    def apply(self, *, now: int, position: int) -> Message:
        return rows_pb2.ClearResponse(removed=self.table.clear())

    def after(self, position: int) -> Mutation:
        if position > self.table.seen_through:
            self.table.common_position = position
            return self
        if self.table.common_position < position:
            self.table.reset_common_row()
            self.table.common_position = position
        if self.table.second_chance.on:
            self.table.second_chance.reset()
        keys = np.concatenate([self.table.rows.export_bucket(bucket).keys for bucket in self.table.buckets])
        return Remove(self.table, keys).after(position)


@dataclass(slots=True)
class Evict(_OneTable, Generic[_Report]):
    """What a policy or an operator takes away; the journal keeps which keys went, as a removal.

    Attributes:
        run: evicts, given the time, and reports.
        reason: why, a `RemovalReason`.
        report: what it reported.
    """

    kind: ClassVar[Kind] = Kind.REMOVE
    keys: npt.NDArray[np.int64] = field(init=False, default_factory=lambda: np.empty(0, np.int64))
    run: Callable[[int], _Report]
    reason: int = deltas_pb2.REMOVAL_REASON_UNSPECIFIED
    report: _Report | None = None

    def lock_first(self, held: contextlib.ExitStack) -> None:
        lock_chances([self.table], held)

    def apply(self, *, now: int, position: int) -> Message:
        self.report = self.run(now)
        self.keys = self.report.evicted_keys
        self.table.second_chance.evicted(self.report, position)
        return rows_pb2.RemoveResponse(removed=len(self.keys))

    def body(self, request: bytes) -> bytes | None:
        if not len(self.keys):
            return None
        return rows_pb2.RemoveRequest(
            table=self.table.name, keys=pack_keys(self.keys), reason=self.reason
        ).SerializeToString()

    def after(self, position: int) -> Mutation:
        return Remove(self.table, self.keys, self.reason).after(position)


def _missing(table: ShardTable, keys: npt.NDArray[np.int64], position: int) -> npt.NDArray[np.bool_] | None:
    """Which of `keys` have not seen `position`; None: all."""
    if position > table.seen_through:
        return None
    missing: npt.NDArray[np.bool_] = table.rows.positions(keys) < np.uint64(position)
    return None if missing.all() else missing
