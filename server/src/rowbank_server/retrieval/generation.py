"""One generation of what is served: towers, items and popularity of one model version at one moment, never changed.

Its items lie in segments: a base, which may lie in a file, and small ones of what was changed since. An item has a
position: the place of its segment, which is a multiple of 64, plus its place there. Bitmaps over all positions are
[span / 8] uint8, the least significant bit first.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.errors import ViewNotFound
from rowbank.tower_keys import HISTORY
from rowbank_server.features import FeatureStatus, FeatureType
from rowbank_server.registry.inputs import TowerInputs
from rowbank_server.registry.model import Model
from rowbank_server.retrieval.filters.fields import FilterFields
from rowbank_server.retrieval.index.bitmaps import bits_at
from rowbank_server.retrieval.lineage import Loss
from rowbank_server.retrieval.parts import Counts, Part
from rowbank_server.retrieval.queries import Found, ScoreParts
from rowbank_server.retrieval.segments import Standing

_BATCH = 4096  # Users whose histories are read at once.
_FIRST_LOOK = 64  # Popular items that are looked at first, besides those that are wanted.

Positions = npt.NDArray[np.int64]
Bitmap = npt.NDArray[np.uint8]

_NOWHERE: Positions = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Generation:
    """What one answer is made from; every part belongs to the same model version. Any number of threads may read.

    Attributes:
        parts: segments in the order of their positions; an item that was changed is live in one of them.
        lost: tables whose rows are not the version's any more.
    """

    model: Model
    index_version: str
    parts: tuple[Part, ...]
    lost: Mapping[str, Loss]

    @property
    def span(self) -> int:
        """All positions are below; a multiple of 64."""
        return self.parts[-1].end if self.parts else 0

    @functools.cached_property
    def gone(self) -> Bitmap:
        """Positions without an item."""
        return _joined([part.gone for part in self.parts])

    @functools.cached_property
    def unindexed(self) -> Bitmap:
        """Positions that a search must not find; those that are gone are among them."""
        return _joined([part.unindexed for part in self.parts])

    @functools.cached_property
    def interactions(self) -> npt.NDArray[np.int64]:
        """[span] int64: how often users' histories name the item of each position; 0 where there is none."""
        made = np.zeros(self.span, np.int64)
        for part in self.parts:
            made[part.start : part.start + len(part.segment)] = part.interactions
        return made

    @functools.cached_property
    def tally(self) -> Mapping[Standing, int]:
        """How many items have each standing."""
        total = np.sum([part.tally for part in self.parts], axis=0, dtype=np.int64) if self.parts else np.zeros(9, int)
        return {standing: int(total[standing]) for standing in Standing}

    @property
    def item_count(self) -> int:
        """Items of the catalogue, found by a search or not."""
        return sum(self.tally.values())

    @property
    def indexed_count(self) -> int:
        """Items that a search can find."""
        return self.tally[Standing.INDEXED]

    @functools.cached_property
    def filter_fields(self) -> FilterFields:
        """The features of the items that filters may name."""
        types: dict[str, FeatureType] = {}
        for part in reversed(self.parts):
            for name, column in part.segment.columns.items():
                types.setdefault(name, column.type)
        hidden = [derived.output for derived in self.model.items.derived]
        return FilterFields(types, item_texts=self.model.item_texts, hidden=hidden)

    @property
    def query_lost(self) -> bool:
        """Whether users' rows may not be read."""
        return reads(self.model.query_inputs, self.lost)

    def positions(self, items: Sequence[int] | npt.NDArray[np.int64]) -> Positions:
        """Positions of those of `items` that the catalogue has, in their order."""
        if not len(items):
            return _NOWHERE
        found = self.positions_or_none(items)
        return found[found >= 0]

    def positions_or_none(self, items: Sequence[int] | npt.NDArray[np.int64]) -> Positions:
        """The position of each of [M] items, -1 for those that the catalogue has not."""
        wanted = np.asarray(items, dtype=np.int64)
        found = np.full(len(wanted), -1, np.int64)
        for part in self.parts:
            places = part.segment.places(wanted)
            here = np.flatnonzero(places >= 0)
            here = here[~bits_at(part.gone, places[here])]
            found[here] = places[here] + part.start
        return found

    def all_ids(self) -> npt.NDArray[np.int64]:
        """[item_count] int64: ids of all items, ascending."""
        return np.sort(_ids([part.segment.ids[part.kept()] for part in self.parts]))

    def part_at(self, position: int) -> tuple[Part, int]:
        """The part that a position lies in, and the place there."""
        for part in self.parts:
            if position < part.end:
                return part, position - part.start
        raise IndexError(position)

    def id_at(self, position: int) -> int:
        """The id of the item at a position."""
        part, place = self.part_at(position)
        return int(part.segment.ids[place])

    def ids_at(self, positions: Positions) -> npt.NDArray[np.int64]:
        """[M] int64: ids of the items at [M] positions."""
        made = np.zeros(len(positions), np.int64)
        for part, here, places in self._by_part(positions):
            made[here] = part.segment.ids[places]
        return made

    def text_at(self, position: int) -> str:
        """The id of the item at a position as callers know it, where ids are texts; otherwise empty."""
        part, place = self.part_at(position)
        return "" if part.segment.texts is None else part.segment.texts[place]

    def title_at(self, position: int) -> str:
        """The title of the item at a position, empty if it has none."""
        part, place = self.part_at(position)
        return part.segment.titles[place]

    def text_of(self, item: int) -> str:
        """The id of an item as callers know it, where ids are texts; empty for one that the catalogue has not."""
        positions = self.positions([item])
        return self.text_at(int(positions[0])) if len(positions) else ""

    def standing_at(self, position: int) -> Standing:
        """Whether a search can find the item at a position."""
        part, place = self.part_at(position)
        return Standing(int(part.segment.standing[place]))

    def standings_at(self, positions: Positions) -> npt.NDArray[np.uint8]:
        """[M] uint8: the `Standing` of the items at [M] positions."""
        made = np.zeros(len(positions), np.uint8)
        for part, here, places in self._by_part(positions):
            made[here] = part.segment.standing[places]
        return made

    def inputs_at(self, positions: Positions) -> npt.NDArray[np.uint64]:
        """[M] uint64: numbers for what the candidate tower took of the items at [M] positions."""
        made = np.zeros(len(positions), np.uint64)
        for part, here, places in self._by_part(positions):
            made[here] = part.segment.inputs[places]
        return made

    def content_at(self, positions: Positions) -> npt.NDArray[np.uint64]:
        """[M] uint64: numbers for all that is stored of the items at [M] positions."""
        made = np.zeros(len(positions), np.uint64)
        for part, here, places in self._by_part(positions):
            made[here] = part.segment.content[places]
        return made

    def are_indexed(self, positions: Positions) -> npt.NDArray[np.bool_]:
        """[M] bool: whether a search can find the items at [M] positions."""
        return ~bits_at(self.unindexed, positions)

    def interactions_at(self, positions: Positions) -> npt.NDArray[np.int64]:
        """[M] int64: how often users' histories name the items at [M] positions."""
        made = np.zeros(len(positions), np.int64)
        for part, here, places in self._by_part(positions):
            made[here] = part.interactions[places]
        return made

    def vectors_at(self, positions: Positions) -> npt.NDArray[np.float32]:
        """[M, vector_dim] float32: vectors of the items at [M] positions; zeros where one has none."""
        made = np.zeros((len(positions), self.model.manifest.vector_dim), np.float32)
        for part, here, places in self._by_part(positions):
            made[here] = part.segment.index.vectors[places]
        return made

    def found(self, position: int, score: float | None, parts: ScoreParts | None = None) -> Found:
        """An item as part of an answer."""
        return self.found_all(np.asarray([position], np.int64), [score], [parts])[0]

    def found_all(
        self, positions: Positions, scores: Sequence[float | None], parts: Sequence[ScoreParts | None]
    ) -> list[Found]:
        """Items as part of an answer, in the order of [M] positions."""
        if len(self.parts) == 1:
            return list(map(Found, *_shown(self.parts[0], positions, scores), parts))
        made: list[Any] = [None] * len(positions)
        for part, here, places in self._by_part(positions):
            rows = here.tolist()
            ids, mine, titles, texts = _shown(part, places, [scores[row] for row in rows])
            for row, item, score, title, text in zip(rows, ids, mine, titles, texts, strict=True):
                made[row] = Found(item, score, title, text, parts[row])
        return made

    def search(
        self,
        queries: npt.NDArray[np.float32],
        k: int,
        exclude: Bitmap,
        bonus: Sequence[npt.NDArray[np.float32] | None] | None = None,
    ) -> tuple[Positions, npt.NDArray[np.float32]]:
        """The best k positions of each query, best first, equal scores by item id, and their scores.

        Args:
            queries: [B, vector_dim] float32.
            exclude: [B, span / 8] uint8, or [1, span / 8] for all queries: positions that are left out; `unindexed` has
                to be among them.
            bonus: per query, [span] float32 that is added to the dot products, or None.
        Returns:
            positions [B, k] int64, -1 where fewer are eligible; scores [B, k] float32, -inf there.
        """
        found = [
            self._search(part, queries, k, exclude, bonus) for part in self.parts if part.tally[Standing.INDEXED] > 0
        ]
        if not found:
            return np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
        if len(found) == 1:
            return found[0]
        return self._best(np.hstack([one for one, _ in found]), np.hstack([one for _, one in found]), k)

    def most_popular(self, allowed: Bitmap, count: int) -> Positions:
        """Up to `count` positions of [span / 8] allowed ones, most interactions first, then by item id."""
        found = [_popular(part, allowed, count) for part in self.parts]
        if len(found) == 1:
            return found[0]
        positions = np.concatenate(found) if found else np.empty(0, np.int64)
        order = np.lexsort((self.ids_at(positions), -self.interactions_at(positions)))
        best: Positions = positions[order[:count]]
        return best

    def _by_part(self, positions: Positions) -> list[tuple[Part, Positions, Positions]]:
        """For each part with some of the positions: which of them, and their places there."""
        if len(self.parts) == 1:
            return [(self.parts[0], np.arange(len(positions)), positions)]
        made = []
        for part in self.parts:
            here = np.flatnonzero((positions >= part.start) & (positions < part.end))
            if len(here):
                made.append((part, here, positions[here] - part.start))
        return made

    def _search(
        self,
        part: Part,
        queries: npt.NDArray[np.float32],
        k: int,
        exclude: Bitmap,
        bonus: Sequence[npt.NDArray[np.float32] | None] | None,
    ) -> tuple[Positions, npt.NDArray[np.float32]]:
        size = part.segment.index.size
        cut = np.ascontiguousarray(exclude[:, part.start // 8 : part.start // 8 + (size + 7) // 8])
        index = part.segment.index
        mine = None
        if bonus is not None:
            mine = [None if one is None else one[part.start : part.start + size] for one in bonus]
        positions, scores = index.search(queries, k, cut, mine)
        if part.start:
            positions = np.where(positions >= 0, positions + part.start, positions)
        return positions, scores

    def _best(
        self, positions: Positions, scores: npt.NDArray[np.float32], k: int
    ) -> tuple[Positions, npt.NDArray[np.float32]]:
        """The best k of [B, more] positions with scores."""
        ids = self.ids_at(np.maximum(positions, 0).ravel()).reshape(positions.shape)
        order = np.lexsort((ids, -scores), axis=1)[:, :k]
        return np.take_along_axis(positions, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _shown(
    part: Part, places: Positions, scores: Sequence[float | None]
) -> tuple[list[int], Sequence[float | None], list[str], Iterable[str]]:
    """Of the items at [M] places of a part: ids, scores, titles, and ids as texts, or empty ones."""
    segment = part.segment
    texts = itertools.repeat("", len(places)) if segment.texts is None else segment.texts.at(places)
    return segment.ids[places].tolist(), scores, segment.titles.at(places), texts


def reads(inputs: TowerInputs, lost: Mapping[str, Loss]) -> bool:
    """Whether a tower reads a table that is lost."""
    return any(tower_input.table in lost for tower_input in inputs.inputs)


def _popular(part: Part, allowed: Bitmap, count: int) -> Positions:
    """Looks at few items first, and at ever more while too few of them are allowed."""
    mine = allowed[part.start // 8 : part.end // 8]
    order, found, start, size = part.popular, [np.empty(0, np.int64)], 0, count + _FIRST_LOOK
    left = count
    while left > 0 and start < len(order):
        look = order[start : start + size]
        hits = look[bits_at(mine, look)][:left]
        found.append(hits)
        left -= len(hits)
        start, size = start + size, size * 4
    return np.concatenate(found) + part.start


def _ids(parts: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _joined(bitmaps: Sequence[Bitmap]) -> Bitmap:
    return np.concatenate(bitmaps) if bitmaps else np.empty(0, np.uint8)


def count_interactions(model: Model, max_users: int) -> Counts:
    """How often items occur in users' histories, over the first `max_users` users by id."""
    if model.users is None or not model.has_history:
        return Counts.of({})
    try:
        users = model.users.entities()[:max_users]
    except ViewNotFound:
        return Counts.of({})
    named = []
    for start in range(0, len(users), _BATCH):
        reads = model.users.read_sound(users[start : start + _BATCH].tolist(), [HISTORY])
        seen = [read.values[HISTORY] for read in reads if read.status is FeatureStatus.PRESENT]
        named.append(np.fromiter(itertools.chain.from_iterable(seen), dtype=np.int64))  # type: ignore[arg-type]
    items, times = np.unique(np.concatenate([np.empty(0, np.int64), *named]), return_counts=True)
    return Counts(items, times.astype(np.int64))
