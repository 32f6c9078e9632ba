"""ModelService over gRPC."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from rowbank.errors import InvalidModel, RequestTooLarge
from rowbank.traffic import Traffic
from rowbank_protos.v1 import models_pb2, models_pb2_grpc
from rowbank_server.features import FeatureStore
from rowbank_server.registry.activation import Activation
from rowbank_server.registry.binding import Binder
from rowbank_server.registry.pruning import Pruning
from rowbank_server.registry.store import CHUNK_BYTES, ModelRegistry, StoredModel
from rowbank_server.registry.traffic import get_traffic, set_traffic
from rowbank_server.registry.validation import validate
from rowbank_server.registry.view_scope import ViewScope

MAX_MODEL_BYTES = 512 << 20


class ModelServicer(models_pb2_grpc.ModelServiceServicer):
    """Publishing and choosing model versions. Raises `rowbank.errors`; an interceptor gives them their status.

    Args:
        binder: knows the tables.
        store: where the features are that the towers take.
        views: which of them a publisher's token may name.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        binder: Binder,
        activation: Activation,
        pruning: Pruning,
        store: FeatureStore,
        views: ViewScope,
    ) -> None:
        self._registry = registry
        self._binder = binder
        self._activation = activation
        self._pruning = pruning
        self._store = store
        self._views = views

    def PublishModel(  # noqa: N802
        self, request_iterator: Iterator[models_pb2.PublishModelRequest], context: grpc.ServicerContext
    ) -> models_pb2.PublishModelResponse:
        first = next(request_iterator, None)
        if first is None or first.WhichOneof("part") != "manifest":
            raise InvalidModel("the first message of a publication must hold the manifest")
        manifest = first.manifest
        self._views.require((manifest.item_view, manifest.user_view, manifest.item_overlay, manifest.user_overlay))
        files = _collect(manifest, request_iterator)
        self._binder.begin()
        validate(manifest, files, self._binder.dim, self._store)
        self._registry.require_new(manifest)
        if first.dry_run:
            return models_pb2.PublishModelResponse(version=manifest.version)
        self._binder.bind(manifest)
        self._registry.publish(manifest, files)
        if not self._binder.still_bound(manifest):  # Somebody dropped a table before the version could hold it.
            self._registry.remove(manifest)
            raise InvalidModel(
                f"model {manifest.name!r} {manifest.version}: a table was dropped while it was published"
            )
        if first.activate:
            self._activation.activate(manifest.name, manifest.version, force=first.force)
        return models_pb2.PublishModelResponse(version=manifest.version, activated=first.activate)

    def ListModels(  # noqa: N802
        self, request: models_pb2.ListModelsRequest, context: grpc.ServicerContext
    ) -> models_pb2.ListModelsResponse:
        return models_pb2.ListModelsResponse(models=[_entry(stored) for stored in self._registry.list(request.name)])

    def GetModel(  # noqa: N802
        self, request: models_pb2.GetModelRequest, context: grpc.ServicerContext
    ) -> models_pb2.GetModelResponse:
        stored = self._registry.get(request.name, request.version)
        return models_pb2.GetModelResponse(manifest=stored.manifest, active=stored.active)

    def ActivateModel(  # noqa: N802
        self, request: models_pb2.ActivateModelRequest, context: grpc.ServicerContext
    ) -> models_pb2.ActivateModelResponse:
        if request.previous:
            before, version = self._activation.roll_back(request.name)
            return models_pb2.ActivateModelResponse(previous_version=before, version=version)
        before = self._activation.activate(request.name, request.version, force=request.force)
        return models_pb2.ActivateModelResponse(previous_version=before, version=request.version)

    def GetTraffic(  # noqa: N802
        self, request: models_pb2.GetModelTrafficRequest, context: grpc.ServicerContext
    ) -> models_pb2.ModelTraffic:
        return _traffic(request.name, get_traffic(self._registry, request.name))

    def SetTraffic(  # noqa: N802
        self, request: models_pb2.ModelTraffic, context: grpc.ServicerContext
    ) -> models_pb2.ModelTraffic:
        return _traffic(request.name, set_traffic(self._registry, request.name, request.shares, request.shadow))

    def PruneModels(  # noqa: N802
        self, request: models_pb2.PruneModelsRequest, context: grpc.ServicerContext
    ) -> models_pb2.PruneModelsResponse:
        done = self._pruning.prune(request.name, request.keep, dry_run=request.dry_run)
        return models_pb2.PruneModelsResponse(versions=done.versions, tables=done.tables, bytes=done.bytes)

    def ReadModelFile(  # noqa: N802
        self, request: models_pb2.ReadModelFileRequest, context: grpc.ServicerContext
    ) -> Iterator[models_pb2.FileChunk]:
        data = self._registry.file(self._registry.get(request.name, request.version).manifest, request.file)
        for start in range(0, max(1, len(data)), CHUNK_BYTES):
            yield models_pb2.FileChunk(name=request.file, data=data[start : start + CHUNK_BYTES])


def _traffic(name: str, traffic: Traffic) -> models_pb2.ModelTraffic:
    return models_pb2.ModelTraffic(name=name, shares=dict(traffic.shares), shadow=traffic.shadow, active=traffic.active)


def _collect(
    manifest: models_pb2.ModelManifest, requests: Iterator[models_pb2.PublishModelRequest]
) -> dict[str, bytes]:
    chunks: dict[str, list[bytes]] = {file.name: [] for file in manifest.files}
    total = 0
    for request in requests:
        if request.WhichOneof("part") != "chunk":
            raise InvalidModel("after the manifest, every message of a publication must hold a chunk of a file")
        chunk = request.chunk
        if chunk.name not in chunks:
            raise InvalidModel(f"a chunk belongs to file {chunk.name!r}, which the manifest does not list")
        total += len(chunk.data)
        if total > MAX_MODEL_BYTES:
            raise RequestTooLarge(f"the model's files exceed {MAX_MODEL_BYTES} bytes, the most that a version may hold")
        chunks[chunk.name].append(chunk.data)
    return {name: b"".join(parts) for name, parts in chunks.items() if parts or _size(manifest, name) == 0}


def _size(manifest: models_pb2.ModelManifest, name: str) -> int:
    return next(file.size for file in manifest.files if file.name == name)


def _entry(stored: StoredModel) -> models_pb2.ModelEntry:
    return models_pb2.ModelEntry(manifest=stored.manifest, active=stored.active)
