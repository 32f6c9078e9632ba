"""One generation of what is served: towers, index, catalogue and popularity of one model version, never changed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.errors import ViewNotFound
from rowbank_protos.v1 import models_pb2
from rowbank_server.features import FeatureStatus, FeatureStore
from rowbank_server.registry.towers import TowerGraph
from rowbank_server.retrieval.index import ExactIndex, Index, bitmap
from rowbank_server.retrieval.inputs import RowReader, TowerInputs, gather, resolve, usable

TITLE = "title"
HISTORY = "history"
_BATCH = 4096  # Items that go through the candidate tower at once.


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model version."""

    manifest: models_pb2.ModelManifest
    query: TowerGraph
    candidate: TowerGraph
    query_inputs: TowerInputs
    candidate_inputs: TowerInputs
    has_history: bool  # The user view has a feature "history".
    has_title: bool

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def logit_scale(self) -> float:
        """Score = logit_scale x dot product."""
        return self.manifest.logit_scale or 1.0


def load_model(manifest: models_pb2.ModelManifest, files: Mapping[str, bytes], store: FeatureStore) -> Model:
    """Opens the towers and resolves their features.

    Raises:
        InvalidModel, ViewNotFound, InvalidFeature: what keeps the model from being served.
    """
    items = store.view(manifest.item_view)
    users = store.view(manifest.user_view) if manifest.user_view else None
    return Model(
        manifest=manifest,
        query=TowerGraph(manifest.query, files[manifest.query.file], manifest.vector_dim),
        candidate=TowerGraph(manifest.candidate, files[manifest.candidate.file], manifest.vector_dim),
        query_inputs=resolve(manifest.query, manifest.user_view, store),
        candidate_inputs=resolve(manifest.candidate, manifest.item_view, store),
        has_history=users is not None and any(field.name == HISTORY for field in users.fields),
        has_title=any(field.name == TITLE for field in items.fields),
    )


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Items by position, in ascending order of their ids.

    Attributes:
        ids: [N] int64.
        titles: N strings, empty where an item has none.
        vectors: [N, vector_dim] float32; zero where not `indexed`.
        indexed: [N] bool: False for items none of whose keys has a row: the candidate tower knows nothing of them.
    """

    ids: npt.NDArray[np.int64]
    titles: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    indexed: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Generation:
    """What one answer is made from; every part belongs to the same model version.

    Attributes:
        index: over all of `ids`; `unindexed` is the bitmap of those that must not be found in it.
        interactions: [N] int64: how often users' histories name each item.
        popular: [N] int64 positions, most interactions first, then by id.
    """

    model: Model
    index_version: str
    ids: npt.NDArray[np.int64]
    titles: tuple[str, ...]
    index: Index
    indexed: npt.NDArray[np.bool_]
    unindexed: npt.NDArray[np.uint8]
    interactions: npt.NDArray[np.int64]
    popular: npt.NDArray[np.int64]

    def positions(self, items: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Positions of those of `items` that the catalogue has, in their order."""
        wanted = np.asarray(items, dtype=np.int64)
        if not len(self.ids):
            return np.empty(0, dtype=np.int64)
        at = np.searchsorted(self.ids, wanted)
        at[at == len(self.ids)] = 0
        found: npt.NDArray[np.int64] = at[self.ids[at] == wanted]
        return found

    def catalogue(self) -> Catalogue:
        """The parts that an update of single items starts from."""
        return Catalogue(self.ids, self.titles, self.index.vectors, self.indexed)


def assemble(model: Model, catalogue: Catalogue, counts: Mapping[int, int], index_version: str) -> Generation:
    """Builds the index over a catalogue.

    Args:
        counts: interactions by item id; items outside the catalogue are ignored.
    """
    interactions = np.fromiter((counts.get(int(i), 0) for i in catalogue.ids), np.int64, len(catalogue.ids))
    return Generation(
        model=model,
        index_version=index_version,
        ids=catalogue.ids,
        titles=catalogue.titles,
        index=ExactIndex(catalogue.vectors),
        indexed=catalogue.indexed,
        unindexed=bitmap(np.flatnonzero(~catalogue.indexed), len(catalogue.ids)),
        interactions=interactions,
        popular=np.argsort(-interactions, kind="stable"),
    )


def embed_items(model: Model, ids: npt.NDArray[np.int64], store: FeatureStore, rows: RowReader) -> Catalogue:
    """Reads items' features and rows and runs the candidate tower over them.

    Args:
        ids: [N] int64, ascending. Items whose features are absent or too old take part with defaults.
    """
    vectors = np.zeros((len(ids), model.manifest.vector_dim), dtype=np.float32)
    indexed = np.zeros(len(ids), dtype=np.bool_)
    titles: list[str] = []
    for start in range(0, len(ids), _BATCH):
        batch = ids[start : start + _BATCH]
        features = item_features(model, batch, store)
        titles.extend(str(values.get(f"{model.manifest.item_view}:{TITLE}", "")) for values in features)
        inputs, known = gather(model.candidate_inputs, model.candidate_inputs.keys(features), rows)
        embedded = model.candidate.run(inputs)
        sound = known & usable(embedded)
        vectors[start : start + len(batch)][sound] = embedded[sound]
        indexed[start : start + len(batch)] = sound
    return Catalogue(ids, tuple(titles), vectors, indexed)


def item_features(model: Model, ids: npt.NDArray[np.int64], store: FeatureStore) -> list[dict[str, Any]]:
    """What the candidate tower and the answers need of each item, by "<view>:<feature>" and join key."""
    view = model.manifest.item_view
    names = [*model.candidate_inputs.names, *([TITLE] if model.has_title else [])]
    entity = model.candidate_inputs.entity
    if not names:
        return [{entity: int(item)} for item in ids]
    reads = store.read(view, ids.tolist(), names)
    return [{entity: read.entity, **{f"{view}:{name}": value for name, value in read.values.items()}} for read in reads]


def count_interactions(model: Model, store: FeatureStore, max_users: int) -> dict[int, int]:
    """How often items occur in users' histories, over the first `max_users` users by id."""
    if not model.has_history:
        return {}
    view = model.manifest.user_view
    try:
        users = store.entities(view)[:max_users]
    except ViewNotFound:
        return {}
    counts: dict[int, int] = {}
    for start in range(0, len(users), _BATCH):
        reads = store.read(view, users[start : start + _BATCH].tolist(), [HISTORY])
        seen = [read.values[HISTORY] for read in reads if read.status is FeatureStatus.PRESENT]
        named = np.fromiter(itertools.chain.from_iterable(seen), dtype=np.int64)  # type: ignore[arg-type]
        items, times = np.unique(named, return_counts=True)
        for item, count in zip(items.tolist(), times.tolist(), strict=True):
            counts[int(item)] = counts.get(int(item), 0) + count
    return counts


def sorted_ids(items: Sequence[int]) -> npt.NDArray[np.int64]:
    """Distinct item ids, ascending: [N] int64."""
    return np.unique(np.asarray(items, dtype=np.int64))


def replace_items(catalogue: Catalogue, changed: Catalogue, removed: Sequence[int]) -> Catalogue:
    """The catalogue with some items added or changed and some removed; a removed one may not be among the changed."""
    gone = np.union1d(changed.ids, np.asarray(removed, dtype=np.int64))
    keep = ~np.isin(catalogue.ids, gone)
    ids = np.concatenate([catalogue.ids[keep], changed.ids])
    order = np.argsort(ids, kind="stable")
    titles = [title for title, kept in zip(catalogue.titles, keep, strict=True) if kept] + list(changed.titles)
    return Catalogue(
        ids=ids[order],
        titles=tuple(titles[i] for i in order),
        vectors=np.concatenate([catalogue.vectors[keep], changed.vectors])[order],
        indexed=np.concatenate([catalogue.indexed[keep], changed.indexed])[order],
    )
