"""One generation of what is served: towers, index, catalogue and popularity of one model version, never changed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank.errors import ViewNotFound
from rowbank.tower_keys import HISTORY
from rowbank_server.features import FeatureStatus
from rowbank_server.retrieval.catalogue import Catalogue, Standing
from rowbank_server.retrieval.index import ExactIndex, Index, bitmap
from rowbank_server.retrieval.inputs import TowerInputs
from rowbank_server.retrieval.lineage import Loss
from rowbank_server.retrieval.model import Model
from rowbank_server.retrieval.queries import Found

_BATCH = 4096  # Users whose histories are read at once.


@dataclass(frozen=True, slots=True)
class Generation:
    """What one answer is made from; every part belongs to the same model version.

    Attributes:
        texts: N ids as callers know them, where those are texts; otherwise none.
        index: over all of `ids`; `unindexed` is the bitmap of those that must not be found in it.
        standing: [N] uint8: `Standing` of each item; `indexed` [N] bool: those that a search can find.
        interactions: [N] int64: how often users' histories name each item.
        popular: [N] int64 positions, most interactions first, then by id.
        lost: tables whose rows are not the version's any more, with the reason.
    """

    model: Model
    index_version: str
    ids: npt.NDArray[np.int64]
    titles: tuple[str, ...]
    texts: tuple[str, ...]
    index: Index
    standing: npt.NDArray[np.uint8]
    indexed: npt.NDArray[np.bool_]
    unindexed: npt.NDArray[np.uint8]
    interactions: npt.NDArray[np.int64]
    popular: npt.NDArray[np.int64]
    lost: Mapping[str, Loss]

    @property
    def query_lost(self) -> bool:
        """Whether users' rows may not be read."""
        return reads(self.model.query_inputs, self.lost)

    def positions(self, items: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Positions of those of `items` that the catalogue has, in their order."""
        wanted = np.asarray(items, dtype=np.int64)
        if not len(self.ids):
            return np.empty(0, dtype=np.int64)
        at = np.searchsorted(self.ids, wanted)
        at[at == len(self.ids)] = 0
        found: npt.NDArray[np.int64] = at[self.ids[at] == wanted]
        return found

    def text_of(self, item: int) -> str:
        """The id of an item as callers know it, where ids are texts; empty for one that the catalogue has not."""
        position = self.positions([item])
        return self.texts[position[0]] if len(position) and self.texts else ""

    def catalogue(self) -> Catalogue:
        """The parts that an update of single items starts from."""
        return Catalogue(self.ids, self.titles, self.texts, self.index.vectors, self.standing)

    def found(self, position: int, score: float | None) -> Found:
        """An item as part of an answer."""
        text = self.texts[position] if self.texts else ""
        return Found(int(self.ids[position]), score, self.titles[position], text)


def reads(inputs: TowerInputs, lost: Mapping[str, Loss]) -> bool:
    """Whether a tower reads a table that is lost."""
    return any(tower_input.table in lost for tower_input in inputs.inputs)


def assemble(
    model: Model, catalogue: Catalogue, counts: Mapping[int, int], index_version: str, lost: Mapping[str, Loss]
) -> Generation:
    """Builds the index over a catalogue.

    Args:
        counts: interactions by item id; items outside the catalogue are ignored.
        lost: tables whose rows are not the version's any more.
    """
    indexed = catalogue.standing == Standing.INDEXED
    interactions = np.fromiter((counts.get(int(i), 0) for i in catalogue.ids), np.int64, len(catalogue.ids))
    return Generation(
        model=model,
        index_version=index_version,
        ids=catalogue.ids,
        titles=catalogue.titles,
        texts=catalogue.texts,
        index=ExactIndex(catalogue.vectors),
        standing=catalogue.standing,
        indexed=indexed,
        unindexed=bitmap(np.flatnonzero(~indexed), len(catalogue.ids)),
        interactions=interactions,
        popular=np.argsort(-interactions, kind="stable"),
        lost=lost,
    )


def count_interactions(model: Model, max_users: int) -> dict[int, int]:
    """How often items occur in users' histories, over the first `max_users` users by id."""
    if model.users is None or not model.has_history:
        return {}
    try:
        users = model.users.entities()[:max_users]
    except ViewNotFound:
        return {}
    counts: dict[int, int] = {}
    for start in range(0, len(users), _BATCH):
        reads = model.users.read_sound(users[start : start + _BATCH].tolist(), [HISTORY])
        seen = [read.values[HISTORY] for read in reads if read.status is FeatureStatus.PRESENT]
        named = np.fromiter(itertools.chain.from_iterable(seen), dtype=np.int64)  # type: ignore[arg-type]
        items, times = np.unique(named, return_counts=True)
        for item, count in zip(items.tolist(), times.tolist(), strict=True):
            counts[int(item)] = counts.get(int(item), 0) + count
    return counts
