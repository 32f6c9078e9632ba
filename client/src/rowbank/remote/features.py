"""Features of a batch as flat ids and the static arrays by which a compiled step finds, weighs and combines rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.calls import arrays
from rowbank.remote.configs import FeatureConfig

Array = npt.NDArray[Any]
Keys = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Ragged:
    """Examples of different numbers of ids (or weights).

    Attributes:
        values: [N], all examples one after the other.
        row_splits: [examples + 1], where each example starts and ends in `values`.
    """

    values: Any
    row_splits: Any


@dataclass(frozen=True, eq=False)
class Sparse:
    """Ids (or weights) at places of a dense shape.

    Attributes:
        indices: [N, rank], in row-major order.
        values: [N].
        dense_shape: [rank].
    """

    indices: Any
    values: Any
    dense_shape: Any


@dataclass(frozen=True, eq=False)
class Parsed:
    """One feature of one batch.

    Attributes:
        ids: [N] int64, of the places that count.
        arrays: what the compiled step is given besides "row", the rows' places: nothing for a dense feature;
            "weight" [examples, length], 0 for padding, for a sequence; "example" and "weight" [max_ids] and "divisor"
            [examples] for a combined one.
        shape: of "row".
        places: where in "row", flat, the ids belong; None: one after the other from the start.
    """

    ids: Keys
    arrays: Mapping[str, Array]
    shape: tuple[int, ...]
    places: npt.NDArray[np.int64] | None = None

    def rows(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """[N] places of rows, one an id, as the compiled step's array; padding finds row 0, weighted 0."""
        if self.places is None and len(rows) == int(np.prod(self.shape)):
            return rows.reshape(self.shape)
        out = np.zeros(self.shape, np.int32)
        out.reshape(-1)[slice(0, len(rows)) if self.places is None else self.places] = rows
        return out


@dataclass(slots=True)
class StaticSize:
    """A size that is fixed, or the smallest power of two that was enough so far, so that compiled steps are few."""

    what: str
    fixed: int | None
    _grown: int = field(default=1)

    def for_count(self, count: int) -> int:
        """The size that holds `count`. Raises `ValueError` if it is fixed and smaller."""
        if self.fixed is not None:
            if count > self.fixed:
                raise ValueError(f"{self.what}: expected at most {self.fixed} in a batch, got {count}; raise the limit")
            return self.fixed
        self._grown = max(self._grown, 1 << max(0, count - 1).bit_length())
        return self._grown


def parse(name: str, config: FeatureConfig, ids: Any, weights: Any, size: StaticSize) -> Parsed:
    """Reads one feature.

    Args:
        name: of the feature, for errors.
        ids: integers: dense, `Ragged`, `Sparse`, or a framework's object with the same attributes.
        weights: None, or floats of the same form as ragged or sparse ids.
        size: of the arrays of a combined feature.
    Raises:
        InvalidRequest: an unsigned id is 2**63 or more.
        ValueError, TypeError: the input does not fit the configuration; the message names the feature.
    """
    ragged, sparse = hasattr(ids, "row_splits"), hasattr(ids, "dense_shape")
    if not (ragged or sparse):
        return _dense(name, config, ids, weights)
    flat = _integers(name, ids.values)
    if ragged:
        splits = np.asarray(ids.row_splits, np.int64)
        if flat.ndim != 1 or hasattr(ids.values, "row_splits"):
            raise ValueError(f"feature {name!r}: expected ragged ids of rank 2, got values of shape {flat.shape}")
        lengths = np.diff(splits)
        example = np.repeat(np.arange(len(lengths)), lengths)
        position = np.arange(len(flat)) - np.repeat(splits[:-1], lengths)
        leading: tuple[int, ...] = (len(lengths),)
    else:
        indices = np.asarray(ids.indices, np.int64)
        dense_shape = tuple(int(length) for length in np.asarray(ids.dense_shape))
        if len(dense_shape) < 2:
            raise ValueError(f"feature {name!r}: expected sparse ids of rank 2 or more, got shape {dense_shape}")
        leading = dense_shape[:-1]
        example, position = np.ravel_multi_index(tuple(indices[:, :-1].T), leading), indices[:, -1]
    weight = _weights(name, ids, weights, flat.shape)
    if config.validate_weights_and_indices:
        kept = flat >= 0
        if weight is not None and config.table.combiner != "sum":
            kept &= weight > 0
        flat, example, position = flat[kept], example[kept], position[kept]
        weight = None if weight is None else weight[kept]
    length, shape = _layout(name, config, leading, ragged=ragged)
    if length:
        if weight is not None:
            raise ValueError(f"feature {name!r}: a sequence takes no weights")
        return _sequence(flat, example, position, shape=shape, length=length)
    return _combined(config.table.combiner, flat, example, weight, shape=shape, size=size.for_count(len(flat)))


def _dense(name: str, config: FeatureConfig, ids: Any, weights: Any) -> Parsed:
    flat = _integers(name, ids)
    if weights is not None:
        raise ValueError(f"feature {name!r}: dense ids take no weights; make them ragged or sparse")
    if config.max_sequence_length > 0:
        raise ValueError(f"feature {name!r}: a sequence is ragged or sparse, got dense ids of shape {flat.shape}")
    if config.output_shape is not None:
        expected = _settled(config.output_shape, flat.shape[0] if flat.ndim else 1)
        if flat.shape != expected:
            raise ValueError(f"feature {name!r}: expected ids of output_shape {expected}, got {flat.shape}")
    return Parsed(flat.reshape(-1), {}, flat.shape)


def _layout(name: str, config: FeatureConfig, leading: tuple[int, ...], *, ragged: bool) -> tuple[int, tuple[int, ...]]:
    """Length of a sequence, 0 for a combined feature, and the shape of its activation without the last axis."""
    if config.output_shape is None:
        length = config.max_sequence_length if len(leading) == 1 else 0
        return length, (*leading, length) if length else leading
    examples = int(np.prod(leading))
    shape = _settled(config.output_shape, leading[0])
    places = int(np.prod(shape))
    if ragged and places > examples > 0 and places % examples == 0:
        return places // examples, shape
    if places != examples or (not ragged and shape != leading):
        raise ValueError(f"feature {name!r}: output_shape {shape} does not fit examples of shape {leading}")
    return 0, shape


def _sequence(flat: Keys, example: Array, position: Array, *, shape: tuple[int, ...], length: int) -> Parsed:
    kept = position < length
    places = example[kept] * length + position[kept]
    weight = np.zeros(shape, np.float32)
    weight.reshape(-1)[places] = 1.0
    return Parsed(flat[kept], {"weight": weight}, shape, places)


def _combined(
    combiner: str, flat: Keys, example: Array, weight: Floats | None, *, shape: tuple[int, ...], size: int
) -> Parsed:
    examples = int(np.prod(shape))
    given = np.ones(len(flat), np.float32) if weight is None else weight
    columns: dict[str, Array] = {"example": np.zeros(size, np.int32), "weight": np.zeros(size, np.float32)}
    columns["example"][: len(flat)] = example
    columns["weight"][: len(flat)] = given
    divisor = np.ones(examples, np.float32)
    if combiner != "sum":
        squared = given * given if combiner == "sqrtn" else given
        divisor = np.bincount(example, squared, examples).astype(np.float32)
        divisor = np.sqrt(divisor) if combiner == "sqrtn" else divisor
        divisor[divisor == 0] = np.inf  # An example without weight is zero.
    columns["divisor"] = divisor.reshape(shape)
    return Parsed(flat, columns, (size,))


def _settled(shape: Any, examples: int) -> tuple[int, ...]:
    return tuple(examples if size is None else size for size in shape)


def _integers(name: str, ids: Any) -> Keys:
    array = np.asarray(ids)
    if array.size == 0 and array.dtype == np.float64:
        array = array.astype(np.int64)  # An empty list has no type of its own.
    if array.dtype.kind not in "iu":
        raise TypeError(f"feature {name!r}: expected integer ids, got {array.dtype}; turn strings into int64 first")
    arrays.require_int64(f"feature {name!r}", array)
    return np.ascontiguousarray(array, dtype=np.int64).reshape(array.shape)


def _weights(name: str, ids: Any, weights: Any, shape: tuple[int, ...]) -> Floats | None:
    if weights is None:
        return None
    if hasattr(weights, "row_splits") != hasattr(ids, "row_splits") or not hasattr(weights, "values"):
        raise ValueError(
            f"feature {name!r}: expected weights of the same form as the ids, got {type(weights).__name__}"
        )
    values = np.asarray(weights.values, np.float32)
    for part in ("row_splits", "indices"):
        if hasattr(ids, part) and not np.array_equal(
            np.asarray(getattr(weights, part)), np.asarray(getattr(ids, part))
        ):
            raise ValueError(f"feature {name!r}: ids and weights differ in {part}")
    if values.shape != shape or not np.isfinite(values).all():
        raise ValueError(f"feature {name!r}: expected {shape} finite weights, got {values.shape}")
    return values
