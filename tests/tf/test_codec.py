"""Integers and other types survive in float32 rows, exactly."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank.tfra.codec import codec_for
from rowbank.tfra.naming import table_name

EDGES = {
    "int8": [-128, -1, 0, 1, 127],
    "int32": [-(2**31), -(2**31) + 1, -65537, -65536, -32769, -32768, -1, 0, 1, 32767, 32768, 2**24 + 1, 2**31 - 1],
    "int64": [-(2**63), -(2**48) - 1, -(2**31) - 1, -1, 0, 1, 2**24 + 1, 2**53 + 1, 2**63 - 1],
}  # fmt: skip


@pytest.mark.parametrize("dtype", sorted(EDGES))
def test_integers_survive_at_the_edges_and_at_random(dtype):
    info = np.iinfo(dtype)
    random = np.random.default_rng(7).integers(info.min, info.max, size=100_000, dtype=dtype, endpoint=True)
    values = np.concatenate([np.array(EDGES[dtype], dtype=dtype), random])[:, None]
    codec = codec_for(dtype)
    rows = codec.encode(values)
    assert rows.dtype == np.float32
    assert rows.shape == (len(values), codec.row_width(1))
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(codec.decode(rows, dtype), values)


def test_every_low_half_and_every_high_half_of_int32_survives():
    """Any int32 is one of 65536 low halves and one of 65536 high halves: each of them once."""
    halves = np.arange(65536, dtype=np.int64)
    values = np.concatenate([halves, halves << 16]).astype(np.uint32).view(np.int32)[:, None]
    codec = codec_for("int32")
    np.testing.assert_array_equal(codec.decode(codec.encode(values), np.int32), values)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_adding_rows_adds_integers(dtype):
    """Also across the border between limbs, and around the ends of the type as integers do."""
    rng = np.random.default_rng(3)
    info = np.iinfo(dtype)
    first = rng.integers(info.min, info.max, size=(1000, 3), dtype=dtype, endpoint=True)
    second = rng.integers(info.min, info.max, size=(1000, 3), dtype=dtype, endpoint=True)
    codec = codec_for(dtype)
    summed = codec.decode(codec.encode(first) + codec.encode(second), dtype)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(summed, first + second)


def test_a_sum_beyond_what_a_limb_holds_is_refused():
    codec = codec_for("int32")
    rows = codec.encode(np.array([[32767]], dtype=np.int32)) * np.float32(513)
    with pytest.raises(ValueError, match="exact value is lost"):
        codec.decode(rows, np.int32)


def test_float64_survives_bit_for_bit():
    values = np.array([[0.1, -0.0, np.pi, 1e308, 5e-324, np.inf, -np.inf, np.nan]])
    codec = codec_for("float64")
    assert codec.decode(codec.encode(values), np.float64).tobytes() == values.tobytes()


def test_unstorable_types_are_named():
    with pytest.raises(TypeError, match="no values of type string; it stores bfloat16, bool, float16"):
        codec_for("string")


def test_names_are_cleaned_and_stay_different():
    assert table_name("user-parameter_mht_1of1") == "user-parameter"
    assert table_name("user-parameter_mht_1of2") == "user-parameter_mht_1of2"
    assert table_name("user-parameter_mht_1of1", "run7") == "run7/user-parameter"
    spaced, starred = table_name("a b_mht_1of1"), table_name("a*b_mht_1of1")
    assert spaced.startswith("a_b.")
    assert starred.startswith("a_b.")
    assert spaced != starred
    long = table_name("x" * 200 + "_mht_1of1")
    assert len(long) == 128
    assert long != table_name("x" * 201 + "_mht_1of1")
    assert long == table_name("x" * 200 + "_mht_1of1")
