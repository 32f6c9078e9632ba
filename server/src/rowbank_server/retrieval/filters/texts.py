"""Which of many strings are among some values, or lie between two: without making a Python string of each.

A column keeps the distinct strings of its items as bytes, one after the other; there may be as many as items. For
equality a number is made of each string's length, first and last eight bytes, once; only strings with the number of a
value are looked at. For an order, the first eight bytes are compared as a number, and only strings that begin as the
bound does are compared byte by byte. UTF-8's order of bytes is the order of code points, which is Python's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rowbank_server.retrieval.columns import Texts

Bools = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.uint64]

_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9))
_TABLE_BITS = 16


def among(words: Texts, prints: Numbers, values: Sequence[str]) -> Bools:
    """[W] bool: the words that are one of the values.

    Args:
        prints: what `fingerprints` says of the words.
    """
    found, wanted = np.zeros(len(words), np.bool_), set(values)
    for place in np.flatnonzero(
        is_one_of(prints.view(np.int64), fingerprints(Texts.of(values)).view(np.int64))
    ).tolist():
        found[place] = words[place] in wanted
    return found


def fingerprints(words: Texts) -> Numbers:
    """[W] uint64: equal for equal words, and hardly ever for others."""
    lengths = np.diff(words.ends, prepend=0)
    starts = words.ends - lengths
    ends = _eight(words, np.maximum(words.ends - 8, starts), np.minimum(lengths, 8))
    made: Numbers = beginnings(words) * _ODD[0] ^ ends * _ODD[1] ^ lengths.astype(np.uint64) * _ODD[2]
    return made


def beginnings(words: Texts) -> Numbers:
    """[W] uint64: the first eight bytes of each word as a number, zeros behind a shorter one."""
    lengths = np.diff(words.ends, prepend=0)
    return _eight(words, words.ends - lengths, np.minimum(lengths, 8))


def order(words: Texts, begins: Numbers, bound: str) -> npt.NDArray[np.int8]:
    """[W] int8: -1 for words before `bound`, 0 for it, 1 for words after it.

    Args:
        begins: what `beginnings` says of the words.
    """
    wanted = bound.encode()
    begin = np.uint64(int.from_bytes(wanted[:8].ljust(8, b"\0"), "big"))
    found = np.where(begins < begin, np.int8(-1), np.int8(1)).astype(np.int8)
    for place in np.flatnonzero(begins == begin).tolist():
        start = int(words.ends[place - 1]) if place else 0
        word = words.data[start : int(words.ends[place])].tobytes()
        found[place] = (word > wanted) - (word < wanted)
    return found


def is_one_of(held: npt.NDArray[np.int64], values: npt.NDArray[np.int64]) -> Bools:
    """[E] bool: the numbers that are one of [M] values. A small table says which may be; only those are searched."""
    wanted, table = np.unique(values), np.zeros(1 << _TABLE_BITS, np.bool_)
    table[_folded(wanted)] = True
    found = table[_folded(held)]
    maybe = np.flatnonzero(found)
    at = np.minimum(np.searchsorted(wanted, held[maybe]), len(wanted) - 1)
    found[maybe] = wanted[at] == held[maybe]
    return found


def _folded(numbers: npt.NDArray[np.int64]) -> Numbers:
    folded: Numbers = numbers.view(np.uint64) * _ODD[0] >> np.uint64(64 - _TABLE_BITS)
    return folded


def _eight(words: Texts, starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> Numbers:
    """[W] uint64: up to eight bytes from `starts` on as numbers, the first byte the highest, zeros behind `counts`."""
    padded = np.concatenate([words.data, np.zeros(8, np.uint8)])
    rows = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(padded, 8)[starts])
    spare = (8 * (8 - counts)).astype(np.uint64)
    kept = np.where(counts > 0, ~np.uint64(0) << np.minimum(spare, np.uint64(63)), np.uint64(0))
    made: Numbers = rows.view(">u8")[:, 0].astype(np.uint64) & kept
    return made
