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
from rowbank_server.retrieval.stages.eligible import set_bits
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

    def take(self, rank: Rank, refused: Bitmap, count: int, *, least: float | None = None) -> Ranked:
        """The best `count` that may stand beside each other and those taken before.

        Args:
            refused: [span / 8]: what may not be taken; it is changed.
            least: scores below it are not taken.
        """
        taken: list[tuple[int, float]] = []
        self._refuse(refused, [value for value, count in self._counts.items() if count >= self._most])
        size = max(_LOOK, 2 * count)
        while len(taken) < count:
            found = rank(refused, size)
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
        made: list[frozenset[Hashable]] = []
        for position in positions.tolist():
            part, place = self._generation.part_at(position)
            column = part.segment.columns.get(self._feature)
            made.append(frozenset() if column is None else values_at(column, place))
        return made

    def _refuse(self, refused: Bitmap, values: Sequence[Hashable]) -> None:
        if not values:
            return
        for part in self._generation.parts:
            bits = evaluate.holders(part.segment, self._feature, tuple(values))  # type: ignore[arg-type]
            refused[part.start // 8 : part.start // 8 + len(bits)] |= bits


def values_at(column: Column, place: int) -> frozenset[Hashable]:
    """The values of one item, of a list its elements."""
    if not column.present[place]:
        return frozenset()
    if column.ends is None:
        held = [column.values[place].item()]
    else:
        held = column.values[int(column.ends[place - 1]) if place else 0 : int(column.ends[place])].tolist()
    words = column.words
    return frozenset(held if words is None else (words[code] for code in held))


def _ranked(taken: Sequence[tuple[int, float]]) -> Ranked:
    return Ranked(
        np.array([position for position, _ in taken], np.int64), np.array([score for _, score in taken], np.float64)
    )
