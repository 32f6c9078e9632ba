"""Filters, boosts, diversity, pages and vectors by the client against a real service; expected items by NumPy."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from tests.processes import until

from rowbank.errors import FilterNotFound, InvalidRequest
from rowbank.retrieval import Boost, Diversity, F, named


def test_pages_follow_each_other_without_repeats(served, retrieval):
    ids, _ = served.world.expected(served.world.user_vector(2), 12)
    first = retrieval.recommend(2, k=5)
    second = retrieval.recommend(2, k=5, cursor=first.next_cursor)
    assert [*first.ids, *second.ids] == ids[:10]
    assert retrieval.recommend(2, k=2, offset=10).ids == ids[10:]
    with pytest.raises(InvalidRequest, match="cursor"):
        retrieval.recommend(3, k=5, cursor=first.next_cursor)


def test_a_vector_is_asked_with_and_given(served, retrieval):
    """The user's vector, computed here or there, is the query of the personal answer."""
    vector = served.world.user_vector(6)
    answer = retrieval.recommend(vector=vector, k=6)
    assert (answer.ids, answer.source) == (retrieval.recommend(6, k=6).ids, "vector")


def test_filters_are_exact(served, retrieval):
    world = served.world
    shown = {item: world.features(int(item)) for item in world.items.tolist()}
    for written, passes in (
        (F("genres").any("War"), lambda one: "War" in one["genres"]),
        ((F("year") >= 1990) & ~(F("in_stock") == True), lambda one: one["year"] >= 1990 and not one["in_stock"]),  # noqa: E712
        ({"feature": "genres", "none": ["War"]}, lambda one: "War" not in one["genres"]),
        (
            F("year").between(1985, 1990) | (F("genres") == "Drama"),
            lambda one: 1985 <= one["year"] < 1990 or "Drama" in one["genres"],
        ),
    ):
        ids, _ = world.expected(
            world.user_vector(7), 10, exclude=[item for item, one in shown.items() if not passes(one)]
        )
        assert retrieval.recommend(7, k=len(ids), filter=written).ids == ids
        assert retrieval.similar(100, filter=written, k=40).ids
    with pytest.raises(InvalidRequest, match="genre"):
        retrieval.recommend(7, filter=F("genre") == "War")


def test_boosts_are_added_and_explained(served, retrieval):
    answer = retrieval.recommend(7, k=40, boosts=[Boost(F("genres").any("War"), 100.0, "war")], explain=True)
    for item in answer.items:
        boosted = "War" in served.world.features(int(item.id))["genres"]
        assert item.parts is not None
        assert item.parts.boosts == ({"war": 100.0} if boosted else {})
        assert item.score == pytest.approx(item.parts.dot * item.parts.logit_scale + 100.0 * boosted, abs=1e-4)


def test_explanations_say_where_it_came_from(retrieval):
    answer = retrieval.recommend(7, k=3, filter=F("genres").any("War"), exclude=[110], explain=True)
    assert answer.explanation is not None
    steps = [one.step for one in answer.explanation.candidates]
    assert steps[0] == "catalogue"
    assert "filter" in steps
    assert answer.explanation.index
    assert answer.timings_ms
    assert retrieval.recommend(7, k=3).explanation is None


def test_diversity_limits_equal_values(served, retrieval):
    answer = retrieval.recommend(7, k=6, diversity=Diversity("genres", 2))
    genres = Counter(genre for one in answer.ids for genre in served.world.features(int(one))["genres"])
    assert max(genres.values()) <= 2


def test_score_ranks_what_is_given(served, retrieval):
    ids, scores = served.world.expected(served.world.user_vector(4), 40)
    answer = retrieval.score([ids[5], ids[1], ids[5], 424242], user_id=4)
    assert [item.id for item in answer.items] == [ids[1], ids[5]]
    assert [item.score for item in answer.items] == pytest.approx([scores[1], scores[5]], abs=1e-5)
    assert [one.id for one in answer.unscored] == [424242]
    with pytest.raises(InvalidRequest, match="give one of user_id"):
        retrieval.score([100], 1, session=[100])


def test_embed_gives_the_towers_vectors(served, retrieval):
    users = retrieval.embed(user_ids=[3, 1, 424242])
    assert users.ids == (3, 1, 424242)
    assert np.allclose(users.vectors[:2], [served.world.user_vector(3), served.world.user_vector(1)], atol=1e-5)
    assert users.vectors.dtype == np.float32
    items = retrieval.embed(item_ids=served.world.items[:4])
    assert np.allclose(items.vectors, served.world.vectors(served.world.items[:4]), atol=1e-5)
    assert items.found.all()
    missing = retrieval.embed(item_ids=[100, 424242])
    assert missing.found.tolist() == [True, False]
    assert np.isnan(missing.vectors[1]).all()
    assert missing.reasons[1]


def test_filters_are_stored_named_and_removed(retrieval):
    """All processes know a change within a second."""
    retrieval.put_filter("war", F("genres").any("War"))
    assert [(one.name, one.filter.json) for one in retrieval.filters()] == [
        ("war", {"feature": "genres", "any": ["War"]})
    ]
    war, others = (retrieval.recommend(7, filter=one).ids for one in (F("genres").any("War"), F("genres").none("War")))
    until(lambda: retrieval.recommend(7, filter=named("war")).ids == war)
    retrieval.put_filter("war", F("genres").none("War"))
    until(lambda: retrieval.recommend(7, filter={"named": "war"}).ids == others)
    retrieval.delete_filter("war")
    assert retrieval.filters() == []
    with pytest.raises(FilterNotFound, match="war"):
        retrieval.delete_filter("war")
