"""RetrievalService over gRPC: the same questions as over HTTP."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

import grpc.aio

from rowbank.errors import InternalError, InvalidRequest, RequestError, to_status
from rowbank_protos.v1 import features_pb2, retrieval_pb2, retrieval_pb2_grpc
from rowbank_server.features import FeatureData
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.handlers import Service
from rowbank_server.retrieval.api.ids import Ids, ModelIds
from rowbank_server.retrieval.queries import DEFAULT_K, Answer, Query

_log = logging.getLogger("rowbank.api")


class RetrievalServicer(retrieval_pb2_grpc.RetrievalServiceServicer):
    """Runs on the event loop of the HTTP server and shares its batches."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def Recommend(  # noqa: N802
        self, request: retrieval_pb2.RecommendRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> retrieval_pb2.RecommendResponse:
        return await self._answer(lambda: self._recommend_query(request), context, explain=request.explain)

    async def SimilarItems(  # noqa: N802
        self, request: retrieval_pb2.SimilarItemsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> retrieval_pb2.RecommendResponse:
        return await self._answer(lambda: self._similar_query(request), context)

    async def _answer(
        self, query: Any, context: grpc.aio.ServicerContext[Any, Any], *, explain: bool = False
    ) -> retrieval_pb2.RecommendResponse:
        try:
            return _response(await self._service.batcher.ask(query()), explain=explain)
        except RequestError as error:
            await _abort(context, error)
        except Exception as error:
            _log.error("a gRPC query failed for a reason that is a defect", exc_info=error)
            await _abort(context, InternalError(f"the query failed ({type(error).__name__}); the log has the details"))

    def _similar_query(self, request: retrieval_pb2.SimilarItemsRequest) -> Query:
        if not request.item_ids and not request.item_texts:
            raise InvalidRequest("item_ids and item_texts are empty; name at least one item")
        generation = self._service.engine.generation()
        ids = ModelIds.of(generation.model).items
        keys = _keys(ids, request, "item_ids", "item_texts")
        named = zip([*request.item_ids, *request.item_texts], keys, strict=True)
        unknown = [str(item) for item, key in named if not len(generation.positions([key]))]
        if unknown:
            raise InvalidRequest(f"the catalogue has no item {', '.join(unknown[:10])}")
        exclude = _keys(ids, request, "exclude", "exclude_texts")
        return Query(items=keys, k=_k(request.k), exclude=exclude, exclude_seen=True)

    def _recommend_query(self, request: retrieval_pb2.RecommendRequest) -> Query:
        subject, session = request.WhichOneof("subject"), request.session
        features = {name: _feature(name, value) for name, value in request.features.items()} or None
        _check_subject(request, subject, features)
        model = self._service.engine.generation().model
        ids, user = ModelIds.of(model), None
        if subject in ("user_id", "user_text"):
            user = getattr(request, subject)
        return Query(
            user_id=None if user is None else ids.users.key(user, subject),
            items=_keys(ids.items, session, "item_ids", "item_texts") if subject == "session" else None,
            features=None if features is None else ids.features(model, features, user),
            k=_k(request.k),
            exclude=_keys(ids.items, request, "exclude", "exclude_texts"),
            exclude_seen=request.exclude_seen,
            min_score=request.min_score if request.HasField("min_score") else None,
        )


def _check_subject(request: retrieval_pb2.RecommendRequest, subject: str | None, features: Any) -> None:
    """Refuses a query that names nobody, or a session beside features."""
    session = request.session
    if (subject is None and not features) or (subject == "session" and not session.item_ids and not session.item_texts):
        raise InvalidRequest(
            "give a user_id, features or a session with at least one item; user_text and item_texts where ids are texts"
        )
    if subject == "session" and features:
        raise InvalidRequest("give features with a user_id or alone; a session is answered by its items")


def _feature(name: str, message: features_pb2.FeatureValue) -> FeatureData:
    """The value of a message, of whatever type it is."""
    member = message.WhichOneof("value")
    if member is None:
        raise InvalidRequest(f"features: {name}: expected a value, got none")
    held = getattr(message, member)
    return list(held.values) if member.endswith("_list") else held


def _keys(ids: Ids, message: Any, numbers: str, texts: str) -> tuple[int, ...]:
    """Keys of the items that two fields of a message name, one with integers and one with texts."""
    return (*ids.keys(getattr(message, numbers), numbers), *ids.keys(getattr(message, texts), texts))


def _k(asked: int) -> int:
    if asked > schemas.MAX_K:
        raise InvalidRequest(f"k must be 1 to {schemas.MAX_K}, got {asked}")
    return asked or DEFAULT_K


def _response(answer: Answer, *, explain: bool) -> retrieval_pb2.RecommendResponse:
    response = retrieval_pb2.RecommendResponse(
        model_version=answer.model_version,
        index_version=answer.index_version,
        source=answer.source.value,
        degraded=answer.degraded,
        timings_ms=answer.timings_ms if explain else None,
        defaulted=answer.defaulted if explain else None,
    )
    for rank, found in enumerate(answer.items, start=1):
        response.items.add(
            item_id=0 if found.text else found.item_id,
            item_text=found.text,
            score=found.score or 0.0,
            rank=rank,
            title=found.title,
        )
    return response


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: RequestError) -> NoReturn:
    code, message, trailers = to_status(error)
    await context.abort(code, message, trailers)
    raise AssertionError("abort returned")
