"""Activating versions: one that differs strongly from the active one is refused, unless somebody insists."""

from __future__ import annotations

from rowbank.catalogue import REMOVED
from rowbank.errors import InvalidModel, ModelDiffers, ModelNotFound
from rowbank_protos.v1 import models_pb2
from rowbank_server.features import FeatureStore
from rowbank_server.registry.store import ModelRegistry
from rowbank_server.registry.trial import Trial

_LEAST_OVERLAP = 0.5  # Of the active version's items that the new one has.
_LEAST_QUALITY = 0.8  # Of the active version's figure.
_LEAST_DATA = 0.5  # Of the active version's interactions.


class Activation:
    """Chooses the version that is served. Thread-safe.

    Args:
        store: where the versions' catalogues are.
        trial: tries versions before they are activated.
    """

    def __init__(self, registry: ModelRegistry, store: FeatureStore, trial: Trial) -> None:
        self._registry = registry
        self._store = store
        self._trial = trial

    def activate(self, name: str, version: str, *, force: bool = False) -> str:
        """Makes a version the active one; returns the one before, empty if there was none.

        Raises:
            ModelNotFound: there is no such version.
            ModelDiffers: it differs strongly from the active one, or from what its publisher said, and not `force`;
                nothing was changed.
        """
        if not version:
            raise InvalidModel(f"activation of model {name!r} needs a version; rowbank models list shows them")
        new = self._registry.get(name, version)
        active = self._registry.active_version(name)
        if active != version and not force:
            self._require_alike(new.manifest, self._registry.get(name, active).manifest if active else None)
        return self._registry.activate(name, version)

    def _require_alike(self, new: models_pb2.ModelManifest, old: models_pb2.ModelManifest | None) -> None:
        what = f"model {new.name!r} {new.version}"
        facts = {"model": new.name, "version": new.version, "active": old.version if old else ""}
        if old is not None:
            found = [*differences(old, new), *self._catalogue_difference(old, new)]
            if found:
                raise ModelDiffers(
                    f"{what} differs strongly from the active version {old.version}: {'; '.join(found)}; "
                    "if that is meant, activate it with force",
                    metadata=facts,
                )
        found = self._trial.differences(new, old)
        if found:
            raise ModelDiffers(
                f"{what} was tried and does not answer as it should: {'; '.join(found)}; nothing was changed; publish "
                "it anew, or activate it with force if that is meant",
                metadata=facts,
            )

    def roll_back(self, name: str) -> tuple[str, str]:
        """Makes the version active that was so before the present one; returns both, the present one first.

        Raises:
            ModelNotFound: there is none.
        """
        before = self._registry.previous(name)
        if not before:
            self._registry.get(name)  # Says so if there is no such model.
            raise ModelNotFound(
                f"model {name!r}: no version was active before the present one; rowbank models list {name} shows what "
                "there is",
                metadata={"model": name},
            )
        return self._registry.activate(name, before), before

    def _catalogue_difference(self, old: models_pb2.ModelManifest, new: models_pb2.ModelManifest) -> list[str]:
        if old.item_view == new.item_view:
            return []
        had, has = self._items(old.item_view), self._items(new.item_view)
        shared = len(had & has)
        if not had or shared >= _LEAST_OVERLAP * len(had):
            return []
        return [f"its catalogue has {shared} of the {len(had)} items of the active one, {len(has)} in all"]

    def _items(self, view: str) -> set[int]:
        known = {definition.name: definition for definition in self._store.list_views()}
        if view not in known:
            return set()
        entities = self._store.entities(view).tolist()
        if all(field.name != REMOVED for field in known[view].fields):
            return set(entities)
        return {read.entity for read in self._store.read(view, entities, [REMOVED]) if not read.values[REMOVED]}


def _kind_of_ids(manifest: models_pb2.ModelManifest, field: str) -> str:
    return "texts" if getattr(manifest, field) == models_pb2.ID_TYPE_STRING else "integers"


def differences(old: models_pb2.ModelManifest, new: models_pb2.ModelManifest) -> list[str]:
    """What differs strongly between two versions, by what their manifests say: ids, data and quality."""
    found = []
    for role in ("user", "item"):
        was_id, is_id = (_kind_of_ids(manifest, f"{role}_ids") for manifest in (old, new))
        if was_id != is_id:
            found.append(f"its {role} ids are {is_id}, those of the active one {was_id}")
    if old.HasField("data") and new.HasField("data"):
        was, now = old.data, new.data
        if was.name != now.name:
            found.append(f"it was trained on {now.name!r}, the active one on {was.name!r}")
        if now.interactions < _LEAST_DATA * was.interactions:
            found.append(f"it was trained on {now.interactions} interactions, the active one on {was.interactions}")
    metric = new.quality_metric
    if metric and metric == old.quality_metric and metric in old.metrics and metric in new.metrics:
        before, after = old.metrics[metric], new.metrics[metric]
        if after < _LEAST_QUALITY * before:
            found.append(f"its {metric} is {after:.4g}, that of the active one {before:.4g}")
    return found
