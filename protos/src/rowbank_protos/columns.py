"""Packs arrays into the byte columns of the wire, and unpacks them: one pair of functions for both ends.

A column is little-endian, row-major and unpadded. Packing copies once, into the `bytes` that protobuf asks for.
Unpacking copies nothing: it returns read-only views. NumPy has no bfloat16, so such a column is seen as the uint16
that holds its bits.

Every function raises `ColumnError` when bytes and shape do not belong together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank_protos.v1 import common_pb2

FLOAT32 = common_pb2.DATA_TYPE_FLOAT32
FLOAT16 = common_pb2.DATA_TYPE_FLOAT16
BFLOAT16 = common_pb2.DATA_TYPE_BFLOAT16
INT8 = common_pb2.DATA_TYPE_INT8

Array = npt.NDArray[Any]
Buffer = bytes | bytearray | memoryview

_NAMES = {"float32": FLOAT32, "float16": FLOAT16, "bfloat16": BFLOAT16}
_READ_NAMES = _NAMES | {"int8": INT8}
SCALE_BYTES = 4  # In front of each row of int8.
_STORAGE: dict[int, np.dtype[Any]] = {FLOAT32: np.dtype("<f4"), FLOAT16: np.dtype("<f2"), BFLOAT16: np.dtype("<u2")}


class ColumnError(ValueError):
    """Bytes, shape and data type of a column do not belong together."""


def data_type(name: str) -> common_pb2.DataType:
    """The `DataType` called "float32", "float16" or "bfloat16"."""
    if name not in _NAMES:
        raise ColumnError(f"data type: expected one of {', '.join(_NAMES)}, got {name!r}")
    return _NAMES[name]


def data_type_name(value: int) -> str:
    """The name of a `DataType`; unspecified is "float32", as the wire says."""
    for name, number in _NAMES.items():
        if value in (number, common_pb2.DATA_TYPE_UNSPECIFIED):
            return name
    raise ColumnError(f"data type: expected one of {sorted(_STORAGE)} ({', '.join(_NAMES)}), got {value}")


def read_type(name: str) -> common_pb2.DataType:
    """The `DataType` of a read called "float32", "float16", "bfloat16" or "int8"."""
    if name not in _READ_NAMES:
        raise ColumnError(f"data type: expected one of {', '.join(_READ_NAMES)}, got {name!r}")
    return _READ_NAMES[name]


def read_layout(value: int, dim: int) -> tuple[np.dtype[Any], int]:
    """The NumPy dtype that holds rows that were read as `value`, and how many of it a row has.

    As `storage_dtype`, and `dim`; of int8 rows bytes: 4 of the scale, a float32, and `dim` of int8.
    """
    if value == INT8:
        return np.dtype(np.uint8), SCALE_BYTES + dim
    if value not in (common_pb2.DATA_TYPE_UNSPECIFIED, *_STORAGE):
        known = ", ".join(_READ_NAMES)
        raise ColumnError(f"data type: expected one of {sorted(_READ_NAMES.values())} ({known}), got {value}")
    return storage_dtype(value), dim


def storage_dtype(value: int) -> np.dtype[Any]:
    """The NumPy dtype that holds a column of `value`: float32, float16, or uint16 for the bits of bfloat16."""
    return _STORAGE[_NAMES[data_type_name(value)]]


def bfloat16_bits(values: Array) -> npt.NDArray[np.uint16]:
    """Rounds float32 of any shape to bfloat16, to nearest and ties to even; returns the bits as uint16.

    A NaN stays a NaN (made quiet); what is beyond the largest bfloat16 becomes infinite.
    """
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    # Half of the last kept place, or one less when that place is even: adding it carries exactly when we must round up.
    half = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    rounded = ((bits + half) >> np.uint32(16)).astype(np.uint16)
    nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    if nan.any():  # The addition above could carry a NaN into an infinity or a zero.
        rounded[nan] = ((bits[nan] >> np.uint32(16)) | np.uint32(0x40)).astype(np.uint16)
    return rounded


def bfloat16_to_float32(bits: Array) -> npt.NDArray[np.float32]:
    """Widens bfloat16 bits (uint16, any shape) to float32, exactly."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def int8_to_float32(rows: Array) -> npt.NDArray[np.float32]:
    """Rows [N, 4 + dim] uint8 as they were read as int8 -> [N, dim] float32, each int8 times its row's scale."""
    scales = np.ascontiguousarray(rows[:, :SCALE_BYTES]).view("<f4")
    with np.errstate(invalid="ignore"):
        widened: npt.NDArray[np.float32] = rows[:, SCALE_BYTES:].view(np.int8).astype(np.float32) * scales
    return widened


def to_storage(values: Array, value_type: int) -> Array:
    """Rounds float32 `values` (any shape) to the storage dtype of `value_type`; float32 itself is not copied."""
    storage = storage_dtype(value_type)
    if storage == np.dtype("<u2"):
        return bfloat16_bits(values)
    if storage == np.dtype("<f2"):
        with np.errstate(over="ignore"):
            return values.astype(storage)
    return values.astype(storage, copy=False)


def to_float32(stored: Array, value_type: int) -> npt.NDArray[np.float32]:
    """Widens an array of the storage dtype of `value_type` to float32; float32 itself is not copied."""
    if value_type == INT8:
        return int8_to_float32(stored)
    if storage_dtype(value_type) == np.dtype("<u2"):
        return bfloat16_to_float32(stored)
    return stored.astype(np.float32, copy=False)


def pack_keys(keys: Array) -> bytes:
    """[N] int64 as 8 N bytes."""
    return keys.astype("<i8", copy=False).tobytes()


def unpack_keys(data: Buffer, *, name: str = "keys") -> npt.NDArray[np.int64]:
    """[N] int64, a read-only view of `data`; `name` is the column's name in an error."""
    if len(data) % 8:
        raise ColumnError(f"{name}: expected int64, so a multiple of 8 bytes, got {len(data)} bytes")
    return np.frombuffer(data, dtype="<i8")


def pack_values(values: Array, value_type: int = FLOAT32) -> bytes:
    """[N, dim] float32 as bytes of `value_type`, rounded to nearest even where that is narrower.

    An array that has the storage dtype already (float16, or uint16 for bfloat16 bits) is taken as it is.
    """
    if values.dtype == storage_dtype(value_type):
        return values.tobytes()
    return to_storage(values, value_type).tobytes()


def unpack_values(data: Buffer, *, row_count: int, dim: int, value_type: int = FLOAT32, name: str = "values") -> Array:
    """[row_count, dim] of the storage dtype of `value_type`, a read-only view of `data`; see `to_float32`."""
    storage = storage_dtype(value_type)
    expected = row_count * dim * storage.itemsize
    if len(data) != expected:
        raise ColumnError(
            f"{name}: expected {row_count} x {dim} {data_type_name(value_type)} = {expected} bytes, got {len(data)}"
        )
    return np.frombuffer(data, dtype=storage).reshape(row_count, dim)


def unpack_read(data: Buffer, *, row_count: int, dim: int, value_type: int, name: str = "values") -> Array:
    """[row_count, ...] rows that were read as `value_type`, a read-only view of `data`; see `read_layout`."""
    dtype, width = read_layout(value_type, dim)
    if dtype != np.uint8:
        return unpack_values(data, row_count=row_count, dim=dim, value_type=value_type, name=name)
    if len(data) != row_count * width:
        raise ColumnError(f"{name}: expected {row_count} x (4 + {dim}) bytes of int8 rows, got {len(data)} bytes")
    return np.frombuffer(data, dtype=dtype).reshape(row_count, width)


def pack_bytes(flags: Array) -> bytes:
    """[N] bool or uint8 as N bytes."""
    return flags.astype(np.uint8, copy=False).tobytes()


def unpack_bytes(data: Buffer, *, row_count: int, name: str = "status") -> npt.NDArray[np.uint8]:
    """[row_count] uint8 (a status or a flag per row), a read-only view of `data`."""
    if len(data) != row_count:
        raise ColumnError(f"{name}: expected {row_count} x uint8 = {row_count} bytes, got {len(data)}")
    return np.frombuffer(data, dtype=np.uint8)


def pack_counts(counts: Array) -> bytes:
    """[N] uint32 as 4 N bytes."""
    return counts.astype("<u4", copy=False).tobytes()


def unpack_counts(data: Buffer, *, row_count: int, name: str = "counts") -> npt.NDArray[np.uint32]:
    """[row_count] uint32, a read-only view of `data`."""
    if len(data) != row_count * 4:
        raise ColumnError(f"{name}: expected {row_count} x uint32 = {row_count * 4} bytes, got {len(data)}")
    return np.frombuffer(data, dtype="<u4")
