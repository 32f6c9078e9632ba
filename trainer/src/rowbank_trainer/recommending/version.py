"""A published version, opened to compute with: its towers, its tables and its features, all as a server serves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from rowbank import Client
from rowbank.closest import did_you_mean, listed
from rowbank.errors import TableNotFound
from rowbank.features import FeatureResult
from rowbank.manifests import ModelManifest, Tower, TowerInput
from rowbank.text_ids import ID_TEXT
from rowbank.tower_feeding import feed, gather, usable
from rowbank.tower_keys import HISTORY
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.errors import TrainerError

Bools = npt.NDArray[np.bool_]
Vectors = npt.NDArray[np.float32]


def find_version(client: Client, model: str, version: str) -> ModelManifest:
    """The manifest of a version, "active" or "latest", checked for being whole.

    Raises:
        TrainerError: there is no such model or version, or its rows are not there any more; the message says which.
    """
    entries = client.models.list()
    versions = [entry for entry in entries if entry.manifest.name == model]
    if not versions:
        names = sorted({entry.manifest.name for entry in entries})
        known = f"models that there are: {listed(names)}" if names else "there are none; train and publish one first"
        raise TrainerError(f"model {model!r} does not exist{did_you_mean(model, names)}; {known}")
    if version == "latest":
        return _whole(client, versions[0].manifest)
    found = [entry for entry in versions if entry.manifest.version == version or (version == "active" and entry.active)]
    if not found:
        stored = listed(entry.manifest.version for entry in versions)
        raise TrainerError(f"--version {version}: model {model!r} has no such version; there are {stored}")
    return _whole(client, found[0].manifest)


def _whole(client: Client, manifest: ModelManifest) -> ModelManifest:
    for table in manifest.tables:
        what = f"version {manifest.version} of {manifest.name} reads table {table.name!r}, which"
        try:
            there = client.table_info(table.name)
        except TableNotFound:
            raise TrainerError(f"{what} is gone; train and publish anew") from None
        if table.table_id and there.table_id != table.table_id:
            raise TrainerError(f"{what} was dropped and made anew since; train and publish anew")
    return manifest


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of entities.

    Attributes:
        vectors: [B, vector_dim] float32.
        known: [B] bool: the tower knows something of the entity, and its vector can be ranked.
    """

    vectors: Vectors
    known: Bools


class Side:
    """One tower with the features of its entities.

    Args:
        items: whether it is the candidate tower's side, else the query tower's.
    Raises:
        RowbankError: the tower's file or its view cannot be read.
    """

    def __init__(self, client: Client, manifest: ModelManifest, *, items: bool) -> None:
        self._client, self._items = client, items
        self._tower: Tower = manifest.candidate if items else manifest.query
        self.view = manifest.item_view if items else manifest.user_view
        self.overlay = manifest.item_overlay if items else manifest.user_overlay
        self._transforms = manifest.transforms if items else ()
        self.texts = (manifest.item_ids if items else manifest.user_ids) == "string"
        file = client.models.read_file(manifest.name, manifest.version, self._tower.file)
        self._session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        fields = {
            field.name: field
            for view in client.features.list_views()
            if view.name in (self.overlay, self.view)
            for field in view.fields
        }
        self._defaults = {name: field.default for name, field in fields.items()}
        self.has_history = not items and HISTORY in fields
        wanted = [_feature(part) for part in self._tower.inputs] + [ID_TEXT] * self.texts + [HISTORY] * self.has_history
        self._names = [name for name in dict.fromkeys(wanted) if name]

    def entities(self) -> Ids:
        """Everybody, or everything, that a view lists: [N] int64, ascending; removed ones are among them.

        Raises:
            TrainerError: the version has no view of them.
        """
        if not self.view:
            raise TrainerError("the version names no view of users, so nothing lists them; name them with --users")
        views = [view for view in (self.view, self.overlay) if view]
        return np.unique(np.concatenate([self._client.features.entities(view) for view in views]))

    def read(self, entities: Sequence[int]) -> list[FeatureResult]:
        """What there is of entities; items that are not there are left out, users are not: they may have rows."""
        if not self.view:
            return [FeatureResult(entity, {}, "not_found", 0.0) for entity in entities]
        united = () if self._items else (HISTORY,)
        results = self._client.features.read_layers(
            self.view, self.overlay, entities, self._names, transforms=self._transforms, united=united
        )
        return [result for result in results if result.status != "not_found" or not self._items]

    def embed(self, read: Sequence[FeatureResult]) -> Embedded:
        """Runs the tower; known is an item of which a key has a row, a user of whom a value gives a row or a number."""
        parts = self._tower.inputs
        values, defaults = [self._values(part, read) for part in parts], [self._default(part) for part in parts]
        fed = feed(parts, values, defaults, count=len(read))
        inputs, known = gather(parts, fed, self._lookup, own_only=not self._items)
        vectors: Vectors = self._session.run([self._tower.output], inputs)[0]
        known &= usable(vectors)
        if self._items:
            known &= fed.has_any & ~fed.unusable
        return Embedded(vectors, known)

    def _values(self, part: TowerInput, read: Sequence[FeatureResult]) -> list[Any]:
        """Each entity's own value for an input; None: it has none."""
        name = _feature(part)
        if not name:
            return [result.entity for result in read]
        return [None if name in result.absent else result.values[name] for result in read]

    def _lookup(self, keys: Mapping[str, Ids]) -> dict[str, tuple[Vectors, Bools]]:
        """Rows by table, one table after the other: so that reading leaves no trace in any."""
        read = {table: self._client.table(table).lookup(wanted) for table, wanted in keys.items()}
        return {table: (rows.values, rows.found) for table, rows in read.items()}

    def _default(self, part: TowerInput) -> Any:
        return self._defaults.get(_feature(part))


def _feature(part: TowerInput) -> str:
    """The feature of the view that an input takes; "": the entity's own id."""
    return part.feature.rpartition(":")[2] if ":" in part.feature else ""
