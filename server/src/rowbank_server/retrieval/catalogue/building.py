"""What a follower does beside its thread: builds a whole catalogue, or finds what differs from the one in service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank.errors import NotReady
from rowbank_protos.v1 import models_pb2
from rowbank_server.registry.model import Model
from rowbank_server.retrieval import generation as gen
from rowbank_server.retrieval.catalogue.concerns import MovedRows
from rowbank_server.retrieval.catalogue.embedding import (
    Known,
    Pause,
    embed_anew,
    embed_items,
    with_vectors_anew,
    with_vectors_of,
)
from rowbank_server.retrieval.catalogue.growth import MakeIndex, Stock
from rowbank_server.retrieval.catalogue.reading import BATCH, Stored, read_items
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.index import ExactIndex, Index
from rowbank_server.retrieval.lineage import Lineage, Loss, describe
from rowbank_server.retrieval.parts import Counts
from rowbank_server.retrieval.rows import RowReader
from rowbank_server.retrieval.segments import Items, Segment, Standing, with_items

# With so many differing items, and so large a part of all, the catalogue is built anew instead of being patched.
_MANY, _MUCH = 20_000, 0.2
_FEW = 512  # Items that fit into a fresh part.

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A new base, of all that is there."""

    segment: Segment
    counts: Counts
    lost: Mapping[str, Loss]


@dataclass(frozen=True, slots=True, eq=False)
class Differences:
    """What is not served as it is stored: [N] ids of items that changed, came or went, and those that are there."""

    touched: I64
    changed: Items
    counts: Counts
    lost: Mapping[str, Loss]


@dataclass(frozen=True, slots=True, eq=False)
class Swept:
    """Vectors anew of items whose rows may have moved: of all that were served, or of some of them.

    Attributes:
        segment: a new base, if most of the vectors are others now.
        items: the items, if it is not.
        lost: tables that are lost; if the tower reads one, nothing was done.
    """

    segment: Segment | None
    items: Items | None
    lost: Mapping[str, Loss]


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """A new base, of the parts of a stock."""

    segment: Segment
    before: Stock


class Builder:
    """Reads items, embeds them and makes segments. Thread-safe.

    Args:
        rows: reads rows; nobody waits for an answer.
        make_index: over a base.
        max_popularity_users: users whose histories are counted.
    """

    def __init__(
        self, model: Model, rows: RowReader, lineage: Lineage, make_index: MakeIndex, max_popularity_users: int
    ) -> None:
        self.model = model
        self.make_index = ExactIndex  # Of small parts.
        self._make_base_index = make_index
        self._rows = rows
        self._lineage = lineage
        self._max_popularity_users = max_popularity_users

    @property
    def is_frozen(self) -> bool:
        """Whether an item's vector is a function of its features alone, as the rows never change."""
        return self.model.manifest.rows == models_pb2.ROWS_MODE_FROZEN

    def lost(self) -> Mapping[str, Loss]:
        """The version's tables whose rows are not its own any more."""
        return self._lineage.lost(self.model.manifest)

    def embed(
        self, ids: I64, served: Generation | None, *, with_lost_tables: bool = True
    ) -> tuple[Items, Mapping[str, Loss]]:
        """Items with vectors of the version's own rows, and its tables that are lost.

        Whether they are lost is asked before rows are read and after, so that no row that came meanwhile is taken. If
        they are, items keep the vectors that they have in `served`.

        Raises:
            NotReady: tables are lost, nothing is served, and that is not better than nothing.
        """
        lost = self.lost()
        known = Known(served) if served is not None and self.is_frozen else None
        if not gen.reads(self.model.candidate_inputs, lost):
            items = embed_items(self.model, ids, self._rows, known)
            lost = self.lost()
            if not gen.reads(self.model.candidate_inputs, lost):
                return items, lost
        if served is not None:
            return with_vectors_of(embed_items(self.model, ids, None), served), lost
        if not with_lost_tables:
            raise NotReady(describe(self.model.manifest, lost))
        return embed_items(self.model, ids, None), lost  # Better what is popular than nothing.

    def build(self, served: Generation | None, base: Segment | None, *, with_lost_tables: bool = True) -> Built:
        """Everything anew; what of `base` is as it was is used again."""
        items, lost = self.embed(self.model.items.entities(), served, with_lost_tables=with_lost_tables)
        counts = self.count()
        is_same = (
            base is not None
            and np.array_equal(items.ids, base.ids)
            and np.array_equal(items.vectors, base.index.vectors)
        )
        index = base.index if base is not None and is_same else self._index(items)
        return Built(Segment.of(items, index), counts, lost)

    def refresh(self, served: Generation, stock: Stock) -> Built | Differences:
        """Looks at all that is stored: what differs from `served`, or, if much differs, everything."""
        if has_other_columns(self.model, stock.base.segment):
            return self.build(served, stock.base.segment)
        lost = self.lost()
        rows_are_lost = gen.reads(self.model.candidate_inputs, lost)
        ids = self.model.items.entities()
        there, changed, total = [], [], 0
        for start in range(0, len(ids), BATCH):
            stored = read_items(self.model, ids[start : start + BATCH])
            there.append(stored.ids)
            places = _differing(stored, served, rows_are_lost=rows_are_lost)
            total += len(places)
            if total > max(_MANY, _MUCH * served.item_count):
                return self.build(served, stock.base.segment)
            if len(places):
                changed.append(stored.ids[places])
        gone = np.setdiff1d(served.all_ids(), np.concatenate([np.empty(0, np.int64), *there]))
        different = np.concatenate([np.empty(0, np.int64), *changed])
        items, lost = self.embed(different, served)
        return Differences(np.union1d(gone, different), items, self.count(), lost)

    def embed_again(self, ids: I64, stock: Stock) -> tuple[Items, Mapping[str, Loss]]:
        """Those of some items, ascending, that a stock has, as they are there, with vectors of the rows as they are
        now; none if tables are lost. No features are read."""
        lost = self.lost()
        if not self._reads(lost):
            items = with_vectors_anew(self.model, stock.pick(ids), self._rows)
            lost = self.lost()
            if not self._reads(lost):
                return items, lost
        return stock.pick(ids[:0]), lost

    def sweep(self, stock: Stock, moved: MovedRows, pause: Pause) -> Swept:
        """Vectors anew for all items of a stock that read a row which may have moved. No features are read."""
        lost = self.lost()
        if self._reads(lost):
            return Swept(None, None, lost)
        items = stock.merged_items()
        anew = embed_anew(self.model, items, self._rows, moved, pause)
        lost = self.lost()
        if self._reads(lost):
            return Swept(None, None, lost)
        if 2 * len(anew.ids) <= len(items.ids) or len(anew.ids) < _FEW:
            return Swept(None, anew, lost)
        items = with_items(items, anew)
        return Swept(Segment.of(items, self._index(items)), None, lost)

    def _reads(self, lost: Mapping[str, Loss]) -> bool:
        return gen.reads(self.model.candidate_inputs, lost)

    def recount(self, served: Generation) -> Differences:
        """What changed of popularity alone."""
        nothing = np.empty(0, np.int64)
        return Differences(nothing, embed_items(self.model, nothing, None), self.count(), served.lost)

    def merge(self, stock: Stock) -> Merged:
        """A new base of a stock's parts, without reading anything."""
        items = stock.merged_items()
        return Merged(Segment.of(items, self._index(items)), stock)

    def _index(self, items: Items) -> Index:
        items.vectors.setflags(write=False)  # Nobody changes them, so they need not be copied.
        return self._make_base_index(items.vectors)

    def count(self) -> Counts:
        """How often users' histories name items."""
        return gen.count_interactions(self.model, self._max_popularity_users)


def has_other_columns(model: Model, segment: Segment) -> bool:
    """Whether the item view has other features than the segment's columns, or other defaults."""
    return model.items.definition().fields != segment.fields


def _differing(stored: Stored, served: Generation, *, rows_are_lost: bool) -> I64:
    """Places of items that are not served as they are stored."""
    positions = served.positions_or_none(stored.ids)
    here = np.flatnonzero(positions >= 0)
    at = positions[here]
    same = served.content_at(at) == stored.content[here]
    if not rows_are_lost:  # Then vectors stay as they are.
        same &= served.inputs_at(at) == stored.inputs[here]
        same &= served.standings_at(at) != Standing.ROWS_LOST
    differs = np.ones(len(stored.ids), np.bool_)
    differs[here] = ~same
    return np.flatnonzero(differs)
