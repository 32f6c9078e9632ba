"""Lists of keys, one per entity: making, cutting and taking them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rowbank_trainer.data.dataset import Ids, KeyLists


def from_counts(values: Ids, counts: Ids) -> KeyLists:
    """Lists of `counts` ([N] int64) values each, one after the other."""
    return KeyLists(values.astype(np.int64), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def single(values: Ids) -> KeyLists:
    """Lists of one value each."""
    return from_counts(values, np.ones(len(values), np.int64))


def from_rows(rows: Ids, kept: npt.NDArray[np.bool_]) -> KeyLists:
    """Lists of those values of each of [N, L] rows that `kept` says, in their order."""
    return from_counts(rows[kept], kept.sum(axis=1))


def counts_of(lists: KeyLists) -> Ids:
    """How many values each list has, [N] int64."""
    return np.diff(lists.starts)


def take(lists: KeyLists, places: Ids) -> KeyLists:
    """The lists at `places` ([M] int64), in that order."""
    counts = counts_of(lists)[places]
    before = np.cumsum(counts) - counts
    flat = np.arange(counts.sum()) + np.repeat(lists.starts[places] - before, counts)
    return from_counts(lists.values[flat], counts)


def cut(lists: KeyLists, length: int, *, newest: bool) -> KeyLists:
    """The first `length` values of each list, or the last; 0: all."""
    counts = counts_of(lists)
    if not length or not len(counts) or counts.max() <= length:
        return lists
    within = np.arange(len(lists.values)) - np.repeat(lists.starts[:-1], counts)
    kept = within >= np.repeat(counts - length, counts) if newest else within < length
    return from_counts(lists.values[kept], np.minimum(counts, length))


def aligned(lists: KeyLists, ids: Ids, wanted: Ids, default: Sequence[int]) -> KeyLists:
    """The lists of `wanted` ids ([M] int64) of those of `ids` ([N] int64, ascending); `default` for other ids."""
    count = len(ids)
    places = np.searchsorted(ids, wanted)
    known = places < count
    known[known] = ids[places[known]] == wanted[known]
    more = KeyLists(
        np.concatenate([lists.values, np.asarray(default, np.int64)]),
        np.concatenate([lists.starts, [lists.starts[-1] + len(default)]]),
    )
    return take(more, np.where(known, places, count).astype(np.int64))
