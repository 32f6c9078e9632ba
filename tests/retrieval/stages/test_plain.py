"""Plain queries, whose answers are made for the batch: the same ones as each of them gets among others."""

from __future__ import annotations

import numpy as np
import pytest
from tests.retrieval.stages.test_search import BOOSTS, FILTERS, Shop
from tests.retrieval.test_segments import DIM

from rowbank_server.retrieval.filters.words import Diversity
from rowbank_server.retrieval.queries import Query
from rowbank_server.retrieval.stages.plain import are_plain, plain_answers
from rowbank_server.retrieval.stages.starting import start
from rowbank_server.retrieval.stages.work import Work

VECTOR = (1.0, -1.0, 2.0, 0.0)


def works(shop: Shop, queries: list[Query]) -> list[Work]:
    started = [start(shop.generation, query, lambda given: given, 0.0) for query in queries]
    return [one for one in started if isinstance(one, Work)]


@pytest.mark.parametrize("scale", [2.0, -0.5])
def test_answers_are_those_of_the_judge(scale: float) -> None:
    """Of several sizes, over parts of a changed catalogue; and those of a batch that has another query, too."""
    rng, shop = np.random.default_rng(11), Shop(3, logit_scale=scale)
    queries = [
        Query(vector=tuple(float(x) for x in rng.integers(-2, 3, DIM)), k=int(rng.integers(1, 60))) for _ in range(40)
    ]
    batch = works(shop, queries)
    assert are_plain(batch)
    made = plain_answers(shop.generation, batch)
    assert made is not None
    for query, answer in zip(queries, made, strict=True):
        every = shop.expected(query, FILTERS[0][1])
        assert [(item.item_id, item.score) for item in answer.items] == every[: query.k]
        assert answer.more
    assert shop.answers(queries) == made
    assert shop.answers([*queries, Query(k=3)])[:-1] == made


@pytest.mark.parametrize("shown", [0, 1])
def test_where_there_are_no_more(shown: int) -> None:
    """A query that wants all that have a vector, or more, is filled up; one that wants one less knows of one more."""
    shop = Shop(4)
    count = shop.generation.indexed_count
    some = works(shop, [Query(vector=VECTOR, k=count - shown)])
    assert (plain_answers(shop.generation, some) is None) == (shown == 0)
    answer = shop.answers([Query(vector=VECTOR, k=count - shown)])[0]
    assert [item.item_id for item in answer.items] == [
        i for i, _ in shop.expected(Query(vector=VECTOR), FILTERS[0][1])[: count - shown]
    ]
    assert answer.more


@pytest.mark.parametrize(
    "query",
    [
        Query(),
        Query(vector=VECTOR, filter=FILTERS[1][0]),
        Query(vector=VECTOR, boosts=BOOSTS),
        Query(vector=VECTOR, offset=1),
        Query(vector=VECTOR, exclude=(1,)),
        Query(vector=VECTOR, shown=(1,)),
        Query(vector=VECTOR, exclude_seen=True, items=(1,)),
        Query(vector=VECTOR, min_score=1.0),
        Query(vector=VECTOR, diversity=Diversity("brand", 1)),
        Query(vector=VECTOR, candidates=(1,)),
        Query(vector=VECTOR, explain=True),
    ],
)
def test_others_are_not_plain(query: Query) -> None:
    """Whatever a plain query has not."""
    shop = Shop(5)
    assert are_plain(works(shop, [Query(vector=VECTOR)]))
    assert not are_plain(works(shop, [Query(vector=VECTOR), query]))


def test_nobody_is_not_plain() -> None:
    """An empty batch has no answers to make."""
    assert not are_plain([])
