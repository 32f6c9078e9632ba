"""The registry of two-tower models: publish, list, activate."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rowbank.calls import methods
from rowbank.calls.verbs import Calls
from rowbank.errors import InvalidModel
from rowbank_protos.v1 import models_pb2

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TowerInput:
    """One input of a tower: rows of a table for the keys in a feature.

    Attributes:
        name: input of the ONNX graph, float32: [batch, dim], or [batch, length, dim] if `length` is above 0.
        feature: "<view>:<feature>", or the entity's join key for its own id.
        length: keys per entity, padded with `pad_key` and cut; 0: exactly one key.
    """

    name: str
    table: str
    feature: str
    dim: int
    length: int = 0
    pad_key: int = 0


@dataclass(frozen=True, slots=True)
class Tower:
    """An ONNX graph that turns rows into vectors: `output` is [batch, vector_dim] float32, in the file `file`."""

    inputs: tuple[TowerInput, ...]
    output: str
    file: str


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model; `sha256` is hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """What a model version is made of.

    Attributes:
        version: unique for the model, sorting by time, such as 20260131T120000Z-1a2b.
        metrics: name -> value, as the trainer measured them.
        created_at_s: Unix seconds.
        item_view: the feature view that lists the candidates.
        user_view: the feature view of users; "history" in it holds seen item ids, if present.
        logit_scale: score = logit_scale x dot product.
        files: filled in by `Models.publish`.
    """

    name: str
    version: str
    query: Tower
    candidate: Tower
    vector_dim: int
    created_at_s: float
    item_view: str
    user_view: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    logit_scale: float = 1.0
    files: tuple[ModelFile, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A published version, and whether it is the active one."""

    manifest: ModelManifest
    active: bool


class Models:
    """The model registry: `client.models`. Thread-safe."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def publish(
        self,
        manifest: ModelManifest,
        files: Mapping[str, bytes | Path],
        *,
        activate: bool = True,
        timeout_s: float = 300.0,
    ) -> str:
        """Stores a model version with its files, whole or not at all.

        Args:
            manifest: its `files` are computed here, sizes and checksums included.
            files: name -> content, or the path to read it from; the names that the towers use.
            activate: whether to serve this version from now on.
            timeout_s: deadline of the whole transfer. It is not retried.
        Returns:
            The version.
        Raises:
            InvalidModel: the version exists, a table or a tower's file does not, or dims disagree.
        """
        for tower in (manifest.query, manifest.candidate):
            if tower.file not in files:
                raise InvalidModel(f"model {manifest.name!r}: expected a file {tower.file!r}, got {sorted(files)}")
        contents = {name: data if isinstance(data, bytes) else Path(data).read_bytes() for name, data in files.items()}
        message = manifest_to_proto(manifest, contents)
        parts = _parts(message, contents, activate)
        answer = self._calls.transport.upload(methods.PUBLISH_MODEL, 0, parts, timeout_s=timeout_s)
        return answer.version

    def list(self, name: str = "") -> list[ModelEntry]:
        """All versions of the model `name`, or of all models, newest first. Raises `ModelNotFound`."""
        answer = self._calls.transport.one(methods.LIST_MODELS, 0, models_pb2.ListModelsRequest(name=name))
        return [ModelEntry(manifest_from_proto(entry.manifest), entry.active) for entry in answer.models]

    def get(self, name: str, version: str = "") -> ModelEntry:
        """One version; "" is the active one. Raises `ModelNotFound`."""
        request = models_pb2.GetModelRequest(name=name, version=version)
        answer = self._calls.transport.one(methods.GET_MODEL, 0, request)
        return ModelEntry(manifest_from_proto(answer.manifest), answer.active)

    def activate(self, name: str, version: str) -> str:
        """Serves that version from now on; returns the one before, "" if there was none. Raises `ModelNotFound`."""
        request = models_pb2.ActivateModelRequest(name=name, version=version)
        return self._calls.transport.one(methods.ACTIVATE_MODEL, 0, request, retry=False).previous_version


def _parts(
    manifest: models_pb2.ModelManifest, contents: Mapping[str, bytes], activate: bool
) -> Iterator[models_pb2.PublishModelRequest]:
    yield models_pb2.PublishModelRequest(manifest=manifest, activate=activate)
    for name, data in contents.items():
        for start in range(0, max(1, len(data)), _CHUNK_BYTES):
            chunk = models_pb2.FileChunk(name=name, data=data[start : start + _CHUNK_BYTES])
            yield models_pb2.PublishModelRequest(chunk=chunk)


def manifest_to_proto(manifest: ModelManifest, contents: Mapping[str, bytes]) -> models_pb2.ModelManifest:
    """The message for `manifest`, with its files' sizes and checksums."""
    files = [
        models_pb2.ModelFile(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in contents.items()
    ]
    return models_pb2.ModelManifest(
        name=manifest.name,
        version=manifest.version,
        query=_tower_to_proto(manifest.query),
        candidate=_tower_to_proto(manifest.candidate),
        vector_dim=manifest.vector_dim,
        files=files,
        metrics=dict(manifest.metrics),
        created_at_s=manifest.created_at_s,
        item_view=manifest.item_view,
        user_view=manifest.user_view,
        logit_scale=manifest.logit_scale,
    )


def manifest_from_proto(message: models_pb2.ModelManifest) -> ModelManifest:
    """The manifest in `message`."""
    return ModelManifest(
        name=message.name,
        version=message.version,
        query=_tower_from_proto(message.query),
        candidate=_tower_from_proto(message.candidate),
        vector_dim=message.vector_dim,
        created_at_s=message.created_at_s,
        item_view=message.item_view,
        user_view=message.user_view,
        metrics=dict(message.metrics),
        logit_scale=message.logit_scale or 1.0,
        files=tuple(ModelFile(file.name, file.size, file.sha256) for file in message.files),
    )


def _tower_to_proto(tower: Tower) -> models_pb2.Tower:
    inputs = [
        models_pb2.TowerInput(
            name=part.name,
            table=part.table,
            feature=part.feature,
            dim=part.dim,
            length=part.length,
            pad_key=part.pad_key,
        )
        for part in tower.inputs
    ]
    return models_pb2.Tower(inputs=inputs, output=tower.output, file=tower.file)


def _tower_from_proto(message: models_pb2.Tower) -> Tower:
    inputs = tuple(
        TowerInput(part.name, part.table, part.feature, part.dim, part.length, part.pad_key) for part in message.inputs
    )
    return Tower(inputs, message.output, message.file)
