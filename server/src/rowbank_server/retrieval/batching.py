"""Micro-batching without timers: what queued while the last batch ran goes next.

A lone query starts at once and waits for nobody; under load, batches grow by themselves up to the limit. A timer would
add its delay to every query at low load and still guess wrong at high load.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

from rowbank import tracing
from rowbank.errors import DeadlineExceeded, InternalError, Overloaded, RequestError
from rowbank_server.fairness import FairQueue, Flow
from rowbank_server.retrieval.queries import Answer, Query
from rowbank_server.tenancy import tenant

# Of queries and the time, by `time.monotonic`, when the first of them arrived.
Answers = Callable[[Sequence[Query], float], "list[Answer | RequestError]"]
_SOONEST_S, _LATEST_S = 0.05, 5.0
_SMOOTHING = 0.1
_TURNS = 3  # Of the event loop: answers are written, requests are read, and their queries enter.
_LATE = "the deadline passed before the query was answered, which was then left undone"


def _is_there() -> bool:
    return False


class Place(Protocol):
    """Where the answer to one query goes, on the event loop. A future is one."""

    def done(self) -> bool:
        """Whether nothing is waited for any more."""

    def set_result(self, answer: Answer, /) -> None:
        """The answer. Raises nothing."""

    def set_exception(self, error: BaseException, /) -> None:
        """Why there is none. Raises nothing."""


class _Waiting(NamedTuple):
    """A query in the queue."""

    query: Query
    arrived_s: float
    arrived_ns: int
    is_gone: Callable[[], bool]
    place: Place
    origin: tracing.Origin


class _Begun(NamedTuple):
    """A query that is being answered, and what its caller was charged for it."""

    waiting: _Waiting
    flow: Flow
    charged: float


class Batcher:
    """Collects queries of one event loop and answers them in a worker thread.

    Callers take turns, however many queries each of them has in the queue. A query whose deadline has passed, or whose
    caller is gone, when its turn comes is dropped without being answered.

    Args:
        answer: answers a batch; runs in the thread.
        max_batch: the most queries in one batch.
        max_queue: the most queries that may wait; one more is refused at once, or instead of it the last one of who has
            more of them there.
        on_batch: told the size of each batch.
        on_drop: told why a query is not answered: "overloaded", "deadline" or "gone".
        one_core: the process has no other: the answers of a batch are written before the next one begins, which then
            has who asks again, too. A larger batch costs less for each query.
    """

    def __init__(
        self,
        answer: Answers,
        *,
        max_batch: int,
        max_queue: int,
        on_batch: Callable[[int], None] = lambda size: None,
        on_drop: Callable[[str], None] = lambda reason: None,
        one_core: bool = False,
    ) -> None:
        self._answer = answer
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._on_batch = on_batch
        self._on_drop = on_drop
        self._waiting: FairQueue[_Waiting] = FairQueue({})
        self._usual_s = 0.0  # What a query takes, about.
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="queries")
        self._running: asyncio.Task[None] | None = None
        self._one_core = one_core

    async def ask(self, query: Query, is_gone: Callable[[], bool] = _is_there) -> Answer:
        """The answer to one query.

        Args:
            is_gone: whether nobody waits for it any more.
        Raises:
            Overloaded: too many queries wait.
            DeadlineExceeded: the query's deadline passed first.
            RequestError: what the answering of this query raised.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self.enter(query, future, tenant(), is_gone)
        if query.deadline_s is None:
            return await future
        timer = loop.call_later(query.deadline_s - time.monotonic(), self._give_up, future)
        try:
            return await future
        finally:
            timer.cancel()

    def enter(self, query: Query, place: Place, caller: str, is_gone: Callable[[], bool] = _is_there) -> None:
        """Puts a query in line. It is answered on the event loop, from which this has to be called.

        Args:
            place: where the answer goes; a deadline of the query is looked at only when its turn comes.
            caller: whose turn it takes.
        Raises:
            Overloaded: too many queries wait.
        """
        flow = Flow(caller, ())
        self._require_room(flow)
        self._waiting.enter(flow)
        self._waiting.wait(flow, _Waiting(query, time.monotonic(), time.time_ns(), is_gone, place, tracing.origin()))
        if self._running is None or self._running.done():
            # The first query's context is not that of the batches that come after it.
            self._running = contextvars.Context().run(asyncio.get_running_loop().create_task, self._run())

    def _require_room(self, flow: Flow) -> None:
        """Raises Overloaded where the queue is full, unless another caller has more in it: then its last query goes."""
        if len(self._waiting) < self._max_queue:
            return
        enough = self._waiting.waiting(flow) + 1
        longest = self._waiting.longest() if self._waiting.at_most() > enough else flow
        if self._waiting.waiting(longest) <= enough:
            self._on_drop("overloaded")
            raise self._overloaded()
        last = self._waiting.give_up_last(longest)
        if not last.place.done():
            self._on_drop("overloaded")
            last.place.set_exception(self._overloaded())

    def _overloaded(self) -> Overloaded:
        after_s = min(max(len(self._waiting) * self._usual_s, _SOONEST_S), _LATEST_S)
        return Overloaded(
            f"{self._max_queue} queries wait already (setting max_queue); try again in a moment",
            metadata={"retry_after_s": f"{after_s:.3g}"},
        )

    def _give_up(self, place: Place) -> None:
        if not place.done():
            self._on_drop("deadline")
            place.set_exception(DeadlineExceeded(_LATE))

    async def close(self) -> None:
        """Answers what waits, then ends the thread."""
        if self._running is not None:
            await self._running
        self._executor.shutdown()

    def _next(self) -> list[_Begun]:
        """The next batch, without those that nobody waits for any more."""
        batch: list[_Begun] = []
        now = time.monotonic()
        while len(batch) < self._max_batch:
            found = self._waiting.next()
            if found is None:
                break
            flow, one = found
            begun = _Begun(one, flow, self._waiting.begin(flow))
            if not self._is_awaited(one, now):
                self._waiting.end(flow, begun.charged, 0.0)
            else:
                batch.append(begun)
        return batch

    def _is_awaited(self, one: _Waiting, now: float) -> bool:
        """Whether somebody still waits; who does not is told why."""
        if one.place.done():
            return False
        if one.query.deadline_s is not None and one.query.deadline_s <= now:
            self._give_up(one.place)
            return False
        if one.is_gone():
            self._on_drop("gone")
            one.place.set_exception(DeadlineExceeded("the caller went away before the query was answered"))
            return False
        return True

    def _answer_traced(self, batch: Sequence[_Waiting]) -> list[Answer | RequestError]:
        now_ns = time.time_ns()
        for one in batch:
            tracing.past("query.queue", one.origin, one.arrived_ns, now_ns)
        with tracing.joined("query.batch", [one.origin for one in batch]) as span:
            span.note({"rowbank.batch_size": len(batch)})
            return self._answer([one.query for one in batch], min(one.arrived_s for one in batch))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while len(self._waiting):
            begun = self._next()
            if not begun:
                continue
            batch = [one.waiting for one in begun]
            self._on_batch(len(batch))
            started = time.monotonic()
            try:
                answers = await loop.run_in_executor(self._executor, self._answer_traced, batch)
            except RequestError as error:
                answers = [error] * len(batch)
            except Exception as error:
                defect = InternalError(f"a batch of queries failed ({type(error).__name__}); the log has the details")
                defect.__cause__ = error
                answers = [defect] * len(batch)
            self._settle(begun, time.monotonic() - started)
            for one, answer in zip(batch, answers, strict=True):
                if one.place.done():
                    continue
                if isinstance(answer, RequestError):
                    one.place.set_exception(answer)
                else:
                    one.place.set_result(answer)
            if self._one_core:  # A batch beside the writing of answers would only take turns with it.
                for _ in range(_TURNS):
                    await asyncio.sleep(0)

    def _settle(self, begun: list[_Begun], took_s: float) -> None:
        each_s = took_s / len(begun)
        self._usual_s += _SMOOTHING * (each_s - self._usual_s)
        for one in begun:
            self._waiting.end(one.flow, one.charged, each_s)
