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
from rowbank.tower_keys import HISTORY, Keys, Numbers, input_keys, input_numbers
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.errors import TrainerError

_LARGEST = 1e15  # Beyond it a vector's number cannot be ranked.

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
        parts: dict[str, Keys | Numbers] = {}
        own: dict[str, Bools] = {}
        for part in self._tower.inputs:
            values, own[part.name] = self._values(part, read)
            if part.kind != "numbers":
                parts[part.name] = input_keys(part, values)
                continue
            numbers = input_numbers(part, values)
            own[part.name] &= numbers.there
            parts[part.name] = self._filled(part, numbers)
        rows = self._rows(parts)
        inputs: dict[str, Vectors] = {}
        known = np.zeros(len(read), np.bool_)
        keyed = np.zeros(len(read), np.bool_)
        numbers_count = not self._items or all(isinstance(part, Numbers) for part in parts.values())
        for part in self._tower.inputs:
            fed = parts[part.name]
            if isinstance(fed, Numbers):
                inputs[part.name], hit = fed.values, fed.there & numbers_count
            else:
                inputs[part.name], found = rows[part.table].of(fed.keys, _are_read(part, fed))
                hit = _any(found & fed.there)
                keyed |= _any(fed.there)
            known |= hit if self._items else hit & own[part.name]
        if self._items:
            known &= keyed | all(isinstance(part, Numbers) for part in parts.values())
            known &= ~self._unusable(read)
        vectors: Vectors = self._session.run([self._tower.output], inputs)[0]
        known &= (np.abs(vectors) <= _LARGEST).all(axis=1)  # False for NaN, too.
        return Embedded(vectors, known)

    def _values(self, part: TowerInput, read: Sequence[FeatureResult]) -> tuple[list[Any], Bools]:
        """Each entity's value for an input, the view's default where there is none, and which are their own."""
        name = _feature(part)
        if not name:
            return [result.entity for result in read], np.ones(len(read), np.bool_)
        own = np.fromiter((name not in result.absent for result in read), np.bool_, len(read))
        default = None if part.kind == "numbers" else self._defaults.get(name)
        return [default if name in result.absent else result.values[name] for result in read], own

    def _filled(self, part: TowerInput, numbers: Numbers) -> Numbers:
        """The numbers with the view's default where there are none."""
        default = self._defaults.get(_feature(part))
        if default is None:
            return numbers
        filling = input_numbers(part, [default])
        values = np.where(numbers.there[:, None], numbers.values, filling.values)
        return Numbers(values, numbers.there | filling.there[0], numbers.unusable)

    def _unusable(self, read: Sequence[FeatureResult]) -> Bools:
        bad = np.zeros(len(read), np.bool_)
        for part in self._tower.inputs:
            if part.kind == "numbers":
                bad |= input_numbers(part, self._values(part, read)[0]).unusable
        return bad

    def _rows(self, parts: Mapping[str, Keys | Numbers]) -> dict[str, _Rows]:
        """Reads every table once; reading leaves no trace in it."""
        wanted: dict[str, list[Ids]] = {}
        for part in self._tower.inputs:
            fed = parts[part.name]
            if isinstance(fed, Keys):
                wanted.setdefault(part.table, []).append(fed.keys[_are_read(part, fed)])
        found = {}
        for table, keys in wanted.items():
            distinct = np.unique(np.concatenate(keys))
            rows = self._client.table(table).lookup(distinct)
            found[table] = _Rows(distinct, rows.values, rows.found)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows under some keys: [K] int64 ascending, [K, dim], [K] bool."""

    keys: Ids
    values: Vectors
    found: Bools

    def of(self, keys: Ids, read: Bools) -> tuple[Vectors, Bools]:
        """Of [...] keys, the rows of those that are `read`, [..., dim], zeros for others, and which have one."""
        values = np.zeros((*keys.shape, self.values.shape[1]), np.float32)
        there = np.zeros(keys.shape, np.bool_)
        at = np.searchsorted(self.keys, keys[read])
        values[read], there[read] = self.values[at], self.found[at]
        return values, there


def _feature(part: TowerInput) -> str:
    """The feature of the view that an input takes; "": the entity's own id."""
    return part.feature.rpartition(":")[2] if ":" in part.feature else ""


def _are_read(part: TowerInput, fed: Keys) -> Bools:
    """Which keys are read: not padding, except for versions of before an input said what it is, as they are served."""
    return fed.there if part.kind else np.ones_like(fed.there)


def _any(mask: Bools) -> Bools:
    """[B] bool, of [B] or [B, length]."""
    found: Bools = mask.any(axis=1) if mask.ndim == 2 else mask
    return found
