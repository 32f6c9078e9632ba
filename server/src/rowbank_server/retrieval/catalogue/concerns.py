"""Which items a moved row concerns.

An item's own rows are those under its own id, or under what a key rule makes of it: such a row concerns few items,
which are found at once. Rows under what features say, such as words of titles or genres, concern many; so do rows under
a rule that gives many items one key. Which items those are is only known by going through all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rowbank.manifests import TowerInput
from rowbank.tower_feeding import Fed, are_read
from rowbank.tower_keys import Keys, input_keys
from rowbank_server.registry.inputs import TowerInputs
from rowbank_server.retrieval.catalogue.growth import Stock
from rowbank_server.retrieval.parts import Part

MANY = 64  # A key of more items than this is shared.

I64 = npt.NDArray[np.int64]
# By table, keys [N] int64 whose rows moved; None: any row may have.
MovedRows: TypeAlias = "Mapping[str, I64 | None]"

_NONE: I64 = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Found:
    """Items [N] int64, ascending, whose own rows moved, and keys [M] that concern many."""

    items: I64
    shared: I64


class Concerns:
    """Of one tower.

    Attributes:
        tables: those that it reads; `own`: those of items' own rows.
    """

    def __init__(self, inputs: TowerInputs) -> None:
        keyed = [one for one in inputs.inputs if one.table]
        self.tables = frozenset(one.table for one in keyed)
        self._own = [one for one in keyed if one.feature == inputs.entity]
        self.own = frozenset(one.table for one in self._own)
        self._by_features = {one.table for one in keyed if one.feature != inputs.entity}

    def find(self, table: str, keys: I64, stock: Stock) -> Found:
        """What moved rows concern, by a catalogue's ids.

        Args:
            keys: [N] int64.
        """
        items, shared = [_NONE], [keys if table in self._by_features else _NONE]
        for one in self._own:
            if one.table == table:
                found = _plain(keys, stock) if one.rule is None else _ruled(one, keys, stock)
                items.append(found.items)
                shared.append(found.shared)
        return Found(np.unique(np.concatenate(items)), np.unique(np.concatenate(shared)))


def concerned(inputs: TowerInputs, fed: Fed, moved: MovedRows) -> npt.NDArray[np.bool_]:
    """[B] bool: which of the entities that were fed read a row that may have moved."""
    hit = np.zeros(len(fed.unusable), np.bool_)
    for one, part in zip(inputs.inputs, fed.parts, strict=True):
        if one.table not in moved or not isinstance(part, Keys):
            continue
        keys = moved[one.table]
        if keys is None:
            hit[:] = True
        else:
            match = np.isin(part.keys, keys) & are_read(one, part)
            hit |= match.any(axis=1) if match.ndim == 2 else match
    return hit


def _plain(keys: I64, stock: Stock) -> Found:
    """A key is an item's id."""
    return Found(np.unique(np.concatenate([_NONE, *(part.live_among(keys) for part in stock.parts)])), _NONE)


def _ruled(one: TowerInput, keys: I64, stock: Stock) -> Found:
    """A key is made of the ids of one or more items."""
    ranges = [(part, *_range_of(part, one, keys)) for part in stock.parts]
    counts = np.sum([last - first for _, first, last in ranges], axis=0)
    few = np.flatnonzero((counts > 0) & (counts <= MANY))
    items = [_NONE]
    for part, first, last in ranges:
        order = _by_key(part, one)[1]
        places = np.concatenate([_NONE, *(order[first[at] : last[at]] for at in few.tolist())])
        items.append(part.live_among(part.segment.ids[places]))
    return Found(np.unique(np.concatenate(items)), keys[counts > MANY])


def _range_of(part: Part, one: TowerInput, keys: I64) -> tuple[I64, I64]:
    """For each of [N] keys, where the part's items of it begin and end in `_by_key`."""
    made = _by_key(part, one)[0]
    return np.searchsorted(made, keys, "left"), np.searchsorted(made, keys, "right")


def _by_key(part: Part, one: TowerInput) -> tuple[I64, I64]:
    """Keys that the rule makes of the part's ids, ascending, and whose they are; made once for each segment."""
    name = ("own keys", one.name)
    made: tuple[I64, I64] | None = part.segment.masks.get(name)
    if made is None:
        keys = input_keys(one, part.segment.ids.tolist()).keys
        keys = keys[:, 0] if keys.ndim == 2 else keys
        order = np.argsort(keys, kind="stable")
        made = part.segment.masks[name] = keys[order], order
    return made
