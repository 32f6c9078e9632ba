"""Parts of a generation: segments at their places, with what of them is gone and how popular the rest is."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank_server.retrieval.index.bitmaps import bits_at, with_bits
from rowbank_server.retrieval.segments import Segment, Standing

BLOCK = 64  # A part begins at a multiple of so many positions, so that bitmaps can be cut there.


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """How often users' histories name items: [N] int64 ids, ascending, and [N] int64 times."""

    items: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> Counts:
        """Of times by item."""
        items = np.fromiter(counts.keys(), np.int64, len(counts))
        order = np.argsort(items)
        return cls(items[order], np.fromiter(counts.values(), np.int64, len(counts))[order])

    def of_items(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """[M] int64: those of [M] items; items without any have 0."""
        if not len(self.items):
            return np.zeros(len(ids), np.int64)
        at = np.searchsorted(self.items, ids)
        at[at == len(self.items)] = 0
        return np.where(self.items[at] == ids, self.times[at], 0)


@dataclass(frozen=True, eq=False)
class Part:
    """A segment within a generation. Its bitmaps are [span / 8] uint8, the least significant bit first.

    Attributes:
        start: the position of its first item.
        interactions: [n] int64: how often users' histories name each item.
        gone: what is no item, or none any more: padding, and what was changed or removed since the segment was made.
        unindexed: what a search must not find: that, and items without a vector.
        tally: how many items that are not gone have each `Standing`.
    """

    segment: Segment
    start: int
    interactions: npt.NDArray[np.int64]
    gone: npt.NDArray[np.uint8]
    unindexed: npt.NDArray[np.uint8]
    tally: npt.NDArray[np.int64]

    @classmethod
    def whole(cls, segment: Segment, start: int, interactions: npt.NDArray[np.int64]) -> Part:
        """A part of which nothing is gone."""
        span = -(-len(segment) // BLOCK) * BLOCK
        padding = np.ones(span, np.bool_)
        padding[: len(segment)] = False
        hidden = padding.copy()
        hidden[: len(segment)] = segment.standing != Standing.INDEXED
        return cls(segment, start, interactions, _packed(padding), _packed(hidden), tallied(segment.standing))

    @property
    def span(self) -> int:
        """Positions that the part takes."""
        return 8 * len(self.gone)

    @property
    def end(self) -> int:
        return self.start + self.span

    @property
    def live(self) -> int:
        """Items that are not gone."""
        return int(self.tally.sum())

    @functools.cached_property
    def popular(self) -> npt.NDArray[np.int64]:
        """[n] places, most interactions first, then by id."""
        named = np.flatnonzero(self.interactions)
        first = named[np.argsort(-self.interactions[named], kind="stable")]
        return np.concatenate([first, np.flatnonzero(self.interactions == 0)])

    def without(self, keys: npt.NDArray[np.int64]) -> Part:
        """The part without some items, as far as it has them."""
        places = self.segment.places(keys)
        places = places[places >= 0]
        places = places[~bits_at(self.gone, places)]
        if not len(places):
            return self
        made = Part(
            self.segment,
            self.start,
            self.interactions,
            with_bits(self.gone, places),
            with_bits(self.unindexed, places),
            self.tally - tallied(self.segment.standing[places]),
        )
        if "popular" in self.__dict__:  # Those that are gone are passed over where it is used.
            made.__dict__["popular"] = self.popular
        return made

    def live_among(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Those of some ids that the part has and that are not gone, in their order."""
        places = self.segment.places(keys)
        here = np.flatnonzero(places >= 0)
        there: npt.NDArray[np.int64] = keys[here[~bits_at(self.gone, places[here])]]
        return there

    def counted(self, interactions: npt.NDArray[np.int64]) -> Part:
        """The part with other interactions."""
        return dataclasses.replace(self, interactions=interactions)

    def kept(self) -> npt.NDArray[np.int64]:
        """Places of the items that are not gone, ascending."""
        gone = np.unpackbits(self.gone, bitorder="little")
        return np.flatnonzero(gone[: len(self.segment)] == 0)


def tallied(standing: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How many items have each standing."""
    return np.bincount(standing, minlength=len(Standing))


def _packed(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return np.packbits(flags, bitorder="little")
