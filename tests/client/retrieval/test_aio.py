"""The client that is awaited answers as the blocking one does."""

from __future__ import annotations

import asyncio
import os

import pytest
from tests.client.retrieval.conftest import free_port

from rowbank import AsyncRetrievalClient
from rowbank.errors import ClientClosed, InvalidRequest, NotReady, ServiceUnavailable


def test_tasks_share_a_client(served):
    expected = {user: served.world.expected(served.world.user_vector(user), 5)[0] for user in range(1, 13)}

    async def ask() -> list[list[int | str]]:
        async with AsyncRetrievalClient(served.target, timeout_s=60) as client:
            answers = await asyncio.gather(*(client.recommend(user, k=5) for user in expected))
            return [answer.ids for answer in answers]

    assert asyncio.run(ask()) == list(expected.values())


def test_a_client_goes_from_one_loop_to_the_next(served):
    client = AsyncRetrievalClient(served.target, timeout_s=60)
    first = asyncio.run(client.recommend(1))
    assert asyncio.run(client.recommend(1)).ids == first.ids

    async def close() -> None:
        await client.recommend(1)
        await client.close()
        await client.close()
        with pytest.raises(ClientClosed):
            await client.recommend(1)

    asyncio.run(close())


def test_it_is_refused_in_two_loops_at_once(served):
    client = AsyncRetrievalClient(served.target, timeout_s=60)

    async def ask() -> None:
        await client.recommend(1)
        with pytest.raises(InvalidRequest, match="another event loop"):
            await asyncio.to_thread(lambda: asyncio.run(client.recommend(1)))
        await client.close()

    asyncio.run(ask())


def test_errors_are_those_of_the_blocking_client(served):
    async def ask() -> None:
        async with AsyncRetrievalClient([f"127.0.0.1:{free_port()}", served.target], timeout_s=60) as client:
            with pytest.raises(InvalidRequest, match="user ids of model 'two_tower' v1 are integers") as caught:
                await client.recommend("anna")
            assert type(caught.value) is InvalidRequest
            assert len((await client.recommend(1, k=3)).items) == 3
        async with AsyncRetrievalClient(f"127.0.0.1:{free_port()}", timeout_s=0.3) as client:
            with pytest.raises(ServiceUnavailable, match="connection refused"):
                await client.recommend(1)

    asyncio.run(ask())


def test_a_cancelled_task_is_cancelled(served):
    async def ask() -> None:
        async with AsyncRetrievalClient(f"127.0.0.1:{free_port()}", timeout_s=600) as client:
            asking = asyncio.create_task(client.recommend(1))
            await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

    asyncio.run(ask())


def test_a_forked_child_is_told_what_works(served, retrieval):
    retrieval.recommend(1)  # So that gRPC has run here.
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(AsyncRetrievalClient(served.target).recommend(1))
        except InvalidRequest as error:
            os._exit(0 if "RetrievalClient" in error.message else 2)
        except BaseException:
            os._exit(3)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert NotReady.retryable
