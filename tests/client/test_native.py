"""The client's native functions against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank import _native
from rowbank.calls import arrays
from rowbank_protos import columns


def batches():
    rng = np.random.default_rng(1)
    extremes = np.array([-(2**63), 2**63 - 1, 0, -1], np.int64)
    yield "none", np.zeros(0, np.int64)
    yield "one", np.zeros(1, np.int64)
    yield "all the same", np.full(1000, -7, np.int64)
    yield "extremes", np.tile(extremes, 3)
    yield "random", rng.integers(-(2**63), 2**63 - 1, 5000)
    yield "repeats", rng.integers(0, 700, 5000)
    for shift in (8, 16, 32, 48, 60):
        yield f"multiples of 2^{shift}", np.arange(4096, dtype=np.int64) << shift


@pytest.mark.parametrize("keys", [pytest.param(keys, id=name) for name, keys in batches()])
def test_distinct_keys_come_in_order_of_their_first_occurrence(keys):
    batch = arrays.distinct(keys)
    ascending, first, counts = np.unique(keys, return_index=True, return_counts=True)
    order = np.argsort(first)
    np.testing.assert_array_equal(batch.keys, ascending[order])
    if len(ascending) == len(keys):
        assert batch.inverse is None
        assert batch.occurrences is None
    else:
        np.testing.assert_array_equal(batch.keys[batch.inverse], keys)
        np.testing.assert_array_equal(batch.occurrences, counts[order])


@pytest.mark.parametrize("dim", [1, 3, 64])
def test_rows_are_spread_to_every_key(dim):
    keys = np.random.default_rng(2).integers(0, 50, 400)
    batch = arrays.distinct(keys)
    rows = np.random.default_rng(3).standard_normal((len(batch.keys), dim)).astype(np.float32)
    place = {key: row for row, key in enumerate(batch.keys.tolist())}
    np.testing.assert_array_equal(batch.spread(rows), rows[[place[key] for key in keys.tolist()]])


@pytest.mark.parametrize(
    "inverse", [[0, 2], [1, 0], [0, 0], [2**32 - 1, 0]], ids=["gap", "not first", "too few", "beyond"]
)
def test_an_inverse_of_something_else_is_refused(inverse):
    """Places that could lie outside the arrays are never followed."""
    rows, places = np.ones((2, 4), np.float32), np.array(inverse, np.uint32)
    with pytest.raises(ValueError, match="inverse: expected what distinct"):
        _native.expand(rows, places, np.empty((2, 4), np.float32))
    with pytest.raises(ValueError, match="inverse: expected what distinct"):
        _native.sum_per_key(rows, places, np.empty((2, 4), np.float32))


def test_shapes_that_do_not_belong_together_are_refused():
    keys, small = np.arange(3), np.empty(2, np.uint32)
    with pytest.raises(ValueError, match="as many entries as keys"):
        _native.distinct(keys, np.empty(3, np.int64), small, np.empty(3, np.uint32))
    with pytest.raises(ValueError, match="shapes do not belong together"):
        _native.expand(np.ones((2, 4), np.float32), small, np.empty((2, 5), np.float32))
    with pytest.raises(TypeError):
        _native.distinct(keys.astype(np.int32), np.empty(3, np.int64), small, small)


@pytest.mark.skipif(not _native.converts_half(), reason="this CPU has no instructions for float16")
def test_every_float16_is_widened_exactly():
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(arrays.widen(halves, columns.FLOAT16), halves.astype(np.float32))
    odd = halves[1:1004].reshape(17, 59)  # Not a multiple of what the CPU takes at once.
    np.testing.assert_array_equal(arrays.widen(odd, columns.FLOAT16), odd.astype(np.float32))


def test_columns_that_lie_anywhere_become_aligned():
    halves, floats = np.arange(9, dtype=np.float16), np.arange(9, dtype=np.float32)
    for given, wire_dtype in ((halves, columns.FLOAT16), (floats, columns.FLOAT32)):
        shifted = np.frombuffer(b"x" + given.tobytes(), given.dtype, offset=1)
        widened = arrays.widen(shifted, wire_dtype)
        assert widened.flags.aligned
        assert widened.dtype == np.float32
        np.testing.assert_array_equal(widened, floats)


def test_float32_is_rounded_to_float16_as_numpy_rounds():
    """All halves, and what lies exactly between each and the next: ties go to even."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    between = (halves[1:] + halves[:-1]) / 2
    values = np.concatenate([halves, between, np.nextafter(between, np.float32(np.inf), dtype=np.float32)])
    values = np.concatenate([values, -values]).reshape(2, -1)
    np.testing.assert_array_equal(arrays.narrow(values, columns.FLOAT16), values.astype(np.float16))
