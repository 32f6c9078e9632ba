"""What the journal says of a push to a table with admission, so that a replay does to each row what was done.

Which keys had rows of their own depends on how often they had been seen, and so does the frequency with which a row
begins. Both come from counts that no record has, so the record of the push that they mattered to says what came of
them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank_server import _core


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a push with n keys.

    Attributes:
        own: [n] which keys had rows of their own; the others trained the common row.
        frequencies: [n] uint32, those of the rows afterwards, 0 where there was none; None: an older record, which does
            not say.
    """

    own: npt.NDArray[np.bool_]
    frequencies: npt.NDArray[np.uint32] | None


def record(rows: _core.RowTable, keys: npt.NDArray[np.int64], position: int) -> bytes:
    """What came of the push at `position` with these keys; see docs/journal.md."""
    own = rows.positions(keys) == np.uint64(position)
    return np.packbits(own).tobytes() + rows.frequencies(keys[own]).astype("<u4", copy=False).tobytes()


def read(outcome: bytes, key_count: int) -> Outcome:
    """The outcome of a push with so many keys; empty: all had rows. Raises ValueError if it is of another length."""
    if not outcome:
        return Outcome(np.ones(key_count, np.bool_), None)
    bits = -(-key_count // 8)
    own = np.unpackbits(np.frombuffer(outcome, np.uint8, count=bits), count=key_count).astype(np.bool_)
    if len(outcome) == bits:
        return Outcome(own, None)
    frequencies = np.zeros(key_count, np.uint32)
    frequencies[own] = np.frombuffer(outcome[bits:], "<u4")
    return Outcome(own, frequencies)


def count_seen_before(
    rows: _core.RowTable,
    keys: npt.NDArray[np.int64],
    frequencies: npt.NDArray[np.uint32],
    *,
    now: int,
    position: int,
) -> None:
    """Lets rows that the push at `position` has just made, now, have the frequencies that they had the first time."""
    distinct, at = np.unique(keys, return_index=True)
    before = frequencies[at].astype(np.int64) - rows.frequencies(distinct)
    seen = before > 0
    if seen.any():
        rows.touch(distinct[seen], before[seen].astype(np.uint32), now=now, position=position)
