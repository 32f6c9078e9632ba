"""Columns: bytes worked out by hand; rounding judged by ml_dtypes; views; errors that say what they got."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from rowbank_protos import columns
from rowbank_protos.columns import BFLOAT16, FLOAT16, FLOAT32, ColumnError


def test_keys_are_little_endian_int64():
    data = columns.pack_keys(np.array([1, -1, 2**63 - 1]))
    assert data == b"\x01" + bytes(7) + b"\xff" * 8 + b"\xff" * 7 + b"\x7f"
    assert columns.unpack_keys(data).tolist() == [1, -1, 2**63 - 1]


def test_float32_is_ieee_little_endian():
    assert columns.pack_values(np.array([[1.0, -2.0]], np.float32)) == bytes.fromhex("0000803f000000c0")


def test_float16_and_bfloat16_take_two_bytes():
    values = np.array([[1.0, -2.0]], np.float32)
    assert columns.pack_values(values, FLOAT16) == bytes.fromhex("003c00c0")
    assert columns.pack_values(values, BFLOAT16) == bytes.fromhex("803f00c0")


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (0x3F800000, 0x3F80),  # 1 is exact.
        (0x3F808000, 0x3F80),  # Half way: to the even one, down.
        (0x3F818000, 0x3F82),  # Half way: to the even one, up.
        (0x3F808001, 0x3F81),  # Above half way: up.
        (0x3F817FFF, 0x3F81),  # Below half way: down.
        (0xBF808001, 0xBF81),  # Signs round alike.
        (0x7F7FFFFF, 0x7F80),  # The largest float32 is beyond the largest bfloat16.
        (0x7F800000, 0x7F80),  # Infinity.
        (0x7FFFFFFF, 0x7FFF),  # A NaN whose rounding would carry into the sign.
        (0x7F800001, 0x7FC0),  # A NaN whose upper half looks infinite: made quiet.
        (0x00008000, 0x0000),  # Half of the smallest subnormal: to zero, which is even.
        (0x80000000, 0x8000),  # Minus zero.
    ],
)
def test_bfloat16_rounds_to_nearest_even(bits, expected):
    value = np.array([bits], np.uint32).view(np.float32)
    assert columns.bfloat16_bits(value).tolist() == [expected]


def test_bfloat16_equals_ml_dtypes_on_random_bits():
    bits = np.random.default_rng(1).integers(0, 2**32, 100_000, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[~np.isnan(values)]
    expected = values.astype(ml_dtypes.bfloat16)
    assert (columns.bfloat16_bits(values) == expected.view(np.uint16)).all()
    assert (columns.bfloat16_to_float32(columns.bfloat16_bits(values)) == expected.astype(np.float32)).all()


@pytest.mark.parametrize("value_type", [FLOAT32, FLOAT16, BFLOAT16])
def test_values_come_back_within_the_type_s_precision(value_type):
    values = np.random.default_rng(2).standard_normal((5, 3)).astype(np.float32)
    data = columns.pack_values(values, value_type)
    stored = columns.unpack_values(data, row_count=5, dim=3, value_type=value_type)
    precision = {FLOAT32: 0.0, FLOAT16: 2.0**-11, BFLOAT16: 2.0**-8}[value_type]
    np.testing.assert_allclose(columns.to_float32(stored, value_type), values, rtol=precision)


def test_stored_bits_are_packed_as_they_are():
    bits = np.array([[0x3F80, 0x7FFF]], np.uint16)
    assert columns.pack_values(bits, BFLOAT16) == bytes.fromhex("803fff7f")


def test_unpacking_copies_nothing():
    data = columns.pack_values(np.ones((4, 2), np.float32))
    values = columns.unpack_values(data, row_count=4, dim=2)
    assert not values.flags.owndata
    assert not values.flags.writeable
    assert values.__array_interface__["data"][0] == np.frombuffer(data, np.uint8).__array_interface__["data"][0]


def test_empty_columns():
    assert columns.unpack_keys(b"").shape == (0,)
    assert columns.unpack_values(b"", row_count=0, dim=7).shape == (0, 7)
    assert columns.unpack_counts(b"", row_count=0).shape == (0,)
    assert columns.pack_values(np.zeros((0, 7), np.float32), BFLOAT16) == b""


def test_flags_and_counts():
    assert columns.pack_bytes(np.array([True, False])) == b"\x01\x00"
    assert columns.unpack_bytes(b"\x01\x03", row_count=2).tolist() == [1, 3]
    assert columns.pack_counts(np.array([1, 2**32 - 1])) == b"\x01\x00\x00\x00\xff\xff\xff\xff"
    assert columns.unpack_counts(b"\x05\x00\x00\x00", row_count=1).tolist() == [5]


@pytest.mark.parametrize(
    ("unpack", "message"),
    [
        (lambda: columns.unpack_keys(b"1234567"), "keys: expected int64, so a multiple of 8 bytes, got 7 bytes"),
        (
            lambda: columns.unpack_values(bytes(12), row_count=2, dim=2),
            "values: expected 2 x 2 float32 = 16 bytes, got 12",
        ),
        (
            lambda: columns.unpack_values(bytes(7), row_count=2, dim=2, value_type=BFLOAT16, name="gradients"),
            "gradients: expected 2 x 2 bfloat16 = 8 bytes, got 7",
        ),
        (lambda: columns.unpack_bytes(b"1", row_count=2), "status: expected 2 x uint8 = 2 bytes, got 1"),
        (lambda: columns.unpack_counts(b"1", row_count=2), "counts: expected 2 x uint32 = 8 bytes, got 1"),
        (lambda: columns.storage_dtype(9), "data type: expected one of [1, 2, 3] (float32, float16, bfloat16), got 9"),
        (lambda: columns.data_type("int8"), "data type: expected one of float32, float16, bfloat16, got 'int8'"),
    ],
)
def test_mismatch_says_what_was_expected_and_got(unpack, message):
    with pytest.raises(ColumnError) as raised:
        unpack()
    assert str(raised.value) == message


def test_unspecified_type_is_float32():
    assert columns.data_type_name(0) == "float32"
    assert columns.storage_dtype(0) == np.float32
