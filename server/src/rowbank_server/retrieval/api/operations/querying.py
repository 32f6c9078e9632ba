"""Calls that ask for items: recommend, similar, popular."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.operations.asking import recommend_query, shown_answer, similar_query
from rowbank_server.retrieval.api.service import Caller, Service
from rowbank_server.retrieval.queries import Query

_TRIES = 3  # Of answering a batch by one version while versions change.


class Querying:
    """One method per call."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def recommend(self, body: schemas.RecommendBody, caller: Caller) -> schemas.Recommendations:
        """Items for somebody."""
        query = recommend_query(self._service.serving().generation(), body)
        answer = await self._service.serving().ask(query)
        return shown_answer(answer, as_strings=caller.as_strings, explain=body.explain)

    async def recommend_batch(self, body: schemas.RecommendBatchBody, caller: Caller) -> schemas.RecommendationsBatch:
        """Several such questions, each answered as if it came alone."""
        answers = await self._answer_all(body.requests, caller)
        for _ in range(_TRIES):
            if len({answer.model_version for answer in answers}) == 1:
                break
            answers = await self._answer_all(body.requests, caller)  # The version changed meanwhile: all of one, then.
        return schemas.RecommendationsBatch(answers)

    async def _answer_all(
        self, bodies: Sequence[schemas.RecommendBody], caller: Caller
    ) -> list[schemas.Recommendations]:
        answers: list[schemas.Recommendations | None] = [None] * len(bodies)
        generation = self._service.serving().generation()

        async def ask(index: int, one: schemas.RecommendBody) -> None:
            answer = await self._service.serving().ask(recommend_query(generation, one, f"requests.{index}."))
            answers[index] = shown_answer(answer, as_strings=caller.as_strings, explain=one.explain)

        await _gather([ask(index, one) for index, one in enumerate(bodies)])
        return [answer for answer in answers if answer is not None]

    async def similar(self, body: schemas.SimilarBody, caller: Caller) -> schemas.Recommendations:
        """Items near others."""
        query = similar_query(self._service.serving().generation(), body)
        return shown_answer(await self._service.serving().ask(query), as_strings=caller.as_strings)

    async def popular(self, body: schemas.PopularBody, caller: Caller) -> schemas.Recommendations:
        """What is popular."""
        return shown_answer(await self._service.serving().ask(Query(k=body.k)), as_strings=caller.as_strings)


async def _gather(calls: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Runs all to their end, then raises the first failure, if any; none is left running."""
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
