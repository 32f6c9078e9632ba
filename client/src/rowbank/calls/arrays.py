"""What callers pass in, checked and brought into the wire's shape before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank import _kernels
from rowbank.errors import DimMismatch, InvalidRequest, NonFiniteGradient, RequestTooLarge
from rowbank_protos import columns

Array = npt.NDArray[Any]
Keys = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# NumPy converts float16 one by one; the CPU does eight at a time, if it has the instructions.
_CONVERTS_HALF = _kernels.converts_half()


def as_keys(keys: Any, *, limit: int) -> tuple[Keys, tuple[int, ...]]:
    """Flat contiguous int64 keys, and the shape they came in.

    Raises:
        InvalidRequest: not integers, or beyond int64.
        RequestTooLarge: more than `limit` keys.
    """
    array = np.asarray(keys)
    if array.size == 0 and not isinstance(keys, np.ndarray) and array.dtype == np.float64:
        array = array.astype(np.int64)  # An empty list has no type of its own.
    if array.dtype.kind == "O":
        raise InvalidRequest("keys: expected integers from -2**63 to 2**63 - 1, got Python objects or larger numbers")
    if array.dtype.kind not in "iu":
        raise InvalidRequest(f"keys: expected integers, got dtype {array.dtype}")
    require_int64("keys", array)
    if array.size > limit:
        raise RequestTooLarge(
            f"keys: expected at most {limit} in one call (Client's max_keys_per_call), got {array.size}; "
            "split the call",
            metadata={"limit": str(limit), "setting": "max_keys_per_call", "keys": str(array.size)},
        )
    return np.ascontiguousarray(array, dtype=np.int64).reshape(-1), array.shape


def require_int64(what: str, array: Array) -> None:
    """Raises `InvalidRequest` if an unsigned integer is 2**63 or more."""
    if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise InvalidRequest(f"{what}: expected at most 2**63 - 1 (keys are int64), got {int(array.max())}")


def as_values(what: str, values: Any, *, shape: tuple[int, ...], dim: int, table: str) -> Floats:
    """[N, dim] contiguous float32 from floating values of shape [*shape, dim].

    Raises:
        DimMismatch: the last axis is not `dim`.
        InvalidRequest: not floating, or of another shape.
        NonFiniteGradient: NaN, or infinite in float32.
    """
    array = np.asarray(values)
    if array.size == 0 and not isinstance(values, np.ndarray) and 0 in shape:
        array = np.zeros((*shape, dim), np.float32)  # An empty list has no width of its own.
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise InvalidRequest(f"{what}: expected a floating dtype, got {array.dtype}")
    expected = (*shape, dim)
    if array.ndim and array.shape[-1] != dim:
        raise DimMismatch(
            f"{what}: table {table!r} has dim {dim}, got rows of {array.shape[-1]} (shape {list(array.shape)})",
            metadata={"table": table, "expected": str(dim), "got": str(array.shape[-1])},
        )
    if array.shape != expected:
        raise InvalidRequest(f"{what}: expected shape {list(expected)} to match the keys, got {list(array.shape)}")
    with np.errstate(over="ignore"):  # What overflows float32 is infinite and reported below.
        rows = np.ascontiguousarray(array, dtype=np.float32).reshape(-1, dim)
    if not np.isfinite(rows).all():
        bad = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise NonFiniteGradient(
            f"{what}: expected finite float32, got NaN or infinity in row {bad} for table {table!r}",
            metadata={"table": table, "row": str(bad)},
        )
    return rows


def as_flags(what: str, flags: Any, *, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """[N] uint8 of 0 and 1, from bools of `shape` or one bool for all."""
    array = np.asarray(flags)
    if array.size == 0:
        array = array.astype(np.bool_)
    if array.dtype.kind != "b":
        raise InvalidRequest(f"{what}: expected bool, got dtype {array.dtype}")
    if array.shape not in ((), shape):
        raise InvalidRequest(f"{what}: expected shape {list(shape)} to match the keys, got {list(array.shape)}")
    return np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(-1).view(np.uint8)


def as_counts(counts: Any, *, shape: tuple[int, ...], name: str = "counts", low: int = 1) -> npt.NDArray[np.uint32]:
    """[N] uint32, from integers of `shape` that are at least `low`."""
    array = np.asarray(counts)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise InvalidRequest(f"{name}: expected integers, got dtype {array.dtype}")
    if array.shape != shape:
        raise InvalidRequest(f"{name}: expected shape {list(shape)} to match the keys, got {list(array.shape)}")
    if array.size and (int(array.min()) < low or int(array.max()) > np.iinfo(np.uint32).max):
        raise InvalidRequest(f"{name}: expected {low} to 2**32 - 1, got {int(array.min())} to {int(array.max())}")
    return np.ascontiguousarray(array, dtype=np.uint32).reshape(-1)


@dataclass(frozen=True, slots=True, eq=False)
class Distinct:
    """The distinct keys of a batch, and the way back.

    Attributes:
        keys: [U] int64, in the order of their first occurrence.
        inverse: [N] uint32, the place in `keys` of each key of the batch; None if none repeats.
        occurrences: [U] uint32, how often each key was given; None if none repeats.
    """

    keys: Keys
    inverse: npt.NDArray[np.uint32] | None
    occurrences: npt.NDArray[np.uint32] | None

    def spread(self, rows: Array) -> Array:
        """[U, ...] per distinct key -> [N, ...] per key of the batch; `rows` itself if none repeats."""
        if self.inverse is None:
            return rows
        if rows.ndim != 2 or rows.dtype != np.float32:
            return rows.take(self.inverse, axis=0)
        out = np.empty((len(self.inverse), rows.shape[1]), np.float32)
        _kernels.expand(np.ascontiguousarray(rows), self.inverse, out)
        return out


def distinct(keys: Keys) -> Distinct:
    """Finds the distinct keys of a contiguous batch; one without repeats is returned as it is."""
    found = np.empty_like(keys)
    inverse, occurrences = np.empty(len(keys), np.uint32), np.empty(len(keys), np.uint32)
    count = _kernels.distinct(keys, found, inverse, occurrences)
    if count == len(keys):
        return Distinct(keys, None, None)
    return Distinct(found[:count], inverse, occurrences[:count])


def sum_repeats(batch: Distinct, rows: Floats) -> Floats:
    """[N, dim] per key of the batch -> [U, dim] sums per distinct key, each added in the order given."""
    if batch.inverse is None:
        return rows
    sums = np.empty((len(batch.keys), rows.shape[1]), np.float32)
    _kernels.sum_per_key(rows, batch.inverse, sums)
    return sums


def sum_counts(batch: Distinct, counts: npt.NDArray[np.uint32] | None) -> npt.NDArray[np.uint32] | None:
    """Occurrences per distinct key; None where every one is 1."""
    if batch.inverse is None or counts is None:
        return counts if batch.inverse is None else batch.occurrences
    sums = np.zeros(len(batch.keys), np.uint64)
    np.add.at(sums, batch.inverse, counts.astype(np.uint64))
    if int(sums.max()) > np.iinfo(np.uint32).max:
        raise InvalidRequest(f"counts: expected a sum per key of at most 2**32 - 1, got {int(sums.max())}")
    return sums.astype(np.uint32)


def widen(stored: Array, wire_dtype: int) -> Floats:
    """A column of rows as they came, as aligned float32; not copied if it is that already."""
    if wire_dtype == columns.INT8:
        out = np.empty((len(stored), stored.shape[1] - columns.SCALE_BYTES), np.float32)
        _kernels.widen_int8(stored, out)
        return out
    if stored.dtype == np.float16 and _CONVERTS_HALF:
        out = np.empty(stored.shape, np.float32)
        _kernels.widen_half(np.require(stored, requirements="A"), out)
        return out
    return np.require(columns.to_float32(stored, wire_dtype), requirements="A")


def narrow(values: Floats, wire_dtype: int) -> Array:
    """Contiguous float32 values of any shape, rounded to the storage dtype of the wire; float32 is not copied."""
    if wire_dtype == columns.FLOAT16 and _CONVERTS_HALF:
        out = np.empty(values.shape, np.float16)
        _kernels.round_to_half(values, out)
        return out
    return columns.to_storage(values, wire_dtype)
