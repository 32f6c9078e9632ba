"""What reads of rows answer, and what a store of several tables is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The answer of a lookup; `...` is the shape of the keys that were asked for.

    Attributes:
        values: [..., dim] float32; rows of unseen keys are zero.
        found: [...] bool.
        frequency: [...] uint32 occurrences, if metadata was asked for.
        last_used: [...] uint32 Unix seconds, if metadata was asked for.
    """

    values: npt.NDArray[np.float32]
    found: npt.NDArray[np.bool_]
    frequency: npt.NDArray[np.uint32] | None = None
    last_used: npt.NDArray[np.uint32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """One table's part of `Client.store`.

    Attributes:
        table: its name.
        keys: [...] integers.
        values: [..., dim] floats, finite: rows as `Table.upsert` takes them; with `exists`, deltas as
            `Table.accumulate` takes them.
        exists: [...] bool, or one bool for all; None: the rows are stored as they are.
        touch: whether each key's row counts one occurrence afterwards, as `Table.touch` does.
    """

    table: str
    keys: Any
    values: Any
    exists: Any = None
    touch: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ExportChunk:
    """Some rows of a table, as one shard stores them; read-only arrays.

    Attributes:
        keys: [N] int64.
        values: [N, dim] float32.
        frequency: [N] uint32 occurrences.
        last_used: [N] uint32 Unix seconds.
        slots: [N, slot_width] float32 optimizer state, if asked for.
    """

    keys: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    frequency: npt.NDArray[np.uint32]
    last_used: npt.NDArray[np.uint32]
    slots: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class NearTableStats:
    """What a client keeps of one table near itself, and how often that helped, since it began to keep it.

    Attributes:
        rows: held now.
        capacity: rows that there is room for.
        bytes: of that room, with all that is kept beside the rows.
        hits, misses: rows that were answered from here, and that had to be asked for.
        evicted: rows that went to make room.
        invalidated: rows that went because this client wrote them.
        applied: rows that a pushed gradient was applied to.
        ages: hits by how many steps old the row was, from 0 on; the last entry, of 65 at most, has older ones, too.
    """

    rows: int
    capacity: int
    bytes: int
    hits: int
    misses: int
    evicted: int
    invalidated: int
    applied: int
    ages: tuple[int, ...]
