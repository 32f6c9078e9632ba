"""Diversity: at most so many items of an answer with the same value of a feature.

It is exactly what one gets who walks down the whole ranking and takes each item that still may be taken. Few items are
asked for first. Once a value has its items, all others that have it are left out of the next search; so each search
brings something, and nothing that ranks higher is missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from rowbank_server.retrieval.columns import Column
from rowbank_server.retrieval.filters import evaluate
from rowbank_server.retrieval.filters.words import Diversity
from rowbank_server.retrieval.generation import Bitmap, Generation, Positions
from rowbank_server.retrieval.index.bitmaps import set_bits
from rowbank_server.retrieval.stages.ranking import Rank, Ranked

_LOOK = 32  # Items that are asked for at least, and at most, beyond those that are wanted.
_MOST = 8192


class Spread:
    """Counts the values of an answer's items.

    Args:
        shown: items of the pages before.
    """

    def __init__(self, generation: Generation, diversity: Diversity, shown: Positions) -> None:
        self._generation = generation
        self._feature = diversity.feature
        self._most = diversity.max_per_value
        self._counts: Counter[Hashable] = Counter()
        for values in self._values(shown):
            self._counts.update(values)

    def refuse_full(self, refused: Bitmap) -> None:
        """Sets the bits of the items that may not be taken any more, whatever else is."""
        self._refuse(refused, [value for value, count in self._counts.items() if count >= self._most])

    def take(
        self, rank: Rank, refused: Bitmap, count: int, *, least: float | None = None, first: Ranked | None = None
    ) -> Ranked:
        """The best `count` that may stand beside each other and those taken before.

        Args:
            refused: [span / 8]: what may not be taken; it is changed.
            least: scores below it are not taken.
            first: what the best `look(count)` are, or all if there are fewer, if that is known.
        """
        taken: list[tuple[int, float]] = []
        if first is None:
            self.refuse_full(refused)
        size = look(count)
        while len(taken) < count:
            found = rank(refused, size) if first is None else first
            first = None
            full: list[Hashable] = []
            rows = zip(found.positions.tolist(), found.scores.tolist(), self._values(found.positions), strict=True)
            for position, score, values in rows:
                if len(taken) == count or (least is not None and score < least):
                    return _ranked(taken)
                if any(self._counts[value] >= self._most for value in values):
                    continue
                self._counts.update(values)
                full += [value for value in values if self._counts[value] >= self._most]
                taken.append((position, score))
            if len(found.positions) < size:
                break  # That was all there is.
            set_bits(refused, found.positions)
            self._refuse(refused, full)
            size = min(2 * size, _MOST)
        return _ranked(taken)

    def _values(self, positions: Positions) -> list[frozenset[Hashable]]:
        """The values of the items at [M] positions; none of an item that lacks the feature."""
        made: list[frozenset[Hashable]] = [frozenset()] * len(positions)
        for part in self._generation.parts:
            column = part.segment.columns.get(self._feature)
            here = np.flatnonzero((positions >= part.start) & (positions < part.end))
            if column is not None and len(here):
                for place, values in zip(here.tolist(), values_at(column, positions[here] - part.start), strict=True):
                    made[place] = values
        return made

    def _refuse(self, refused: Bitmap, values: Sequence[Hashable]) -> None:
        if not values:
            return
        for part in self._generation.parts:
            bits = evaluate.holders(part.segment, self._feature, tuple(values))  # type: ignore[arg-type]
            refused[part.start // 8 : part.start // 8 + len(bits)] |= bits


def look(count: int) -> int:
    """How many items to ask for at first, to take `count` of them."""
    return max(_LOOK, 2 * count)


def values_at(column: Column, places: Positions) -> list[frozenset[Hashable]]:
    """The values of the items at [M] places, of lists their elements."""
    words = column.words
    made: list[frozenset[Hashable]] = []
    if column.ends is None:
        for there, value in zip(column.present[places].tolist(), column.values[places].tolist(), strict=True):
            made.append(frozenset((value if words is None else words[value],)) if there else frozenset())
        return made
    ends = column.ends[places].tolist()
    starts = np.where(places > 0, column.ends[places - 1], 0).tolist()
    for there, start, end in zip(column.present[places].tolist(), starts, ends, strict=True):
        held = column.values[start:end].tolist() if there else []
        made.append(frozenset(held if words is None else (words[code] for code in held)))
    return made


def _ranked(taken: Sequence[tuple[int, float]]) -> Ranked:
    return Ranked(
        np.array([position for position, _ in taken], np.int64), np.array([score for _, score in taken], np.float64)
    )
