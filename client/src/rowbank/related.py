"""Which items are related: those that the same people met."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rowbank import _kernels

_Positions = npt.NDArray[np.int64]
_ITEMS_PER_CALL = 4096  # Between two of them an interrupt is heard.


def most_related(users: _Positions, items: _Positions, *, catalogue: int, length: int) -> _Positions:
    """The `length` items most related to each item of a catalogue, most related first.

    How related two items are is the sum, over the users who met both, of one over how many items the user met, over the
    square root of the product of how many users met each item. So users who meet everything and items that everybody
    meets say little. Of equally related items the lower position comes first.

    It costs, per pair of a user and an item, an addition for each item that the user met, and holds 32 bytes per pair
    and 8 per item at a time.

    Args:
        users, items: [N] int64 positions, who met what; repeats count once.
        catalogue: number of items.
        length: at least 1.
    Returns:
        [catalogue, length] int64 positions; -1 where fewer items are related.
    Raises:
        ValueError: an item outside the catalogue, a negative user, or a length below 1.
    """
    if length < 1:
        raise ValueError(f"length: expected at least 1, got {length}")
    if len(items) and not (items.min() >= 0 and items.max() < catalogue):
        raise ValueError(f"items: expected positions from 0 to {catalogue - 1}")
    if len(users) and users.min() < 0:
        raise ValueError(f"users: expected positions from 0, got {users.min()}")
    pairs = np.unique(users * np.int64(max(catalogue, 1)) + items)
    owners, met = np.divmod(pairs, np.int64(max(catalogue, 1)))
    by_item = np.argsort(met, kind="stable")
    user_starts = _starts(owners, int(owners[-1]) + 1 if len(owners) else 0)
    item_starts, met_by = _starts(met, catalogue), np.ascontiguousarray(owners[by_item])
    found: _Positions = np.empty((catalogue, length), np.int64)
    for first in range(0, catalogue, _ITEMS_PER_CALL):
        block = found[first : first + _ITEMS_PER_CALL]
        _kernels.related_items(user_starts, met, item_starts, met_by, first, block)
    return found


def _starts(owners: _Positions, count: int) -> _Positions:
    """Where each of `count` owners' entries begin once they are in the owners' order: [count + 1]."""
    return np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=count))]).astype(np.int64)
