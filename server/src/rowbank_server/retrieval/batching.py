"""Micro-batching without timers: what queued while the last batch ran goes next.

A lone query starts at once and waits for nobody; under load, batches grow by themselves up to the limit. A timer would
add its delay to every query at low load and still guess wrong at high load.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from rowbank.errors import InternalError, Overloaded, RequestError
from rowbank_server.retrieval.queries import Answer, Query

# Of queries and the time, by `time.monotonic`, when the first of them arrived.
Answers = Callable[[Sequence[Query], float], "list[Answer | RequestError]"]


class Batcher:
    """Collects queries of one event loop and answers them in a worker thread.

    Args:
        answer: answers a batch; runs in the thread.
        max_batch: the most queries in one batch.
        max_queue: the most queries that may wait; one more is refused at once.
        on_batch: told the size of each batch.
    """

    def __init__(
        self, answer: Answers, *, max_batch: int, max_queue: int, on_batch: Callable[[int], None] = lambda size: None
    ) -> None:
        self._answer = answer
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._on_batch = on_batch
        self._waiting: deque[tuple[Query, float, asyncio.Future[Answer]]] = deque()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="queries")
        self._running: asyncio.Task[None] | None = None

    async def ask(self, query: Query) -> Answer:
        """The answer to one query.

        Raises:
            Overloaded: too many queries wait.
            RequestError: what the answering of this query raised.
        """
        if len(self._waiting) >= self._max_queue:
            raise Overloaded(f"{self._max_queue} queries wait already (setting max_queue); try again in a moment")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((query, time.monotonic(), future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await future

    async def close(self) -> None:
        """Answers what waits, then ends the thread."""
        if self._running is not None:
            await self._running
        self._executor.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]
            batch = [(query, at, future) for query, at, future in batch if not future.cancelled()]
            if not batch:
                continue
            self._on_batch(len(batch))
            queries = [query for query, _, _ in batch]
            try:
                answers = await loop.run_in_executor(self._executor, self._answer, queries, batch[0][1])
            except RequestError as error:
                answers = [error] * len(batch)
            except Exception as error:
                defect = InternalError(f"a batch of queries failed ({type(error).__name__}); the log has the details")
                defect.__cause__ = error
                answers = [defect] * len(batch)
            for (_, _, future), answer in zip(batch, answers, strict=True):
                if future.cancelled():
                    continue
                if isinstance(answer, RequestError):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
