"""ModelService over gRPC."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from rowbank.errors import InvalidModel, RequestTooLarge
from rowbank_protos.v1 import models_pb2, models_pb2_grpc
from rowbank_server.registry.store import ModelRegistry, StoredModel
from rowbank_server.registry.validation import TableDim, validate

MAX_MODEL_BYTES = 512 << 20


class ModelServicer(models_pb2_grpc.ModelServiceServicer):
    """Publishing and choosing model versions. Raises `rowbank.errors`; an interceptor gives them their status.

    Args:
        table_exists: the dim of a table; None if there is no such table.
    """

    def __init__(self, registry: ModelRegistry, table_exists: TableDim) -> None:
        self._registry = registry
        self._table_exists = table_exists

    def PublishModel(  # noqa: N802
        self, request_iterator: Iterator[models_pb2.PublishModelRequest], context: grpc.ServicerContext
    ) -> models_pb2.PublishModelResponse:
        first = next(request_iterator, None)
        if first is None or first.WhichOneof("part") != "manifest":
            raise InvalidModel("the first message of a publication must hold the manifest")
        manifest = first.manifest
        files = _collect(manifest, request_iterator)
        validate(manifest, files, self._table_exists)
        self._registry.publish(manifest, files)
        if first.activate:
            self._registry.activate(manifest.name, manifest.version)
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
        if not request.version:
            raise InvalidModel(f"activation of model {request.name!r} needs a version; ListModels shows them")
        return models_pb2.ActivateModelResponse(previous_version=self._registry.activate(request.name, request.version))


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
