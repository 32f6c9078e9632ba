"""Which positions may be in an answer, as bitmaps; queries of a batch with the same filter share theirs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rowbank_server.retrieval.filters.words import Boost, Filter
from rowbank_server.retrieval.generation import Bitmap, Generation, Positions
from rowbank_server.retrieval.index.bitmaps import set_bits
from rowbank_server.retrieval.stages import over
from rowbank_server.retrieval.stages.work import Work

_NONE: Positions = np.empty(0, np.int64)


class Eligible:
    """Of one batch over one generation."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._refused: dict[tuple[Filter | None, bool], Bitmap] = {}
        self._bonuses: dict[tuple[Boost, ...], npt.NDArray[np.float32]] = {}

    def refused(self, given: Filter | None, *, indexed: bool) -> Bitmap:
        """[span / 8]: positions that no query with this filter may have; with `indexed`, also those without a vector.

        Nobody may change it.
        """
        key = (given, indexed)
        made = self._refused.get(key)
        if made is None:
            base = self._generation.unindexed if indexed else self._generation.gone
            made = base if given is None else base | ~over.allowed(self._generation, given)
            self._refused[key] = made
        return made

    def unwanted(self, works: Sequence[Work]) -> list[Positions]:
        """Positions that each query alone may not have: what it excludes, was seen, or shown before."""
        lists = [_unwanted(work) for work in works]
        if not any(lists):
            return [_NONE] * len(lists)
        ends = np.cumsum([len(one) for one in lists])
        items = np.fromiter(itertools.chain.from_iterable(lists), np.int64, int(ends[-1]))
        split = np.split(self._generation.positions_or_none(items), ends[:-1])
        return [positions[positions >= 0] for positions in split]

    def shared(self, works: Sequence[Work], unwanted: Sequence[Positions], *, indexed: bool) -> Bitmap | None:
        """[1, span / 8]: what no query may have, if that is the same for all of them; nobody may change it."""
        if any(map(len, unwanted)) or any(work.filter != works[0].filter for work in works):
            return None
        return self.refused(works[0].filter, indexed=indexed)[None]

    def rows(self, works: Sequence[Work], unwanted: Sequence[Positions], *, indexed: bool) -> Bitmap:
        """[B, span / 8]: per query, all that may not be in its answer; the caller may change it."""
        made = np.empty((len(works), self._generation.span // 8), np.uint8)
        for row, work, positions in zip(made, works, unwanted, strict=True):
            row[:] = self.refused(work.filter, indexed=indexed)
            set_bits(row, positions)
        return made

    def bonus(self, boosts: tuple[Boost, ...]) -> npt.NDArray[np.float32] | None:
        """What boosts add to dot products; None if there are none."""
        if not boosts:
            return None
        made = self._bonuses.get(boosts)
        if made is None:
            made = self._bonuses[boosts] = over.bonus(self._generation, boosts, abs(self._generation.model.logit_scale))
        return made


def _unwanted(work: Work) -> list[int]:
    query = work.query
    seen = [*work.seen, *(query.items or ())] if query.exclude_seen else []
    return [*query.exclude, *query.shown, *seen]
