"""Questions of the client against a real service; expected items and scores by NumPy."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import rowbank
from rowbank.errors import InvalidRequest
from rowbank.retrieval import (
    AsyncRetrievalClient,
    F,
    RecommendQuery,
    RetrievalClient,
    aio,
    client,
)


def test_recommends_what_numpy_ranks_first(served, retrieval):
    for user in (1, 5, 12):
        ids, scores = served.world.expected(served.world.user_vector(user), 7)
        answer = retrieval.recommend(user, k=7)
        assert answer.ids == ids
        assert [item.rank for item in answer.items] == list(range(1, 8))
        assert np.allclose([item.score for item in answer.items], scores, atol=1e-5)
        assert answer.items[0].title == served.world.title(ids[0])
        assert (answer.source, answer.degraded, answer.model_version) == ("personal", (), "v1")


def test_leaves_out_what_was_seen_and_what_is_excluded(served, retrieval):
    history = served.world.histories[4]
    ids, _ = served.world.expected(served.world.user_vector(4), 5, exclude=[*history, 110])
    assert retrieval.recommend(4, k=5, exclude_seen=True, exclude=np.array([110])).ids == ids


def test_recommends_near_a_session(served, retrieval):
    vectors = served.world.vectors([100, 101]).mean(axis=0)
    ids, _ = served.world.expected(vectors, 5, exclude=[100, 101])
    answer = retrieval.recommend(session=[100, 101], k=5, exclude_seen=True)
    assert (answer.ids, answer.source) == (ids, "session")
    assert retrieval.similar([100, 101], k=5).ids == ids


def test_similar_takes_one_item_alone(served, retrieval):
    ids, _ = served.world.expected(served.world.vectors([105])[0], 3, exclude=[105])
    assert retrieval.similar(105, k=3).ids == ids == retrieval.similar(np.int64(105), k=3).ids


def test_a_batch_is_answered_in_order(retrieval):
    users = [5, 1, 9]
    answers = retrieval.recommend_batch([RecommendQuery(user_id=user, k=user) for user in users])
    assert [answer.ids for answer in answers] == [retrieval.recommend(user, k=user).ids for user in users]
    assert retrieval.recommend_batch([]) == []
    with pytest.raises(InvalidRequest, match=r"queries.1: k: expected an integer of at least 1, got 0"):
        retrieval.recommend_batch([RecommendQuery(user_id=1), RecommendQuery(user_id=1, k=0)])
    with pytest.raises(InvalidRequest, match=r"queries: expected a list of rowbank.retrieval.RecommendQuery, got None"):
        retrieval.recommend_batch(None)
    with pytest.raises(InvalidRequest, match=r"session: expected a list of ids, got None"):
        retrieval.score([100], session=None)
    with pytest.raises(InvalidRequest, match=r"queries.0: expected a rowbank.retrieval.RecommendQuery"):
        retrieval.recommend_batch([{"user_id": 1}])


def test_popular_counts_histories(served, retrieval):
    """User u has seen the first u items."""
    answer = retrieval.popular(k=3, exclude=[101])
    assert answer.ids == [100, 102, 103]
    assert answer.items[0].score >= len(served.world.users)  # Other tests write histories, too.
    assert (
        retrieval.popular(k=2, filter=F("genres").any("War")).ids
        == [item for item in served.world.items.tolist() if "War" in served.world.features(item)["genres"]][:2]
    )


def test_numpy_integers_are_ids(retrieval):
    assert retrieval.recommend(np.int64(3), k=np.int32(2)).ids == retrieval.recommend(3, k=2).ids


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"user_id": True}, "user_id: expected an integer of 64 bits or a text, got True"),
        ({"user_id": 2**63}, "user_id: expected an integer of 64 bits or a text"),
        ({"user_id": 1.5}, "user_id: expected"),
        ({"user_id": ""}, "user_id: expected"),
        ({"user_id": 1, "k": 0}, "k: expected an integer of at least 1, got 0"),
        ({"user_id": 1, "k": 2**40}, "k: expected an integer of at most"),
        ({"user_id": 1, "session": [1]}, "give one of user_id, session and vector"),
        ({"session": "100"}, "session: expected a list of ids, got '100'"),
        ({"session": [100, None]}, r"session.1: expected"),
        ({"vector": [1.0, float("nan")]}, "vector: expected numbers that are finite"),
        ({"vector": [[1.0]]}, r"vector: expected one row of numbers, got an array of shape \(1, 1\)"),
        ({"vector": "abc"}, "vector: expected an array of numbers"),
        ({"user_id": 1, "exclude": 5}, "exclude: expected a list of ids, got 5"),
        ({"user_id": 1, "exclude_seen": "click"}, "exclude_seen: expected a list of kinds"),
        ({"user_id": 1, "exclude_seen": []}, "exclude_seen: expected at least one kind"),
        ({"user_id": 1, "min_score": float("nan")}, "min_score: expected a finite number"),
        ({"user_id": 1, "boosts": [{"add": 1}]}, "boosts.0: expected a rowbank.retrieval.Boost"),
        ({"user_id": 1, "boosts": F("year") >= 1}, "boosts: expected a list of rowbank.retrieval.Boost"),
        ({"session": None}, "session: expected a list of ids, got None"),
        ({"user_id": 1, "diversity": {"feature": "a"}}, "diversity: expected a rowbank.retrieval.Diversity"),
        ({"user_id": 1, "filter": "genres"}, "filter: expected a filter"),
        ({"user_id": 1, "features": [1]}, "features: expected features by name"),
        ({"user_id": 1, "features": {"x": [1, "a"]}}, "features.x: expected texts alone or numbers alone"),
        ({"user_id": 1, "features": {"x": object()}}, "features.x: expected a text"),
        ({"user_id": 1, "features": {"x": "\ud800"}}, "features.x: expected a text that UTF-8 can hold"),
        ({"user_id": 1, "model": None}, "model: expected a text, got None"),
        ({"user_id": 1, "timeout_s": 0}, "timeout_s: expected seconds above 0"),
    ],
)
def test_wrong_arguments_are_refused_in_words(retrieval, arguments, said):
    with pytest.raises(InvalidRequest, match=said):
        retrieval.recommend(**arguments)


def test_the_service_says_what_only_it_knows(retrieval):
    with pytest.raises(InvalidRequest, match=r"the user ids of model 'two_tower' v1 are integers"):
        retrieval.recommend("anna")
    with pytest.raises(InvalidRequest, match="give"):
        retrieval.recommend()


def test_both_clients_have_the_same_calls():
    """With the arguments of the functions that describe them, and documentation of their own."""
    names = {name for name in vars(RetrievalClient) if not name.startswith("_")} - {"targets", "close", "renew"}
    assert names == {name for name in vars(AsyncRetrievalClient) if not name.startswith("_")} - {"targets", "close"}
    for name in names:
        method = getattr(RetrievalClient, name)
        assert method.__doc__ == getattr(AsyncRetrievalClient, name).__doc__
        signature = inspect.signature(method)
        assert next(iter(signature.parameters)) == "self"
        assert "timeout_s" in signature.parameters
        assert "Call" not in str(signature.return_annotation)
    assert rowbank.RetrievalClient is client.RetrievalClient
    assert rowbank.AsyncRetrievalClient is aio.AsyncRetrievalClient
