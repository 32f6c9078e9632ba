"""What a tower is fed with: of features, keys and numbers; of keys, rows. The same in service and in batch jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rowbank.errors import DimMismatch
from rowbank.manifests import TowerInput
from rowbank.tower_keys import Keys, Numbers, input_keys, input_numbers

_LARGEST = 1e15

Ids: TypeAlias = "npt.NDArray[np.int64]"
Bools: TypeAlias = "npt.NDArray[np.bool_]"
Vectors: TypeAlias = "npt.NDArray[np.float32]"
Rows: TypeAlias = "tuple[Vectors, Bools]"
# By table, of [N] int64 keys: values [N, dim] float32, zeros for unseen keys, and found [N] bool.
Lookup: TypeAlias = "Callable[[Mapping[str, Ids]], Mapping[str, Rows]]"


@dataclass(frozen=True, slots=True)
class Fed:
    """What the features of B entities give a tower, before rows are read.

    Attributes:
        parts: per input, keys or numbers; where an entity has no value, those of the default.
        own: per input, [B] bool: the entity has a value that can be used; False: the default counts, if there is one.
        unusable: [B] bool: a value of the entity cannot be used, such as NaN; it counts as if it were not there.
    """

    parts: tuple[Keys | Numbers, ...]
    own: tuple[Bools, ...]
    unusable: Bools

    @property
    def has_any(self) -> Bools:
        """[B] bool: True where any input has a key that is not padding, or, of numbers alone, a number."""
        keyed = [part.there for part in self.parts if isinstance(part, Keys)]
        return _any(keyed or [part.there for part in self.parts], len(self.unusable))


def feed(inputs: Sequence[TowerInput], values: Sequence[Sequence[Any]], defaults: Sequence[Any], *, count: int) -> Fed:
    """Makes keys and numbers of features.

    Args:
        values: per input, a value for each of `count` entities; None: there is none.
        defaults: per input, what counts where there is none; None: padding, or zeros.
    """
    parts: list[Keys | Numbers] = []
    owns: list[Bools] = []
    unusable = np.zeros(count, dtype=np.bool_)
    for tower_input, given, default in zip(inputs, values, defaults, strict=True):
        if tower_input.kind == "numbers":
            numbers = input_numbers(tower_input, given)
            unusable |= numbers.unusable
            own = numbers.there
            parts.append(_with_numbers(numbers, tower_input, default))
        else:
            own = np.fromiter((value is not None for value in given), np.bool_, count)
            filled = given if default is None else [default if value is None else value for value in given]
            parts.append(input_keys(tower_input, filled))
        owns.append(own)
    return Fed(tuple(parts), tuple(owns), unusable)


def _with_numbers(numbers: Numbers, tower_input: TowerInput, default: Any) -> Numbers:
    """The numbers with the default where there are none."""
    if default is None or numbers.there.all():
        return numbers
    filling = input_numbers(tower_input, [default])
    values = np.where(numbers.there[:, None], numbers.values, filling.values)
    return Numbers(values, numbers.there | filling.there[0], numbers.unusable)


def gather(
    inputs: Sequence[TowerInput], fed: Fed, lookup: Lookup, *, own_only: bool
) -> tuple[dict[str, Vectors], Bools]:
    """Rows and numbers for a tower, and which entities it knows something of.

    Args:
        lookup: reads rows without a trace; once for all tables.
        own_only: defaults do not make an entity known, but a number of its own does; else a key has to have a row,
            whatever it comes from, unless the tower takes nothing but numbers.
    Returns:
        Rows and numbers by input name, zeros for padding, and [B] bool: True for known entities. Of each table, each
        distinct key is read once.
    Raises:
        DimMismatch: a table was made anew with another dim.
        RequestError: what `lookup` raises.
    """
    rows: dict[str, Vectors] = {}
    found = _read(inputs, fed, lookup)
    known = np.zeros(len(fed.unusable), dtype=np.bool_)
    numbers_count = own_only or all(isinstance(part, Numbers) for part in fed.parts)
    for tower_input, part, own in zip(inputs, fed.parts, fed.own, strict=True):
        if isinstance(part, Numbers):
            rows[tower_input.name] = part.values
            hit = part.there & numbers_count
        else:
            values, has_row = found[tower_input.table].of(part.keys, are_read(tower_input, part))
            rows[tower_input.name] = values
            has_row &= part.there
            hit = has_row.any(axis=1) if tower_input.length else has_row
        known |= hit & own if own_only else hit
    return rows, known


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """The rows of a table under some keys: [K] int64 ascending, [K, dim], [K] bool."""

    keys: Ids
    values: Vectors
    found: Bools

    def of(self, keys: Ids, read: Bools) -> Rows:
        """Of [...] keys, the rows of those that are `read`, [..., dim], zeros for others, and which have one."""
        values = np.zeros((*keys.shape, self.values.shape[1]), np.float32)
        has_row = np.zeros(keys.shape, np.bool_)
        at = np.searchsorted(self.keys, keys[read])
        values[read] = self.values[at]
        has_row[read] = self.found[at]
        return values, has_row


def _read(inputs: Sequence[TowerInput], fed: Fed, lookup: Lookup) -> dict[str, _Table]:
    """Reads every table that the inputs name once."""
    wanted: dict[str, list[Ids]] = {}
    for tower_input, part in zip(inputs, fed.parts, strict=True):
        if isinstance(part, Keys):
            wanted.setdefault(tower_input.table, []).append(part.keys[are_read(tower_input, part)])
    distinct = {table: np.unique(np.concatenate(keys)) for table, keys in wanted.items()}
    rows = lookup(distinct) if distinct else {}
    for tower_input in inputs:
        dim = rows[tower_input.table][0].shape[1] if tower_input.table else tower_input.dim
        if dim != tower_input.dim:
            raise DimMismatch(
                f"table {tower_input.table!r} has dim {dim} now, the model was published for {tower_input.dim}; "
                "publish a model for the present table"
            )
    return {table: _Table(keys, *rows[table]) for table, keys in distinct.items()}


def are_read(tower_input: TowerInput, part: Keys) -> Bools:
    """Which of an input's keys are read: not padding, except for versions of before this was told, which stay as they
    are."""
    return part.there if tower_input.kind else np.ones_like(part.there)


def _any(masks: Sequence[Bools], count: int) -> Bools:
    """[B] bool: where any of several masks, [B] or [B, length], is True."""
    found = np.zeros(count, dtype=np.bool_)
    for mask in masks:
        found |= mask.any(axis=1) if mask.ndim == 2 else mask
    return found


def usable(vectors: Vectors) -> Bools:
    """[B] bool: True where a tower gave numbers that can be ranked: finite, and far from overflowing a dot product."""
    ok: Bools = (np.abs(vectors) <= _LARGEST).all(axis=1)  # False for NaN too.
    return ok
