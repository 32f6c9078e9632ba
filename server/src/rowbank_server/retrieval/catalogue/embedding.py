"""Items through the candidate tower: their vectors, and why some cannot be searched."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rowbank.tower_feeding import Fed, gather, usable
from rowbank_server.registry.model import Model
from rowbank_server.retrieval.catalogue.concerns import MovedRows, concerned
from rowbank_server.retrieval.catalogue.reading import BATCH, Stored, read_items
from rowbank_server.retrieval.columns import python_values
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.rows import RowReader
from rowbank_server.retrieval.segments import Items, Standing, joined_items

_TOWER_BATCH = 4096  # Items that go through the candidate tower at once.

F32 = npt.NDArray[np.float32]
Pause: TypeAlias = "Callable[[float], None]"


def no_pause(took_s: float) -> None:
    """For who is in a hurry."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Vectors that need not be made again: of items whose inputs are what they were.

    Attributes:
        served: where they are; its vectors are what the version's rows give, as long as those do not change.
    """

    served: Generation

    def of(self, stored: Stored) -> tuple[F32, npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Vectors [N, vector_dim], standings [N], and [N] bool: for which items they count."""
        positions = self.served.positions_or_none(stored.ids)
        here = np.flatnonzero(positions >= 0)
        here = here[self.served.inputs_at(positions[here]) == stored.inputs[here]]
        standing = np.full(len(stored.ids), Standing.ROWS_LOST, np.uint8)
        standing[here] = self.served.standings_at(positions[here])
        vectors = np.zeros((len(stored.ids), self.served.model.manifest.vector_dim), np.float32)
        vectors[here] = self.served.vectors_at(positions[here])
        return vectors, standing, standing != Standing.ROWS_LOST


def embed_items(model: Model, ids: npt.NDArray[np.int64], rows: RowReader | None, known: Known | None = None) -> Items:
    """Reads items' features and rows and runs the candidate tower over them.

    Args:
        ids: [N] int64, ascending. Those that are not there any more are left out; items whose features are too old
            take part with defaults.
        rows: None: rows are not to be had, and every item stands as `ROWS_LOST`.
        known: vectors that count instead.
    """
    starts = range(0, len(ids), BATCH) or [0]
    return joined_items([embed(model, read_items(model, ids[at : at + BATCH]), rows, known) for at in starts])


def embed(model: Model, stored: Stored, rows: RowReader | None, known: Known | None = None) -> Items:
    """Vectors for items that were read; arguments as of `embed_items`."""
    count = len(stored.ids)
    vectors = np.zeros((count, model.manifest.vector_dim), np.float32)
    standing = np.full(count, Standing.ROWS_LOST, np.uint8)
    missing = np.arange(count)
    if known is not None:
        vectors, standing, is_known = known.of(stored)
        missing = np.flatnonzero(~is_known)
    if rows is not None:
        for start in range(0, len(missing), _TOWER_BATCH):
            places = missing[start : start + _TOWER_BATCH]
            vectors[places], standing[places] = _run(model, stored, places, rows)
    return Items(
        stored.ids,
        stored.titles,
        stored.texts,
        vectors,
        standing,
        stored.columns,
        stored.content,
        stored.inputs,
        stored.fields,
    )


def embed_anew(model: Model, items: Items, rows: RowReader, moved: MovedRows, pause: Pause = no_pause) -> Items:
    """Those of `items` that read a row which may have moved, as they are, with vectors of the rows as they are now.

    Args:
        pause: called after each batch with the seconds that it took.
    """
    found = []
    for start in range(0, len(items.ids), _TOWER_BATCH):
        began_at = time.monotonic()
        batch = items.take(np.arange(start, min(start + _TOWER_BATCH, len(items.ids))))
        every = np.arange(len(batch.ids))
        places = np.flatnonzero(concerned(model.candidate_inputs, _feed(model, batch, every), moved))
        if len(places):
            found.append(with_vectors_anew(model, batch.take(places), rows))
        pause(time.monotonic() - began_at)
    return joined_items(found) if found else items.take(np.arange(0))


def with_vectors_anew(model: Model, items: Items, rows: RowReader) -> Items:
    """Items as they are, with vectors of the rows as they are now."""
    vectors = np.zeros((len(items.ids), model.manifest.vector_dim), np.float32)
    standing = np.full(len(items.ids), Standing.ROWS_LOST, np.uint8)
    for start in range(0, len(items.ids), _TOWER_BATCH):
        places = np.arange(start, min(start + _TOWER_BATCH, len(items.ids)))
        vectors[places], standing[places] = _run(model, items, places, rows)
    return dataclasses.replace(items, vectors=vectors, standing=standing)


def _feed(model: Model, stored: Stored | Items, places: npt.NDArray[np.int64]) -> Fed:
    """What some items give the candidate tower."""
    inputs = model.candidate_inputs
    values = {inputs.entity: stored.ids[places].tolist()}
    for feature, field in inputs.fields.items():
        if field.name in stored.columns:
            values[feature] = python_values(stored.columns[field.name].take(places))
    return inputs.feed_columns(values, count=len(places))


def _run(
    model: Model, stored: Stored | Items, places: npt.NDArray[np.int64], rows: RowReader
) -> tuple[F32, npt.NDArray[np.uint8]]:
    """Vectors [B, vector_dim] and standings [B] of some items."""
    inputs, count = model.candidate_inputs, len(places)
    fed = _feed(model, stored, places)
    fed_rows, known = gather(inputs.inputs, fed, rows.lookup, own_only=False)
    vectors = model.candidate.run(fed_rows)
    sound = usable(vectors)
    standing = np.full(count, Standing.INDEXED, dtype=np.uint8)
    standing[~sound] = Standing.NO_VECTOR
    standing[~known] = Standing.NO_ROWS
    standing[~fed.has_any] = Standing.NO_KEYS
    standing[fed.unusable] = Standing.UNUSABLE
    return np.where((standing == Standing.INDEXED)[:, None], vectors, np.float32(0)), standing


def with_vectors_of(items: Items, served: Generation) -> Items:
    """`items` with the vectors and standings that they have in `served`; what is new there keeps its own. Vectors of
    other inputs than an item has now are marked by a number for the inputs that is none of theirs."""
    positions = served.positions_or_none(items.ids)
    here = np.flatnonzero(positions >= 0)
    vectors, standing = items.vectors.copy(), items.standing.copy()
    vectors[here] = served.vectors_at(positions[here])
    standing[here] = served.standings_at(positions[here])
    inputs = items.inputs.copy()
    inputs[here] = np.where(served.inputs_at(positions[here]) == inputs[here], inputs[here], ~inputs[here])
    return dataclasses.replace(items, vectors=vectors, standing=standing, inputs=inputs)
