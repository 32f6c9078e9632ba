"""Batches: what is accepted, what is refused before anything is sent, and how repeats become one."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from rowbank.calls import arrays
from rowbank.errors import DimMismatch, InvalidRequest, NonFiniteGradient, RequestTooLarge


@pytest.mark.parametrize(
    ("given", "flat", "shape"),
    [
        ([3, 1, 3], [3, 1, 3], (3,)),
        (7, [7], ()),
        ([], [], (0,)),
        ([[1, 2], [3, 4]], [1, 2, 3, 4], (2, 2)),
        (np.zeros((2, 0), np.int32), [], (2, 0)),
        (np.array([1, 2], np.uint8), [1, 2], (2,)),
        (np.array([2**63 - 1], np.uint64), [2**63 - 1], (1,)),
        (np.arange(6)[::2], [0, 2, 4], (3,)),
        (np.arange(4, dtype=">i8"), [0, 1, 2, 3], (4,)),
    ],
)
def test_keys_are_integers_of_any_shape(given, flat, shape):
    keys, got = arrays.as_keys(given, limit=10)
    assert keys.dtype == np.int64
    assert keys.flags.c_contiguous
    assert keys.tolist() == flat
    assert got == shape


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1.0], "keys: expected integers, got dtype float64"),
        (np.zeros(0, np.float32), "keys: expected integers, got dtype float32"),
        ([True], "keys: expected integers, got dtype bool"),
        (["a"], "keys: expected integers, got dtype <U1"),
        ([2**63], "keys: expected at most 2**63 - 1 (keys are int64), got 9223372036854775808"),
        ([2**64], "keys: expected integers from -2**63 to 2**63 - 1"),
        ([None], "keys: expected integers from -2**63 to 2**63 - 1"),
    ],
)
def test_other_keys_are_refused(given, message):
    with pytest.raises(InvalidRequest) as raised:
        arrays.as_keys(given, limit=10)
    assert message in str(raised.value)


def test_too_many_keys_name_the_limit():
    with pytest.raises(RequestTooLarge, match=r"at most 10 in one call \(Client's max_keys_per_call\), got 11"):
        arrays.as_keys(np.zeros(11, np.int64), limit=10)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_values_of_any_floating_dtype_become_float32(dtype):
    rows = arrays.as_values("gradients", np.ones((2, 3, 4), dtype), shape=(2, 3), dim=4, table="t")
    assert rows.dtype == np.float32
    assert rows.tolist() == [[1.0] * 4] * 6


def values(given, shape=(2,)):
    return arrays.as_values("gradients", given, shape=shape, dim=3, table="t")


@pytest.mark.parametrize(
    ("given", "cls", "message"),
    [
        (np.ones((2, 4), np.float32), DimMismatch, "gradients: table 't' has dim 3, got rows of 4 (shape [2, 4])"),
        (np.ones((1, 3), np.float32), InvalidRequest, "expected shape [2, 3] to match the keys, got [1, 3]"),
        (np.ones((2, 3), np.int32), InvalidRequest, "gradients: expected a floating dtype, got int32"),
        (np.float32(1), InvalidRequest, "expected shape [2, 3] to match the keys, got []"),
        ([[1.0, 2.0, 3.0], [1.0, np.nan, 3.0]], NonFiniteGradient, "got NaN or infinity in row 1 for table 't'"),
        ([[np.inf, 2.0, 3.0], [1.0, 2.0, 3.0]], NonFiniteGradient, "got NaN or infinity in row 0 for table 't'"),
        ([[1e39, 2.0, 3.0], [1.0, 2.0, 3.0]], NonFiniteGradient, "got NaN or infinity in row 0 for table 't'"),
    ],
)
def test_other_values_are_refused(given, cls, message):
    with pytest.raises(cls) as raised:
        values(given)
    assert message in str(raised.value)


def test_no_keys_need_no_rows():
    assert values([], shape=(0,)).shape == (0, 3)


def test_flags_may_be_one_for_all():
    assert arrays.as_flags("exists", True, shape=(2, 2)).tolist() == [1, 1, 1, 1]
    assert arrays.as_flags("exists", [[True], [False]], shape=(2, 1)).tolist() == [1, 0]
    with pytest.raises(InvalidRequest, match="exists: expected bool, got dtype int64"):
        arrays.as_flags("exists", [1, 0], shape=(2,))
    with pytest.raises(InvalidRequest, match=r"exists: expected shape \[2\] to match the keys, got \[3\]"):
        arrays.as_flags("exists", [True] * 3, shape=(2,))


@pytest.mark.parametrize("given", [[0, 1], [1, 2**32], [-1, 1], [1.0, 2.0], [1]])
def test_counts_are_positive_uint32(given):
    with pytest.raises(InvalidRequest, match="counts: expected"):
        arrays.as_counts(given, shape=(2,))


def test_distinct_keys_keep_their_order():
    batch = arrays.distinct(np.array([5, -1, 3]))
    assert batch.keys.tolist() == [5, -1, 3]
    assert batch.occurrences is None
    assert arrays.sum_counts(batch, None) is None


def test_repeats_are_summed_counted_and_spread_back():
    batch = arrays.distinct(np.array([7, 2, 7, 7, 2]))
    rows = np.array([[1], [10], [2], [4], [20]], np.float32)
    assert batch.keys.tolist() == [7, 2]
    assert arrays.sum_repeats(batch, rows).tolist() == [[7.0], [30.0]]
    assert arrays.sum_counts(batch, None).tolist() == [3, 2]
    assert arrays.sum_counts(batch, np.array([1, 2, 3, 4, 5], np.uint32)).tolist() == [8, 7]
    assert batch.spread(np.array([[7.0], [2.0]], np.float32)).ravel().tolist() == [7.0, 2.0, 7.0, 7.0, 2.0]
    assert batch.spread(np.array([1, 0], np.uint8)).tolist() == [1, 0, 1, 1, 0]


def test_counts_that_overflow_are_refused():
    batch = arrays.distinct(np.array([1, 1]))
    with pytest.raises(InvalidRequest, match="expected a sum per key of at most 2"):
        arrays.sum_counts(batch, np.array([2**32 - 1, 1], np.uint32))


@pytest.mark.parametrize("distinct_keys", [1, 3, 60, 400, 5000])
def test_sums_equal_the_plain_loop(distinct_keys):
    """Few and many repeats, both ways of summing, in one batch; each key's rows are added in the order given."""
    rng = np.random.default_rng(distinct_keys)
    keys = np.minimum(rng.zipf(1.3, 2000), distinct_keys).astype(np.int64)
    rows = rng.standard_normal((2000, 5)).astype(np.float32)
    batch = arrays.distinct(keys)
    sums = dict(zip(batch.keys.tolist(), arrays.sum_repeats(batch, rows), strict=True))
    expected: dict[int, np.ndarray] = {}
    for key, row in zip(keys.tolist(), rows, strict=True):
        expected[key] = expected.get(key, np.zeros(5)) + row.astype(np.float64)
    assert sums.keys() == expected.keys()
    for key, row in expected.items():
        np.testing.assert_allclose(sums[key], row, rtol=1e-5, atol=2e-4)
    np.testing.assert_array_equal(batch.spread(batch.keys), keys)
