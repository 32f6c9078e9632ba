"""The client without its native part: the same results, bit for bit, in NumPy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from rowbank import _native, _without_native

RNG = np.random.default_rng(11)


def both(name, *arguments, outputs):
    """What both write into arrays of these shapes and dtypes, and return."""
    found = []
    for module in (_native, _without_native):
        out = [np.full(shape, fill, dtype) for shape, dtype, fill in outputs]
        found.append((getattr(module, name)(*arguments, *out), out))
    return found


@pytest.mark.parametrize("count", [0, 1, 500])
@pytest.mark.parametrize("bound", [3, 10**15])
def test_distinct_sums_and_spreads(count, bound):
    keys = RNG.integers(-bound, bound, count)
    outputs = [((count,), np.int64, 0), ((count,), np.uint32, 0), ((count,), np.uint32, 0)]
    (size, native), (again, plain) = both("distinct", keys, outputs=outputs)
    assert size == again
    for left, right in zip(native, plain, strict=True):
        np.testing.assert_array_equal(left[: size if left is not native[1] else count], right[: len(left[:size])]
                                      if left is not native[1] else right)  # fmt: skip
    rows = RNG.standard_normal((count, 5)).astype(np.float32)
    summed = both("sum_per_key", rows, native[1], outputs=[((size, 5), np.float32, 7)])
    np.testing.assert_array_equal(summed[0][1][0].view(np.uint32), summed[1][1][0].view(np.uint32))
    spread = both("expand", summed[0][1][0], native[1], outputs=[((count, 5), np.float32, 7)])
    np.testing.assert_array_equal(spread[0][1][0], spread[1][1][0])


def test_the_best_of_blocks():
    """Scores that are equal, NaN and infinite among them; more wanted than there are; several blocks."""
    kept = {module: (np.full((6, 9), -np.inf, np.float32), np.full((6, 9), -1, np.int64))
            for module in (_native, _without_native)}  # fmt: skip
    for first in (0, 7, 30):
        scores = RNG.integers(-3, 3, (6, 7)).astype(np.float32)
        scores[0, :] = np.nan
        scores[1, ::2] = -np.inf
        scores[2, 0] = np.inf
        for module, (best, items) in kept.items():
            module.keep_best(scores, first, best, items)
        for left, right in zip(*kept.values(), strict=True):
            np.testing.assert_array_equal(left, right)
    assert (kept[_native][1][0] == -1).all()


def test_related_items():
    users, items = RNG.integers(0, 12, 120), RNG.integers(0, 15, 120)
    pairs = np.unique(users * 15 + items)
    owners, met = np.divmod(pairs, 15)
    by_item = np.argsort(met, kind="stable")

    def starts(of, count):
        return np.concatenate([[0], np.cumsum(np.bincount(of, minlength=count))]).astype(np.int64)

    sides = (starts(owners, 12), met, starts(met, 15), np.ascontiguousarray(owners[by_item]))
    for first, count in ((0, 15), (4, 3)):
        (_, native), (_, plain) = both("related_items", *sides, first, outputs=[((count, 6), np.int64, 9)])
        np.testing.assert_array_equal(native[0], plain[0])


@pytest.mark.skipif(not _native.converts_half(), reason="this CPU has no instructions for float16")
def test_halves():
    values = np.concatenate([RNG.standard_normal(64), [1e9, -1e9, 6e-8, 0.0, np.inf]]).astype(np.float32)
    (_, native), (_, plain) = both("round_to_half", values, outputs=[(values.shape, np.float16, 0)])
    np.testing.assert_array_equal(native[0].view(np.uint16), plain[0].view(np.uint16))
    (_, native), (_, plain) = both("widen_half", native[0], outputs=[(values.shape, np.float32, 0)])
    np.testing.assert_array_equal(native[0], plain[0])
    assert not _without_native.converts_half()


def test_a_client_that_has_none_does_all_the_same(target, table_name):
    """A process in which the native part cannot be found."""
    program = f"""
import sys
sys.modules["rowbank._native"] = None  # As if it were not there.
import numpy as np, rowbank
from rowbank import _kernels
assert not _kernels.NATIVE
with rowbank.Client({target!r}, wire_dtype="float16") as client:
    table = client.create_table(rowbank.TableSpec({table_name!r}, dim=2, optimizer=rowbank.SGD(1.0)))
    table.push([5, 6, 5], [[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    assert table.pull([5, 6, 7, 5]).tolist() == [[-2.0, -4.0], [-3.0, -4.0], [0.0, 0.0], [-2.0, -4.0]]
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=120)
