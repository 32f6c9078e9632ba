"""What the native part does, in NumPy: the same, slower, for machines that no wheel fits and that have no compiler.

Signatures and meanings are those of `_native`. Arrays are those that the client itself makes, so shapes and dtypes are
not looked at again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rowbank_protos import columns

_Positions = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float32]
_Counts = npt.NDArray[np.uint32]


def distinct(keys: _Positions, distinct: _Positions, inverse: _Counts, occurrences: _Counts) -> int:
    """As `_native.distinct`."""
    ascending, first, places, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.uint32)
    rank[order] = np.arange(len(order), dtype=np.uint32)
    distinct[: len(order)] = ascending[order]
    occurrences[: len(order)] = counts[order]
    inverse[:] = rank[places.reshape(-1)]
    return len(order)


def sum_per_key(rows: _Floats, inverse: _Counts, out: _Floats) -> None:
    """As `_native.sum_per_key`."""
    order = np.argsort(inverse, kind="stable")
    counts = np.bincount(inverse, minlength=len(out))
    starts = np.cumsum(counts) - counts
    out[:] = rows[order[starts]]
    for turn in range(1, int(counts.max(initial=0))):  # One row of each key at a time, in the order given.
        more = np.flatnonzero(counts > turn)
        out[more] += rows[order[starts[more] + turn]]


def expand(rows: _Floats, inverse: _Counts, out: _Floats) -> None:
    """As `_native.expand`."""
    out[:] = rows[inverse]


def keep_best(scores: _Floats, first_item: int, best_scores: _Floats, best_items: _Positions) -> None:
    """As `_native.keep_best`."""
    size = best_scores.shape[1]
    items = np.arange(first_item, first_item + scores.shape[1], dtype=np.int64)
    all_scores = np.concatenate([best_scores, np.where(np.isnan(scores), np.float32(-np.inf), scores)], axis=1)
    all_items = np.concatenate([best_items, np.broadcast_to(items, scores.shape)], axis=1)
    # Those before are in order, and have lower items: of equal scores, the first is the better one.
    order = np.argsort(-all_scores, axis=1, kind="stable")[:, :size]
    best_scores[:] = np.take_along_axis(all_scores, order, axis=1)
    best_items[:] = np.where(best_scores == -np.inf, -1, np.take_along_axis(all_items, order, axis=1))


def related_items(
    user_starts: _Positions, items: _Positions, item_starts: _Positions, users: _Positions, first: int, out: _Positions
) -> None:
    """As `_native.related_items`."""
    count = len(item_starts) - 1
    met_by = np.sqrt(np.maximum(np.diff(item_starts), 1).astype(np.float64))
    out[:] = -1
    for row in range(len(out)):
        item = first + row
        whose = users[item_starts[item] : item_starts[item + 1]]
        lists = [items[user_starts[user] : user_starts[user + 1]] for user in whose]
        if not lists:
            continue
        weights = np.repeat([1.0 / len(one) for one in lists], [len(one) for one in lists])
        shared = np.bincount(np.concatenate(lists), weights, minlength=count)
        others = np.flatnonzero(shared)
        others = others[others != item]
        scores = shared[others] / met_by[others]
        best = others[np.lexsort((others, -scores))][: out.shape[1]]
        out[row, : len(best)] = best


def converts_half() -> bool:
    """NumPy converts float16 itself, which is what the client does then."""
    return False


def widen_half(halves: npt.NDArray[np.float16], out: _Floats) -> None:
    """As `_native.widen_half`."""
    out[:] = halves


def round_to_half(values: _Floats, out: npt.NDArray[np.float16]) -> None:
    """As `_native.round_to_half`."""
    with np.errstate(over="ignore"):  # What overflows is infinite, as everywhere.
        out[:] = values


def widen_int8(rows: npt.NDArray[np.uint8], out: _Floats) -> None:
    """As `_native.widen_int8`."""
    out[:] = columns.int8_to_float32(rows)


def round_at_random(values: _Floats, out: npt.NDArray[np.uint16], half: bool, seed: int) -> None:
    """As `_native.round_at_random`, bit for bit."""
    bits = values.view(np.uint32)
    magnitude = bits & np.uint32(0x7FFFFFFF)
    random = _random_bits(values.size, seed).reshape(values.shape)
    if half:
        normal = np.minimum(((magnitude + (random >> 3)) >> 13) - np.uint32(112 << 10), np.uint32(0x7BFF))
        units = np.minimum(magnitude.view(np.float32) * np.float32(2.0**24), np.float32(1024.0))
        whole = units.astype(np.uint32)
        up = (random.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-16) < units - whole.astype(np.float32)
        kept = np.where(magnitude < np.uint32(0x38800000), whole + up, normal)
    else:
        kept = np.minimum((magnitude + random) >> 16, np.uint32(0x7F7F))
    out[...] = (bits >> 16 & np.uint32(0x8000)) | kept


def _random_bits(count: int, seed: int) -> _Counts:
    x = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9) + np.uint32(seed & 0xFFFFFFFF)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D) + np.uint32(seed >> 32)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x >> np.uint32(16)
