"""FeatureService over gRPC."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import grpc

from rowbank.errors import InvalidFeature
from rowbank_protos.v1 import features_pb2, features_pb2_grpc
from rowbank_server.features import transforms
from rowbank_server.features.columns import columns_from_message
from rowbank_server.features.layers import LayeredView
from rowbank_server.features.reading import FeatureRead, FeatureStatus
from rowbank_server.features.store import FeatureStore
from rowbank_server.features.values import FeatureData, FeatureType, fill_message, from_message
from rowbank_server.features.views import FeatureView, view_from_message, view_to_message

_STATUS = {
    FeatureStatus.PRESENT: features_pb2.FEATURE_STATUS_PRESENT,
    FeatureStatus.NOT_FOUND: features_pb2.FEATURE_STATUS_NOT_FOUND,
    FeatureStatus.OUTSIDE_MAX_AGE: features_pb2.FEATURE_STATUS_OUTSIDE_MAX_AGE,
}

_ENTITIES_PER_ANSWER = 65_536  # At most 10 bytes each.


class ViewScope(Protocol):
    """Which views a caller's token is for."""

    def require(self, views: Iterable[str], *, write: bool = False) -> None: ...

    def shown(self, views: Iterable[str]) -> set[str]: ...


class FeatureServicer(features_pb2_grpc.FeatureServiceServicer):
    """Views and their rows. Raises the errors of `rowbank.errors`; an interceptor gives them their status.

    Args:
        readers: which stored model versions name a view, in words.
        scope: which views a caller's token is for.
    """

    def __init__(self, store: FeatureStore, readers: Callable[[str], Sequence[str]], scope: ViewScope) -> None:
        self._store = store
        self._scope = scope
        self._readers = readers

    def PutView(  # noqa: N802
        self, request: features_pb2.PutViewRequest, context: grpc.ServicerContext
    ) -> features_pb2.PutViewResponse:
        self._scope.require((request.view.name,), write=True)
        return features_pb2.PutViewResponse(changed=self._store.put_view(view_from_message(request.view)))

    def ListViews(  # noqa: N802
        self, request: features_pb2.ListViewsRequest, context: grpc.ServicerContext
    ) -> features_pb2.ListViewsResponse:
        views = self._store.list_views()
        shown = self._scope.shown(view.name for view in views)
        return features_pb2.ListViewsResponse(views=[view_to_message(view) for view in views if view.name in shown])

    def WriteFeatures(  # noqa: N802
        self, request: features_pb2.WriteFeaturesRequest, context: grpc.ServicerContext
    ) -> features_pb2.WriteFeaturesResponse:
        self._scope.require((request.view,), write=True)
        event_time_s = request.event_time_s if request.HasField("event_time_s") else None
        if event_time_s is not None and not 0 <= event_time_s < 1e11:
            raise InvalidFeature(f"event_time_s: expected Unix seconds from 0 to 1e11, or none, got {event_time_s}")
        view = self._store.view(request.view)
        rows = [(row.entity, _values(view, row)) for row in request.rows]
        written = self._store.write(view.name, rows, event_time_s)
        return features_pb2.WriteFeaturesResponse(written=written)

    def WriteColumns(  # noqa: N802
        self, request: features_pb2.WriteColumnsRequest, context: grpc.ServicerContext
    ) -> features_pb2.WriteColumnsResponse:
        self._scope.require((request.view,), write=True)
        view = self._store.view(request.view)
        columns = columns_from_message(view, request, time.time_ns() // 1000)
        written = self._store.write_columns(view, columns)
        return features_pb2.WriteColumnsResponse(written=written, outdated=len(columns.entities) - written)

    def ReadFeatures(  # noqa: N802
        self, request: features_pb2.ReadFeaturesRequest, context: grpc.ServicerContext
    ) -> features_pb2.ReadFeaturesResponse:
        self._scope.require((request.view, request.overlay.view))
        if request.HasField("overlay"):
            return self._read_layers(request)
        view = self._store.view(request.view)
        results = self._store.read(view.name, list(request.entities), list(request.names))
        self._store.freshness.read(view.name, results, time.time())
        kinds = {field.name: field.type for field in view.fields}
        return features_pb2.ReadFeaturesResponse(results=[_result(kinds, read) for read in results])

    def _read_layers(self, request: features_pb2.ReadFeaturesRequest) -> features_pb2.ReadFeaturesResponse:
        over = request.overlay
        layers = LayeredView(
            self._store, request.view, over.view, transforms.from_manifest(over.transforms), tuple(over.united)
        )
        kinds = {field.name: field.type for field in layers.definition().fields}
        reads = layers.read_sound(list(request.entities), list(request.names))
        return features_pb2.ReadFeaturesResponse(results=[_result(kinds, read) for read in reads])

    def DropView(  # noqa: N802
        self, request: features_pb2.DropViewRequest, context: grpc.ServicerContext
    ) -> features_pb2.DropViewResponse:
        self._scope.require((request.view,), write=True)
        readers = self._readers(request.view)
        if readers:
            raise InvalidFeature(
                f"view {request.view!r} is read by {readers[0]}, so it is not dropped; prune the version first",
                metadata={"view": request.view},
            )
        there = any(view.name == request.view for view in self._store.list_views())
        self._store.drop_view(request.view)
        return features_pb2.DropViewResponse(dropped=there)

    def ListEntities(  # noqa: N802
        self, request: features_pb2.ListEntitiesRequest, context: grpc.ServicerContext
    ) -> Iterator[features_pb2.ListEntitiesResponse]:
        self._scope.require((request.view,))
        entities = self._store.entities(request.view).tolist()
        for start in range(0, len(entities), _ENTITIES_PER_ANSWER):
            yield features_pb2.ListEntitiesResponse(entities=entities[start : start + _ENTITIES_PER_ANSWER])


def _values(view: FeatureView, row: features_pb2.FeatureRow) -> Mapping[str, FeatureData]:
    what = f"of {view.entity} {row.entity}"
    return {
        name: from_message(value, view.field(name).type, f"{view.name}:{name} {what}")
        for name, value in row.values.items()
    }


def _result(kinds: Mapping[str, FeatureType], read: FeatureRead) -> features_pb2.FeatureResult:
    result = features_pb2.FeatureResult(entity=read.entity, status=_STATUS[read.status], event_time_s=read.event_time_s)
    result.absent.extend(sorted(read.absent))
    for name, value in read.values.items():
        fill_message(result.values[name], value, kinds[name])
    return result
