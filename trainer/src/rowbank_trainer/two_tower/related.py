"""Which items go with which, as an input of the item tower: those that the same users met in training."""

from __future__ import annotations

import numpy as np

from rowbank.related import most_related
from rowbank_trainer.data.dataset import Ids

MOST_ITEMS = 1000


def related_items(
    user_ids: Ids, positions: Ids, times: Ids, *, catalogue: int, length: int, most: int = MOST_ITEMS
) -> Ids:
    """The `length` items most related to each item of a catalogue, by `rowbank.related.most_related`.

    The work grows with the square of how much one user met, so of somebody who met more than `most` items the last
    ones count: what thousands of items have in common with each other by one user is next to nothing.

    Args:
        user_ids, positions, times: [N] int64, the training interactions: who, the item's position in the catalogue,
            and when.
        catalogue: number of items.
        length, most: at least 1.
    Returns:
        [catalogue, length] int64 positions, most related first; -1 where fewer items are related, as for items that
        nobody met.
    """
    owners = np.unique(user_ids, return_inverse=True)[1].astype(np.int64)
    order = np.lexsort((times, owners))
    owners, positions = owners[order], positions[order]
    ends = np.cumsum(np.bincount(owners)) if len(owners) else np.zeros(0, np.int64)
    kept = np.arange(len(owners)) >= ends[owners] - most
    return most_related(owners[kept], positions[kept], catalogue=catalogue, length=length)
