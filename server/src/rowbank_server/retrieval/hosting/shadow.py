"""A version that is asked what users ask, in the background, and whose answers are only compared."""

from __future__ import annotations

import asyncio
import time

import msgspec

from rowbank.errors import RequestError
from rowbank_server.retrieval.hosting.serving import Serving
from rowbank_server.retrieval.queries import Answer, Query
from rowbank_server.retrieval.version_metrics import VersionMetrics

# Queries that the shadow has at once. One more is left out: whoever is served has the machine first.
_MOST = 8


class Shadow:
    """Compares a version with what users get. Never waits, and never fails its caller. For the event loop.

    Attributes:
        ended: it is a shadow no more; what it is still asked is not counted.
    """

    def __init__(self, model: str, serving: Serving, metrics: VersionMetrics) -> None:
        self.serving = serving
        self.ended = False
        self._model = model
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(self, query: Query, answer: Answer) -> None:
        """Asks the same, unless enough is being asked already."""
        if len(self._tasks) >= _MOST:
            self._metrics.shadow_ended(self._model, self.serving.version, "dropped")
            return
        task = asyncio.get_running_loop().create_task(self._compare(query, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _compare(self, query: Query, answer: Answer) -> None:
        started = time.perf_counter()
        version = self.serving.version
        try:
            other = await self.serving.ask_aside(msgspec.structs.replace(query, deadline_s=None, explain=False))
        except RequestError:
            if self.ended:
                return
            self._metrics.shadow_ended(self._model, version, "failed")
            return
        if self.ended:
            return
        took_s = time.perf_counter() - started
        same, difference = overlap(answer, other), top_difference(answer, other)
        self._metrics.shadow_compared(self._model, version, took_s, same, difference)


def overlap(answer: Answer, other: Answer) -> float:
    """Which part of the items of an answer another one has, too: 1 for two that have none."""
    items = {found.item_id for found in answer.items}
    if not items:
        return 1.0 if not other.items else 0.0
    return len(items & {found.item_id for found in other.items}) / len(items)


def top_difference(answer: Answer, other: Answer) -> float | None:
    """How far the best scores of two answers are from each other; None where one of them has no score."""
    before, after = (one.items[0].score if one.items else None for one in (answer, other))
    return None if before is None or after is None else abs(after - before)
