"""Calls that ask for items: recommend, similar, score, popular."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from itertools import zip_longest
from typing import Any

from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.ids import GivenId, ModelIds, shown_id
from rowbank_server.retrieval.api.operations.answering import shown_answer, shown_scores
from rowbank_server.retrieval.api.operations.asking import Asking
from rowbank_server.retrieval.api.service import Caller, Service, in_time
from rowbank_server.retrieval.hosting.host import Picked
from rowbank_server.retrieval.queries import Query


class Querying:
    """One method per call."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def recommend(self, body: schemas.RecommendBody, caller: Caller) -> schemas.Recommendations:
        """Items for somebody."""
        picked = self._pick(body.model, body.version, body.user_id)
        return await self._answer(picked, self._asking(picked, caller).recommend(body), caller)

    async def recommend_plain(self, body: schemas.PlainRecommend, caller: Caller) -> schemas.Recommendations:
        """The same for a stored user, with everything else left out."""
        picked, query = self.plain(body, caller.deadline_s)
        return await self._answer(picked, query, caller)

    def plain(self, body: schemas.PlainRecommend, deadline_s: float | None = None) -> tuple[Picked, Query]:
        """The version that answers such a question, and the query. Raises as `recommend` before it asks."""
        picked = self._pick("", "", body.user_id)
        picked.serving.generation()  # Raises where there is none yet.
        key = ModelIds.of(picked.serving.model).users.key(body.user_id, "user_id")
        return picked, Query(user_id=key, k=body.k, deadline_s=deadline_s)

    async def recommend_batch(self, body: schemas.RecommendBatchBody, caller: Caller) -> schemas.RecommendationsBatch:
        """Several such questions, each answered as if it came alone; of a split of traffic, by the user's version."""
        picked = [
            self._pick(one.model, one.version, one.user_id, f"requests.{place}.")
            for place, one in enumerate(body.requests)
        ]
        queries = [
            self._asking(mine, caller, f"requests.{place}.").recommend(one)
            for place, (mine, one) in enumerate(zip(picked, body.requests, strict=True))
        ]
        answers: list[schemas.Recommendations | None] = [None] * len(queries)

        async def ask(place: int) -> None:
            answers[place] = await self._answer(picked[place], queries[place], caller)

        await _gather([ask(place) for place in range(len(queries))])
        return schemas.RecommendationsBatch([answer for answer in answers if answer is not None])

    async def similar(self, body: schemas.SimilarBody, caller: Caller) -> schemas.Recommendations:
        """Items near others."""
        picked = self._pick(body.model, body.version)
        return await self._answer(picked, self._asking(picked, caller).similar(body), caller)

    async def popular(self, body: schemas.PopularBody, caller: Caller) -> schemas.Recommendations:
        """What is popular."""
        picked = self._pick(body.model, body.version)
        query = self._asking(picked, caller).popular(body, self._service.retention_s)
        return await self._answer(picked, query, caller)

    async def score(self, body: schemas.ScoreBody, caller: Caller) -> schemas.Scores:
        """Given items, ranked for somebody."""
        picked = self._pick(body.model, body.version, body.user_id)
        query = self._asking(picked, caller).score(body)
        ids: dict[int, GivenId] = {}
        for given, key in zip(
            body.item_ids, ModelIds.of(picked.serving.model).items.keys(body.item_ids, "item_ids"), strict=True
        ):
            ids.setdefault(key, given)
        answer = await picked.serving.ask(query, caller.is_gone)
        name = picked.serving.model.manifest.name
        return shown_scores(answer, query, name, picked.split, ids, as_strings=caller.as_strings)

    async def embed(self, body: schemas.EmbedBody, caller: Caller) -> schemas.Embeddings:
        """Vectors of users, of a described one, or of items."""
        picked = self._pick(body.model, body.version)
        model = picked.serving.model
        ids = ModelIds.of(model)
        users = ids.users.keys(body.user_ids or [], "user_ids")
        items = ids.items.keys(body.item_ids or [], "item_ids")
        features = None if body.features is None else ids.features(model, body.features, None)
        made = await in_time(picked.serving.embed(users, features, items), caller)
        are_texts = (ids.items if items else ids.users).are_texts
        given = zip(body.user_ids or body.item_ids or [], users or items, strict=True)
        named = [shown_id(key, one if are_texts else "", as_strings=caller.as_strings) for one, key in given]
        return schemas.Embeddings(
            embeddings=[
                schemas.Embedding(one, None, vector)
                if isinstance(vector, str)
                else schemas.Embedding(one, vector.tolist(), "")
                for one, vector in zip_longest(named, made.vectors)
            ],
            model=model.manifest.name,
            model_version=made.model_version,
            index_version=made.index_version,
            dim=model.manifest.vector_dim,
        )

    async def _answer(self, picked: Picked, query: Query, caller: Caller) -> schemas.Recommendations:
        answer = await picked.serving.ask(query, caller.is_gone)
        name = picked.serving.model.manifest.name
        return shown_answer(answer, query, name, picked.split, as_strings=caller.as_strings)

    def _pick(self, model: str, version: str, user_id: GivenId | None = None, where: str = "") -> Picked:
        """The version that answers. Raises NotReady, ModelNotFound; InvalidRequest: an id of another kind."""
        host = self._service.hosts.of(model)
        picked = host.pick(None, version)
        if version or user_id is None:
            return picked
        return host.pick(ModelIds.of(picked.serving.model).users.key(user_id, f"{where}user_id"))

    def _asking(self, picked: Picked, caller: Caller, where: str = "") -> Asking:
        return Asking(picked.serving.generation(), self._service.rules, caller, where)


async def _gather(calls: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Runs all to their end, then raises the first failure, if any; none is left running."""
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
