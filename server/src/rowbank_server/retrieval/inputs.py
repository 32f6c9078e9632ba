"""From features to the rows that a tower takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rowbank.errors import DimMismatch, InvalidFeature
from rowbank_protos.v1 import models_pb2
from rowbank_server.features import LayeredView

HISTORY = "history"
_LARGEST = 1e15


class RowReader(Protocol):
    """Reads rows of embedding tables without side effects."""

    def lookup(self, table: str, keys: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Values [N, dim] float32 and found [N] bool for keys [N] int64; rows of unseen keys are zero."""


@dataclass(frozen=True, slots=True)
class TowerInputs:
    """One tower's inputs, resolved once per model version.

    Attributes:
        inputs: as the manifest names them.
        entity: the join key of the view that the features come from.
        view: that view; empty if the tower needs nothing but the entity's own id.
        names: the features of the view that are needed.
    """

    inputs: tuple[models_pb2.TowerInput, ...]
    entity: str
    view: str
    names: tuple[str, ...]

    def keys(self, rows: Sequence[Mapping[str, Any]]) -> list[npt.NDArray[np.int64]]:
        """Per input, the keys of each row of features: [B] or [B, length] int64.

        Args:
            rows: values by "<view>:<feature>" or join key, one mapping per entity.
        """
        return [_keys(tower_input, [row[tower_input.feature] for row in rows]) for tower_input in self.inputs]


def resolve(tower: models_pb2.Tower, layers: LayeredView | None) -> TowerInputs:
    """Checks that every feature a tower needs is there and of a type that holds keys.

    Args:
        layers: this tower's entities; None if the manifest names no view of them.
    Raises:
        ViewNotFound, InvalidFeature: what is missing.
    """
    view, definition = (layers.base, layers.definition()) if layers else ("", None)
    entity, names = "", []
    for tower_input in tower.inputs:
        source, _, feature = tower_input.feature.partition(":")
        if not feature:
            if definition is not None and source != definition.entity:
                raise InvalidFeature(
                    f"tower input {tower_input.name!r} takes {source!r}, but view {view!r} is of {definition.entity!r}"
                )
            entity = source
            continue
        if definition is None or source != view:
            raise InvalidFeature(
                f"tower input {tower_input.name!r} takes {tower_input.feature!r}, "
                f"but this tower's view is {view or 'none'!r}"
            )
        kind = definition.field(feature).type.value
        if kind != ("int64_list" if tower_input.length else "int64"):
            raise InvalidFeature(f"tower input {tower_input.name!r}: {tower_input.feature!r} is a {kind}, not keys")
        names.append(feature)
    if definition is not None:
        entity = definition.entity
    return TowerInputs(tuple(tower.inputs), entity, view, tuple(names))


def _keys(tower_input: models_pb2.TowerInput, values: list[Any]) -> npt.NDArray[np.int64]:
    if not tower_input.length:
        return np.asarray(values, dtype=np.int64).reshape(len(values))
    keys = np.full((len(values), tower_input.length), tower_input.pad_key, dtype=np.int64)
    # What users met grows at its end; of other lists, such as the words of a title, the first ones count.
    newest = tower_input.feature.rpartition(":")[2] == HISTORY
    for row, listed in enumerate(values):
        cut = listed[-tower_input.length :] if newest else listed[: tower_input.length]
        keys[row, : len(cut)] = cut
    return keys


def gather(
    inputs: TowerInputs, keys: Sequence[npt.NDArray[np.int64]], reader: RowReader
) -> tuple[dict[str, npt.NDArray[np.float32]], npt.NDArray[np.bool_]]:
    """Rows for a tower and which entities the tables know.

    Args:
        keys: per input [B] or [B, length], as `TowerInputs.keys` gives them.
    Returns:
        Rows by input name, and [B] bool: True where any key that is not padding has a row. Each distinct key is read
        once.
    Raises:
        DimMismatch: a table was made anew with another dim.
        RequestError: what the reader raises.
    """
    rows: dict[str, npt.NDArray[np.float32]] = {}
    known = np.zeros(len(keys[0]), dtype=np.bool_)
    for tower_input, wanted in zip(inputs.inputs, keys, strict=True):
        distinct, inverse = np.unique(wanted, return_inverse=True)
        values, found = reader.lookup(tower_input.table, distinct)
        if values.shape[1] != tower_input.dim:
            raise DimMismatch(
                f"table {tower_input.table!r} has dim {values.shape[1]} now, the model was published for "
                f"{tower_input.dim}; publish a model for the present table"
            )
        rows[tower_input.name] = values[inverse].reshape(*wanted.shape, tower_input.dim)
        hit = found[inverse].reshape(wanted.shape)
        if tower_input.length:
            hit = np.any(hit & (wanted != tower_input.pad_key), axis=1)
        known |= hit
    return rows, known


def usable(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """[B] bool: True where a tower gave numbers that can be ranked: finite, and far from overflowing a dot product."""
    ok: npt.NDArray[np.bool_] = (np.abs(vectors) <= _LARGEST).all(axis=1)  # False for NaN too.
    return ok
