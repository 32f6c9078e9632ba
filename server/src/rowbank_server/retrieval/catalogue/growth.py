"""How a catalogue takes in changes: at once, and at a cost that does not grow with its size.

What was changed goes into a small fresh part that is made anew each time; in older parts it only counts as gone. A
fresh part that has grown is sealed, and the next one begins; many sealed parts, or much that is gone, are merged into
a new base in the background. All of it is a function of what is there: a stock is never changed, so queries that run
keep what they began with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rowbank_server.retrieval.index import Index
from rowbank_server.retrieval.parts import Counts, Part
from rowbank_server.retrieval.segments import Items, Segment, joined_items

FRESH_LIMIT = 4096  # Items that are copied with each change, at most about a millisecond's worth per column.

MakeIndex = Callable[[npt.NDArray[np.float32]], Index]


@dataclass(frozen=True, slots=True)
class MergePolicy:
    """When parts are merged into a new base.

    Attributes:
        part: of the base's items, so many may lie in other parts, or be gone from it.
        least: but no fewer than so many.
        sealed: so many parts may be sealed.
    """

    part: float = 0.1
    least: int = 20_000
    sealed: int = 16

    def is_due(self, stock: Stock) -> bool:
        """Whether a search through all parts costs noticeably more than through one."""
        base = len(stock.base.segment)
        outside = sum(len(part.segment) for part in stock.sealed)
        dead = base - stock.base.live
        return len(stock.sealed) > self.sealed or max(outside, dead) > max(self.least, self.part * base)


@dataclass(frozen=True, slots=True, eq=False)
class Stock:
    """The parts of a generation by their use; `counts` are of all items."""

    base: Part
    sealed: tuple[Part, ...]
    fresh: Part | None
    counts: Counts

    @classmethod
    def of(cls, base: Segment, counts: Counts) -> Stock:
        """Of one segment."""
        return cls(Part.whole(base, 0, counts.of_items(base.ids)), (), None, counts)

    @property
    def parts(self) -> tuple[Part, ...]:
        """All of them, by position."""
        return (self.base, *self.sealed, *([] if self.fresh is None else [self.fresh]))

    def take_in(
        self,
        touched: npt.NDArray[np.int64],
        changed: Items,
        make_index: MakeIndex,
        *,
        fresh_limit: int = FRESH_LIMIT,
    ) -> Stock:
        """The stock with some items added, changed or removed.

        Args:
            touched: ids of all of them.
            changed: those of `touched` that are there.
            fresh_limit: items with which a fresh part is sealed.
        """
        base, *sealed = (part.without(touched) for part in (self.base, *self.sealed))
        kept = changed
        if self.fresh is not None:
            left = self.fresh.segment.items()
            kept = joined_items([left.take(np.flatnonzero(~np.isin(left.ids, touched))), changed])
        if not len(kept.ids):
            return replace(self, base=base, sealed=tuple(sealed), fresh=None)
        segment = Segment.of(kept, make_index(kept.vectors))
        fresh = Part.whole(segment, (sealed[-1] if sealed else base).end, self.counts.of_items(kept.ids))
        if len(kept.ids) >= fresh_limit:
            return replace(self, base=base, sealed=(*sealed, fresh), fresh=None)
        return replace(self, base=base, sealed=tuple(sealed), fresh=fresh)

    @property
    def outside(self) -> int:
        """Items that are not in the base."""
        return sum(part.live for part in self.parts[1:])

    @property
    def dead(self) -> int:
        """Items that are in a part and gone from it."""
        return sum(len(part.segment) - part.live for part in self.parts)

    def recount(self, counts: Counts) -> Stock:
        """The stock with other interactions."""
        base, *others = (part.counted(counts.of_items(part.segment.ids)) for part in self.parts)
        sealed = tuple(others[: len(self.sealed)])
        return Stock(base, sealed, None if self.fresh is None else others[-1], counts)

    def merged_items(self) -> Items:
        """All items that are not gone. It takes a while; the stock may grow meanwhile."""
        return joined_items([part.segment.items().take(part.kept()) for part in self.parts])

    def pick(self, ids: npt.NDArray[np.int64]) -> Items:
        """Those of some items, ascending, that are not gone."""
        there = [(part.segment.items(), part.segment.places(part.live_among(ids))) for part in self.parts]
        return joined_items([items.take(places) for items, places in there])

    def with_merged(self, merged: Segment, before: Stock, touched: npt.NDArray[np.int64]) -> Stock:
        """This stock with a new base instead of what it was made of, when the stock was `before`.

        Args:
            touched: ids of all items that were taken in since.
        """
        # Its items may be in the new base, too, from the fresh part that there was before.
        fresh = None if self.fresh is before.fresh else self.fresh
        sealed = self.sealed[len(before.sealed) :]
        base = Part.whole(merged, 0, self.counts.of_items(merged.ids)).without(touched)
        for part in (*sealed, *([] if fresh is None else [fresh])):
            base = base.without(part.segment.ids[part.kept()])
        placed, start = [], base.end
        for part in sealed:
            placed.append(replace(part, start=start))
            start = placed[-1].end
        return Stock(base, tuple(placed), None if fresh is None else replace(fresh, start=start), self.counts)
