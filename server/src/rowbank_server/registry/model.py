"""A model version, loaded: its towers, and its items and users as it sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rowbank.tower_keys import HISTORY
from rowbank_protos.v1 import models_pb2
from rowbank_server.features import FeatureStore, LayeredView
from rowbank_server.features import transforms as derived
from rowbank_server.registry.inputs import TowerInputs, resolve
from rowbank_server.registry.towers import TowerGraph

TITLE = "title"


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model version.

    Attributes:
        items, users: the version's catalogue and its users, under what callers wrote; `users` is None if it has none.
    """

    manifest: models_pb2.ModelManifest
    query: TowerGraph
    candidate: TowerGraph
    query_inputs: TowerInputs
    candidate_inputs: TowerInputs
    items: LayeredView
    users: LayeredView | None
    has_history: bool  # The users have a feature "history".
    has_title: bool

    @property
    def user_texts(self) -> bool:
        """Whether users' ids are texts, and its entities their keys."""
        return self.manifest.user_ids == models_pb2.ID_TYPE_STRING

    @property
    def item_texts(self) -> bool:
        """Whether items' ids are texts, and its entities their keys."""
        return self.manifest.item_ids == models_pb2.ID_TYPE_STRING

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
    made = derived.from_manifest(manifest.transforms)
    what = f"model {manifest.name!r} {manifest.version}"
    items = LayeredView(store, manifest.item_view, manifest.item_overlay, made)
    items.check(removable=True)
    what = f"ids of model {manifest.name!r} {manifest.version}"
    if manifest.item_ids == models_pb2.ID_TYPE_STRING:
        items.require_texts(f"the item {what}")
    users = None
    if manifest.user_view:
        users = LayeredView(store, manifest.user_view, manifest.user_overlay, united=(HISTORY,))
        users.check(removable=False)
        if manifest.user_ids == models_pb2.ID_TYPE_STRING:
            users.require_texts(f"the user {what}")
    return Model(
        manifest=manifest,
        query=TowerGraph(manifest.query, files[manifest.query.file], manifest.vector_dim),
        candidate=TowerGraph(manifest.candidate, files[manifest.candidate.file], manifest.vector_dim),
        query_inputs=resolve(f"{what}, query tower", manifest.query, users),
        candidate_inputs=resolve(f"{what}, candidate tower", manifest.candidate, items),
        items=items,
        users=users,
        has_history=users is not None and _has(users, HISTORY),
        has_title=_has(items, TITLE),
    )


def _has(view: LayeredView, name: str) -> bool:
    return any(field.name == name for field in view.definition().fields)
