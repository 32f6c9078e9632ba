"""The blocking client: addresses, threads, forks, pickles."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from concurrent import futures

import pytest

from rowbank import RetrievalClient
from rowbank.errors import ClientClosed, InvalidRequest


def test_addresses_are_those_of_the_argument_or_the_variable_or_the_default(monkeypatch):
    monkeypatch.delenv("ROWBANK_RETRIEVAL", raising=False)
    assert RetrievalClient().targets == ["127.0.0.1:7781"]
    monkeypatch.setenv("ROWBANK_RETRIEVAL", "a,b:7,[::1]")
    assert RetrievalClient().targets == ["a:7781", "b:7", "[::1]:7781"]
    assert RetrievalClient("c").targets == ["c:7781"]
    monkeypatch.setenv("ROWBANK_RETRIEVAL", "http://a:7780")
    with pytest.raises(InvalidRequest, match=r"variable ROWBANK_RETRIEVAL: expected HOST:PORT.*leave out http://"):
        RetrievalClient()


@pytest.mark.parametrize("targets", ["", ",", [], ["a", "a:7781"], 5, "a:99999"])
def test_wrong_addresses_are_refused(targets):
    with pytest.raises(InvalidRequest, match="targets: expected"):
        RetrievalClient(targets)


def test_threads_share_a_client(served, retrieval):
    expected = {user: served.world.expected(served.world.user_vector(user), 5)[0] for user in range(1, 13)}
    with futures.ThreadPoolExecutor(8) as pool:
        asked = [user for _ in range(10) for user in expected]
        answers = list(pool.map(lambda user: retrieval.recommend(user, k=5).ids, asked))
    assert answers == [expected[user] for user in asked]


def test_a_pickle_is_another_client_of_the_same_service(retrieval):
    with pickle.loads(pickle.dumps(retrieval)) as other:
        assert other.targets == retrieval.targets
        assert other.recommend(1).ids == retrieval.recommend(1).ids


def test_a_forked_child_goes_on(served, retrieval):
    """gRPC ran in the parent, so the child's calls go through a process of their own."""
    expected = retrieval.recommend(2, k=3).ids
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def ask() -> None:
        answers.put((os.getpid(), retrieval.recommend(2, k=3).ids))

    child = context.Process(target=ask)
    child.start()
    child.join(120)
    assert child.exitcode == 0
    assert answers.get() == (child.pid, expected)
    assert retrieval.recommend(2, k=3).ids == expected


def test_a_closed_client_is_closed_in_a_forked_child(served):
    client = RetrievalClient(served.target)
    client.close()
    child = os.fork()
    if child == 0:
        try:
            client.recommend(1)
        except ClientClosed:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
