"""What users had met when they met something: histories as they were at each interaction of a stream.

A user who is served tomorrow is known by what was met until then, never by what comes after. So it is in training, too:
each interaction is learned with what its user had met before it, which for the first one is nothing. A history that
holds the item that is to be found would teach a tower to repeat it, and one that is never empty nothing of new users.
"""

from __future__ import annotations

import numpy as np

from rowbank_trainer.data.dataset import Ids, Interactions, KeyLists
from rowbank_trainer.two_tower import key_lists


class MetBefore:
    """The items that came before each interaction, of its user.

    Args:
        interactions: all of a stream, in the order in which they happened.
    """

    def __init__(self, interactions: Interactions) -> None:
        users = interactions.user_ids
        order = np.argsort(users, kind="stable")
        ordered = users[order]
        self._items = interactions.item_ids[order]
        self._places = np.empty(len(order), np.int64)
        self._places[order] = np.arange(len(order))
        self._begins = np.searchsorted(ordered, users).astype(np.int64)

    def take(self, rows: Ids, length: int) -> KeyLists:
        """For interactions at `rows` ([N] int64) the last `length` items before, oldest first; 0: all."""
        ends, starts = self._places[rows], self._begins[rows]
        if length:
            starts = np.maximum(starts, ends - length)
        counts = ends - starts
        before = np.cumsum(counts) - counts
        flat = np.arange(counts.sum()) + np.repeat(starts - before, counts)
        return key_lists.from_counts(self._items[flat], counts)
