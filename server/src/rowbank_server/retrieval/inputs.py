"""From features to the rows and numbers that a tower takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from rowbank.errors import DimMismatch, InvalidFeature
from rowbank.manifests import TowerInput, tower_from_proto
from rowbank.tower_keys import HISTORY, Keys, Numbers, input_keys, input_numbers
from rowbank_protos.v1 import models_pb2
from rowbank_server.features import FeatureField, LayeredView
from rowbank_server.registry.sources import source_field

__all__ = ["HISTORY", "Fed", "RowReader", "TowerInputs", "gather", "resolve", "usable"]

_LARGEST = 1e15

Bools: TypeAlias = "npt.NDArray[np.bool_]"
Rows: TypeAlias = "tuple[npt.NDArray[np.float32], Bools]"


class RowReader(Protocol):
    """Reads rows of embedding tables without side effects."""

    def lookup(self, keys: Mapping[str, npt.NDArray[np.int64]]) -> Mapping[str, Rows]:
        """By table, values [N, dim] float32 and found [N] bool for keys [N] int64; rows of unseen keys are zero."""


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


@dataclass(frozen=True, slots=True)
class TowerInputs:
    """One tower's inputs, resolved once per model version.

    Attributes:
        inputs: as the manifest names them.
        entity: the join key of the view that the features come from.
        view: that view; empty if the tower needs nothing but the entity's own id.
        fields: the features of the view that are needed, by "<view>:<feature>".
    """

    inputs: tuple[TowerInput, ...]
    entity: str
    view: str
    fields: Mapping[str, FeatureField]

    @property
    def names(self) -> tuple[str, ...]:
        """The features of the view that are needed."""
        return tuple(field.name for field in self.fields.values())

    @property
    def takes(self) -> tuple[str, ...]:
        """What the tower takes, "<view>:<feature>" or the join key, each once, in the order of the inputs."""
        return tuple(dict.fromkeys(tower_input.feature for tower_input in self.inputs))

    def require_types(self, layers: LayeredView) -> None:
        """Refuses a view in which a feature was replaced by one of another type since the model was loaded.

        Raises:
            ViewNotFound, InvalidFeature: says which.
        """
        now = {field.name: field.type for field in layers.definition().fields}
        for field in self.fields.values():
            kind = now.get(field.name, field.type)
            if kind is not field.type:
                raise InvalidFeature(
                    f"view {self.view!r}: feature {field.name!r} is {kind.value} now, and the model takes "
                    f"{field.type.value}; define the view as it was, or publish a model for the present one"
                )

    def feed(self, rows: Sequence[Mapping[str, Any]]) -> Fed:
        """Makes keys and numbers of features.

        Args:
            rows: values by "<view>:<feature>" or join key, one mapping per entity. What is not there reads the view's
                default; without one it is padding, or zeros.
        """
        parts: list[Keys | Numbers] = []
        owns: list[Bools] = []
        unusable = np.zeros(len(rows), dtype=np.bool_)
        for tower_input in self.inputs:
            values = [row.get(tower_input.feature) for row in rows]
            default = self._default(tower_input)
            if tower_input.kind == "numbers":
                numbers = input_numbers(tower_input, values)
                unusable |= numbers.unusable
                own = numbers.there
                parts.append(_with_numbers(numbers, tower_input, default))
            else:
                own = np.fromiter((value is not None for value in values), np.bool_, len(values))
                filled = values if default is None else [default if value is None else value for value in values]
                parts.append(input_keys(tower_input, filled))
            owns.append(own)
        return Fed(tuple(parts), tuple(owns), unusable)

    def _default(self, tower_input: TowerInput) -> Any:
        field = self.fields.get(tower_input.feature)
        return None if field is None else field.default


def _with_numbers(numbers: Numbers, tower_input: TowerInput, default: Any) -> Numbers:
    """The numbers with the default where there are none."""
    if default is None or numbers.there.all():
        return numbers
    filling = input_numbers(tower_input, [default])
    values = np.where(numbers.there[:, None], numbers.values, filling.values)
    return Numbers(values, numbers.there | filling.there[0], numbers.unusable)


def resolve(what: str, tower: models_pb2.Tower, layers: LayeredView | None) -> TowerInputs:
    """Checks that every feature a tower needs is there and of a type that fits.

    Args:
        what: which tower of which model, for messages.
        layers: this tower's entities; None if the manifest names no view of them.
    Raises:
        ViewNotFound, InvalidFeature: what is missing.
    """
    definition = layers.definition() if layers else None
    inputs = tower_from_proto(tower).inputs
    sources = {part.feature: source_field(what, part, definition) for part in inputs}
    own = next((feature for feature, field in sources.items() if field is None), "")
    fields = {feature: field for feature, field in sources.items() if field is not None}
    entity, view = (own, "") if definition is None else (definition.entity, definition.name)
    return TowerInputs(inputs, entity, view, fields)


def gather(
    inputs: TowerInputs, fed: Fed, reader: RowReader, *, own_only: bool
) -> tuple[dict[str, npt.NDArray[np.float32]], Bools]:
    """Rows and numbers for a tower, and which entities it knows something of.

    Args:
        own_only: defaults do not make an entity known, but a number of its own does; else a key has to have a row,
            whatever it comes from, unless the tower takes nothing but numbers.
    Returns:
        Rows and numbers by input name, zeros for padding, and [B] bool: True for known entities. Of each table, each
        distinct key is read once.
    Raises:
        DimMismatch: a table was made anew with another dim.
        RequestError: what the reader raises.
    """
    rows: dict[str, npt.NDArray[np.float32]] = {}
    found = _read(inputs, fed, reader)
    known = np.zeros(len(fed.unusable), dtype=np.bool_)
    numbers_count = own_only or all(isinstance(part, Numbers) for part in fed.parts)
    for tower_input, part, own in zip(inputs.inputs, fed.parts, fed.own, strict=True):
        if isinstance(part, Numbers):
            rows[tower_input.name] = part.values
            hit = part.there & numbers_count
        else:
            values, has_row = found[tower_input.table].of(part.keys, _are_read(tower_input, part))
            rows[tower_input.name] = values
            has_row &= part.there
            hit = has_row.any(axis=1) if tower_input.length else has_row
        known |= hit & own if own_only else hit
    return rows, known


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """The rows of a table under some keys: [K] int64 ascending, [K, dim], [K] bool."""

    keys: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    found: Bools

    def of(self, keys: npt.NDArray[np.int64], read: Bools) -> Rows:
        """Of [...] keys, the rows of those that are `read`, [..., dim], zeros for others, and which have one."""
        values = np.zeros((*keys.shape, self.values.shape[1]), np.float32)
        has_row = np.zeros(keys.shape, np.bool_)
        at = np.searchsorted(self.keys, keys[read])
        values[read] = self.values[at]
        has_row[read] = self.found[at]
        return values, has_row


def _read(inputs: TowerInputs, fed: Fed, reader: RowReader) -> dict[str, _Table]:
    """Reads every table that the inputs name once."""
    wanted: dict[str, list[npt.NDArray[np.int64]]] = {}
    for tower_input, part in zip(inputs.inputs, fed.parts, strict=True):
        if isinstance(part, Keys):
            wanted.setdefault(tower_input.table, []).append(part.keys[_are_read(tower_input, part)])
    distinct = {table: np.unique(np.concatenate(keys)) for table, keys in wanted.items()}
    rows = reader.lookup(distinct) if distinct else {}
    for tower_input in inputs.inputs:
        dim = rows[tower_input.table][0].shape[1] if tower_input.table else tower_input.dim
        if dim != tower_input.dim:
            raise DimMismatch(
                f"table {tower_input.table!r} has dim {dim} now, the model was published for {tower_input.dim}; "
                "publish a model for the present table"
            )
    return {table: _Table(keys, *rows[table]) for table, keys in distinct.items()}


def _are_read(tower_input: TowerInput, part: Keys) -> Bools:
    """Which of an input's keys are read: not padding, except for versions of before this was told, which stay as they
    are."""
    return part.there if tower_input.kind else np.ones_like(part.there)


def _any(masks: Sequence[Bools], count: int) -> Bools:
    """[B] bool: where any of several masks, [B] or [B, length], is True."""
    found = np.zeros(count, dtype=np.bool_)
    for mask in masks:
        found |= mask.any(axis=1) if mask.ndim == 2 else mask
    return found


def usable(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """[B] bool: True where a tower gave numbers that can be ranked: finite, and far from overflowing a dot product."""
    ok: npt.NDArray[np.bool_] = (np.abs(vectors) <= _LARGEST).all(axis=1)  # False for NaN too.
    return ok
