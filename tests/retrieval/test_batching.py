"""Micro-batching, without a timer and without a sleep."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from rowbank.errors import DeadlineExceeded, InternalError, InvalidRequest, NotReady, Overloaded, RequestError
from rowbank_server.retrieval.batching import Batcher
from rowbank_server.retrieval.queries import Answer, Query, Source
from rowbank_server.tenancy import note_peer


class Gate:
    """Answers batches one at a time, each only when it is let through."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.entered = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)

    def answer(self, queries: Sequence[Query], arrived_s: float) -> list[Answer | RequestError]:
        self.sizes.append(len(queries))
        self.entered.release()
        self.leave.acquire()
        return [
            InvalidRequest("k 13") if query.k == 13 else Answer([], Source.POPULAR, "v", str(query.k))
            for query in queries
        ]


def test_what_queued_meanwhile_goes_next_up_to_the_limit() -> None:
    async def run() -> None:
        gate = Gate()
        batcher = Batcher(gate.answer, max_batch=3, max_queue=5)
        first = asyncio.create_task(batcher.ask(Query(k=1)))
        await asyncio.to_thread(gate.entered.acquire)  # The first runs alone and at once.
        waiting = [asyncio.create_task(batcher.ask(Query(k=k))) for k in (2, 13, 4, 5, 6)]
        await asyncio.sleep(0)  # They queue.
        with pytest.raises(Overloaded, match="5 queries wait already"):
            await batcher.ask(Query(k=7))
        waiting[3].cancel()  # A caller that went away is not answered, and not waited for.
        gate.leave.release(3)
        assert (await first).index_version == "1"
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [a.index_version for a in answers if isinstance(a, Answer)] == ["2", "4", "6"]
        assert isinstance(answers[1], InvalidRequest)
        assert isinstance(answers[3], asyncio.CancelledError)
        assert gate.sizes == [1, 3, 1]
        await batcher.close()

    asyncio.run(run())


def test_on_one_core_who_asks_again_is_in_the_next_batch() -> None:
    """Two callers wait while two others are answered, who ask again as soon as they are."""

    async def sizes(*, one_core: bool) -> list[int]:
        gate = Gate()
        batcher = Batcher(gate.answer, max_batch=8, max_queue=8, one_core=one_core)

        async def twice(k: int) -> None:
            assert (await batcher.ask(Query(k=k))).index_version == str(k)
            assert (await batcher.ask(Query(k=k + 1))).index_version == str(k + 1)

        first = [asyncio.create_task(twice(k)) for k in (1, 3)]
        await asyncio.to_thread(gate.entered.acquire)
        waiting = [asyncio.create_task(batcher.ask(Query(k=k))) for k in (5, 6)]
        await asyncio.sleep(0)  # They queue.
        gate.leave.release(3)
        await asyncio.gather(*first, *waiting)
        await batcher.close()
        return gate.sizes

    assert asyncio.run(sizes(one_core=True)) == [2, 4]
    assert asyncio.run(sizes(one_core=False)) == [2, 2, 2]


@pytest.mark.parametrize(
    ("raised", "expected"), [(NotReady("no model"), NotReady), (KeyError("defect"), InternalError)]
)
def test_a_failed_batch_fails_each_query_and_not_the_next(raised: Exception, expected: type[Exception]) -> None:
    failures = [raised]

    def answer(queries: Sequence[Query], arrived_s: float) -> list[Answer | RequestError]:
        if failures:
            raise failures.pop()
        return [Answer([], Source.POPULAR, "v", "i") for _ in queries]

    async def run() -> None:
        batcher = Batcher(answer, max_batch=8, max_queue=8)
        with pytest.raises(expected):
            await batcher.ask(Query())
        assert (await batcher.ask(Query())).index_version == "i"
        await batcher.close()

    asyncio.run(run())


def test_what_nobody_waits_for_is_left_undone() -> None:
    """Queries whose deadline passes, or whose callers go away, while others are answered."""

    async def run() -> None:
        gate, dropped = Gate(), list[str]()
        batcher = Batcher(gate.answer, max_batch=5, max_queue=3, on_drop=dropped.append)
        first = asyncio.create_task(batcher.ask(Query(k=1)))
        await asyncio.to_thread(gate.entered.acquire)
        is_gone = asyncio.Event()
        late = asyncio.create_task(batcher.ask(Query(k=2, deadline_s=time.monotonic() + 0.01)))
        gone = asyncio.create_task(batcher.ask(Query(k=3), is_gone.is_set))
        there = asyncio.create_task(batcher.ask(Query(k=4, deadline_s=time.monotonic() + 600), lambda: False))
        with pytest.raises(DeadlineExceeded, match="the deadline passed before the query was answered"):
            await late  # While the first is still being answered.
        is_gone.set()
        with pytest.raises(Overloaded):
            await batcher.ask(Query(k=5))
        gate.leave.release()
        gate.leave.release()
        assert (await first).index_version == "1"
        assert (await there).index_version == "4"
        with pytest.raises(DeadlineExceeded, match="the caller went away"):
            await gone
        assert gate.sizes == [1, 1]
        assert dropped == ["deadline", "overloaded", "gone"]
        await batcher.close()

    asyncio.run(run())


def test_a_deadline_that_passes_in_the_queue_is_never_begun() -> None:
    async def run() -> None:
        gate = Gate()
        batcher = Batcher(gate.answer, max_batch=5, max_queue=3)
        gate.leave.release()
        with pytest.raises(DeadlineExceeded):
            await batcher.ask(Query(k=1, deadline_s=time.monotonic() - 1))
        assert gate.sizes == []
        await batcher.close()

    asyncio.run(run())


def test_a_caller_that_fills_the_queue_keeps_no_other_out() -> None:
    async def ask(batcher: Batcher, peer: str, k: int) -> Answer:
        note_peer(peer)  # Of this task alone.
        return await batcher.ask(Query(k=k))

    async def run() -> None:
        gate, dropped = Gate(), list[str]()
        batcher = Batcher(gate.answer, max_batch=1, max_queue=4, on_drop=dropped.append)
        first = asyncio.create_task(ask(batcher, "ipv4:10.0.0.1:1", 1))
        await asyncio.to_thread(gate.entered.acquire)
        flood = [asyncio.create_task(ask(batcher, f"ipv4:10.0.0.1:{k}", k)) for k in (2, 3, 4, 5)]
        await asyncio.sleep(0)
        quiet = asyncio.create_task(ask(batcher, "ipv4:10.0.0.2:1", 6))
        with pytest.raises(Overloaded, match="4 queries wait already") as refused:
            await flood[3]  # The last one of who has most.
        assert float(refused.value.metadata["retry_after_s"]) > 0
        with pytest.raises(Overloaded):
            await asyncio.create_task(ask(batcher, "ipv4:10.0.0.1:9", 9))
        gate.leave.release(2)
        await first
        await asyncio.to_thread(gate.entered.acquire)
        assert (await quiet).index_version == "6"  # Before the three that came before it, as the flood had its turn.
        gate.leave.release(3)
        assert [(await one).index_version for one in flood[:3]] == ["2", "3", "4"]
        assert dropped == ["overloaded", "overloaded"]
        await batcher.close()

    asyncio.run(run())
