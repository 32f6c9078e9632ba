"""What callers pass in, checked and brought into the wire's shape before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.errors import DimMismatch, InvalidRequest, NonFiniteGradient, RequestTooLarge

Array = npt.NDArray[Any]
Keys = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# Keys that occur more often than this are summed in a second way; see `sum_repeats`.
_FEW_REPEATS = 32


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
    if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise InvalidRequest(f"keys: expected at most 2**63 - 1 (keys are int64), got {int(array.max())}")
    if array.size > limit:
        raise RequestTooLarge(
            f"keys: expected at most {limit} in one call (Client's max_keys_per_call), got {array.size}; "
            "split the call",
            metadata={"limit": str(limit), "setting": "max_keys_per_call", "keys": str(array.size)},
        )
    return np.ascontiguousarray(array, dtype=np.int64).reshape(-1), array.shape


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


def as_counts(counts: Any, *, shape: tuple[int, ...]) -> npt.NDArray[np.uint32]:
    """[N] uint32, from integers of `shape` that are at least 1."""
    array = np.asarray(counts)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise InvalidRequest(f"counts: expected integers, got dtype {array.dtype}")
    if array.shape != shape:
        raise InvalidRequest(f"counts: expected shape {list(shape)} to match the keys, got {list(array.shape)}")
    if array.size and (int(array.min()) < 1 or int(array.max()) > np.iinfo(np.uint32).max):
        raise InvalidRequest(f"counts: expected 1 to 2**32 - 1, got {int(array.min())} to {int(array.max())}")
    return np.ascontiguousarray(array, dtype=np.uint32).reshape(-1)


@dataclass(frozen=True, slots=True, eq=False)
class Distinct:
    """The distinct keys of a batch, and the way back.

    Attributes:
        keys: [U] int64: in the order given if none repeats, else ascending.
        order: [N] positions of the batch sorted by key, repeats in the order given; None if none repeats.
        starts: [U] where each distinct key's run starts in `order`; None if none repeats.
        size: N.
    """

    keys: Keys
    order: npt.NDArray[np.intp] | None
    starts: npt.NDArray[np.intp] | None
    size: int

    def occurrences(self) -> npt.NDArray[np.intp] | None:
        """[U] how often each key was given; None if none repeats."""
        if self.starts is None:
            return None
        return np.diff(self.starts, append=self.size)

    def spread(self, rows: Array) -> Array:
        """[U, ...] per distinct key -> [N, ...] per key of the batch."""
        if self.order is None or self.starts is None:
            return rows
        inverse = np.empty(self.size, dtype=np.intp)
        inverse[self.order] = np.repeat(np.arange(len(self.keys)), np.diff(self.starts, append=self.size))
        return rows.take(inverse, axis=0)


def distinct(keys: Keys) -> Distinct:
    """Finds the distinct keys of a batch.

    A plain sort answers whether anything repeats, at a third of the price of an argsort; the batches that layers send
    are often distinct already, and then their order is kept and nothing else is computed.
    """
    ascending = np.sort(keys)
    if not (ascending[1:] == ascending[:-1]).any():
        return Distinct(keys, None, None, len(keys))
    order = np.argsort(keys, kind="stable")
    first = np.empty(len(keys), dtype=np.bool_)
    first[0] = True
    np.not_equal(ascending[1:], ascending[:-1], out=first[1:])
    starts = np.flatnonzero(first)
    return Distinct(ascending[starts], order, starts, len(keys))


def sum_repeats(batch: Distinct, rows: Floats) -> Floats:
    """[N, dim] per key of the batch -> [U, dim] sums per distinct key.

    NumPy sums runs of rows with `np.add.reduceat`, which walks columns and costs about 30 times a copy of the rows.
    Most keys repeat a few times only: those are summed occurrence by occurrence, each round over whole rows. A hot key,
    such as padding, would need as many rounds as it has occurrences: it is summed by itself. Rows of one key are added
    in the order given.
    """
    occurrences = batch.occurrences()
    if batch.order is None or batch.starts is None or occurrences is None:
        return rows
    sums = rows.take(batch.order[batch.starts], axis=0)
    hot = occurrences > _FEW_REPEATS
    again = np.flatnonzero((occurrences > 1) & ~hot)
    nth = 1
    while len(again):
        sums[again] += rows.take(batch.order[batch.starts[again] + nth], axis=0)
        nth += 1
        again = again[occurrences[again] > nth]
    for place in np.flatnonzero(hot):
        start = batch.starts[place]
        sums[place] = rows.take(batch.order[start : start + occurrences[place]], axis=0).sum(axis=0)
    return sums


def sum_counts(batch: Distinct, counts: npt.NDArray[np.uint32] | None) -> npt.NDArray[np.uint32] | None:
    """Occurrences per distinct key; None where every one is 1."""
    if batch.order is None or batch.starts is None:
        return counts
    if counts is None:
        return np.diff(batch.starts, append=batch.size).astype(np.uint32)
    sums = np.add.reduceat(counts[batch.order].astype(np.uint64), batch.starts)
    if int(sums.max()) > np.iinfo(np.uint32).max:
        raise InvalidRequest(f"counts: expected a sum per key of at most 2**32 - 1, got {int(sums.max())}")
    return sums.astype(np.uint32)
