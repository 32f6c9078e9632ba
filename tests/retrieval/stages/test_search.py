"""Answers over parts of a catalogue that was changed, against a plain judge that ranks every item in Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from tests.retrieval.test_segments import DIM, Known, made, one

from rowbank_protos.v1 import models_pb2
from rowbank_server.registry.model import Model
from rowbank_server.retrieval.catalogue.growth import Stock
from rowbank_server.retrieval.filters.words import (
    And,
    AnyOf,
    Boost,
    Condition,
    Diversity,
    Exists,
    Filter,
    Not,
    Range,
)
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.index import ExactIndex
from rowbank_server.retrieval.parts import Counts
from rowbank_server.retrieval.queries import Answer, Popularity, Query, Source
from rowbank_server.retrieval.segments import Segment
from rowbank_server.retrieval.stages.search import Search
from rowbank_server.retrieval.stages.starting import start
from rowbank_server.retrieval.stages.work import Work

Passes = Callable[[dict[str, Any]], bool]
# A year is 1999 where an item has none; genres and brand have no default.
FILTERS: list[tuple[Filter | None, Passes]] = [
    (None, lambda item: True),
    (Condition("genres", AnyOf(("Drama", ""))), lambda item: bool({"Drama", ""} & set(item.get("genres", ())))),
    (Condition("year", Range(gte=1999, lt=2000)), lambda item: item.get("year", 1999) == 1999),
    (Not(Condition("brand", Exists(True))), lambda item: "brand" not in item),
    (
        And((Condition("brand", AnyOf(("bb",))), Condition("genres", AnyOf(("War",))))),
        lambda item: item.get("brand") == "bb" and "War" in item.get("genres", ()),
    ),
    (Condition("brand", AnyOf(("no such",))), lambda item: False),
]
BOOSTS = (
    Boost(Condition("brand", AnyOf(("a",))), 2.5, "own"),
    Boost(Condition("genres", AnyOf(("War",))), -1.0, "war"),
)


def boosted(item: dict[str, Any]) -> float:
    return 2.5 * (item.get("brand") == "a") - 1.0 * ("War" in item.get("genres", ()))


class Shop:
    """A catalogue in a base, a sealed and a fresh part, with items changed and removed since."""

    def __init__(self, seed: int, *, logit_scale: float = 2.0, items: int = 300) -> None:
        rng = np.random.default_rng(seed)
        self.known: Known = {int(i): one(rng) for i in rng.permutation(items * 2)[:items]}
        self.counts = {i: int(rng.integers(0, 4)) for i in self.known}
        base = made(self.known)
        self.stock = Stock.of(Segment.of(base, ExactIndex(base.vectors)), Counts.of(self.counts))
        for step in range(3):
            touched = rng.permutation(items * 2)[:60]
            for i in touched.tolist():
                if rng.random() < 0.3:
                    self.known.pop(i, None)
                else:
                    self.known[i] = one(rng)
            changed = made({i: self.known[i] for i in touched.tolist() if i in self.known})
            limit = 10 if step == 0 else 4096
            self.stock = self.stock.take_in(np.sort(touched), changed, ExactIndex, fresh_limit=limit)
        self.scale = logit_scale
        model = object.__new__(Model)
        manifest = models_pb2.ModelManifest(name="shop", version="v1", vector_dim=DIM, logit_scale=logit_scale)
        object.__setattr__(model, "manifest", manifest)
        self.generation = Generation(model, "v1.1", self.stock.parts, {})

    def answers(self, queries: Sequence[Query], trends: Any = None) -> list[Answer]:
        batch = [start(self.generation, query, lambda given: given, 0.0) for query in queries]
        works = [work for work in batch if isinstance(work, Work)]
        assert len(works) == len(queries)
        answers = [answer for answer in Search(self.generation, trends).answers(works) if isinstance(answer, Answer)]
        assert len(answers) == len(queries)
        return answers

    def expected(self, query: Query, passes: Passes) -> list[tuple[int, float | None]]:
        """The items of the answer and those after them, as the documentation says."""
        out = {*query.exclude, *query.shown}
        counts: Counter[Any] = Counter()
        if query.diversity is not None:
            for i in filter(self.known.__contains__, query.shown):
                counts.update(values(self.known[i], query.diversity.feature))
        popular = sorted(
            (i for i, item in self.known.items() if passes(item) and i not in out),
            key=lambda i: (-self.counts.get(i, 0), i),
        )
        if query.vector is None:
            ranked: list[tuple[int, float | None]] = [(i, float(self.counts.get(i, 0))) for i in popular]
        else:
            scores = {
                i: self.scale * float(np.dot(self.known[i]["vector"], query.vector))
                + (boosted(self.known[i]) if query.boosts else 0.0)
                for i in popular
                if not self.known[i].get("lost")
            }
            ranked = [(i, scores[i]) for i in sorted(scores, key=lambda i: (-scores[i], i))]
            if query.min_score is None:
                ranked += [(i, None) for i in popular if i not in scores]
        if query.min_score is not None:
            ranked = [(i, score) for i, score in ranked if score is None or score >= query.min_score]
        return [pair for pair in ranked if self._fits(query.diversity, pair[0], counts)]

    def _fits(self, diversity: Diversity | None, item: int, counts: Counter[Any]) -> bool:
        if diversity is None:
            return True
        mine = values(self.known[item], diversity.feature)
        if any(counts[value] >= diversity.max_per_value for value in mine):
            return False
        counts.update(mine)
        return True


def values(item: dict[str, Any], feature: str) -> set[Any]:
    held = item.get(feature, 1999 if feature == "year" else None)
    return set() if held is None else set(held) if isinstance(held, list) else {held}


def draw(rng: np.random.Generator, shop: Shop) -> tuple[Query, Passes]:
    given, passes = FILTERS[int(rng.integers(0, len(FILTERS)))]
    diversity = None
    if rng.random() < 0.5:
        diversity = Diversity(str(rng.choice(["brand", "genres", "year"])), int(rng.integers(1, 4)))
    some = tuple(int(i) for i in rng.integers(0, 600, 8))
    shown = tuple(i for i in rng.permutation(600)[:5].tolist())
    query = Query(
        vector=None if rng.random() < 0.3 else tuple(float(x) for x in rng.integers(-2, 3, DIM)),
        k=int(rng.choice([1, 5, 40, 1000])),
        offset=int(rng.choice([0, 0, 3, 60])),
        filter=given,
        boosts=BOOSTS if rng.random() < 0.5 else (),
        diversity=diversity,
        exclude=some if rng.random() < 0.5 else (),
        shown=shown if rng.random() < 0.3 else (),
        min_score=float(rng.integers(-2, 4)) if rng.random() < 0.3 else None,
        explain=bool(rng.random() < 0.3),
    )
    return query, passes


@pytest.mark.parametrize("scale", [2.0, -0.5, 1.0])
def test_answers_are_those_of_the_judge(scale: float) -> None:
    """Filters, boosts, diversity, pages, least scores, exclusions: all mixed at random, in one batch."""
    rng, shop = np.random.default_rng(11), Shop(3, logit_scale=scale)
    drawn = [draw(rng, shop) for _ in range(150)]
    for (query, passes), answer in zip(drawn, shop.answers([query for query, _ in drawn]), strict=True):
        every = shop.expected(query, passes)
        page = every[query.offset : query.offset + query.k]
        assert [(item.item_id, item.score) for item in answer.items] == page, query
        assert answer.more == (len(every) > query.offset + query.k), query
        assert answer.source is (Source.POPULAR if query.vector is None else Source.VECTOR)
        filled = any(score is None for _, score in page)
        assert answer.degraded == (["filled:popular"] if filled else [])


def test_scores_and_counts_are_explained() -> None:
    """Parts add up to the score; each step says what it left."""
    shop = Shop(4)
    given, passes = FILTERS[1]
    query = Query(
        vector=(1.0, -1.0, 2.0, 0.0), filter=given, boosts=BOOSTS, exclude=(1, 2, 3), k=30, explain=True, shown=(4,)
    )
    answer = shop.answers([query])[0]
    assert answer.explanation is not None
    for item in answer.items:
        assert item.parts is not None
        known = shop.known[item.item_id]
        if item.score is not None:
            assert item.parts.dot == float(np.dot(known["vector"], query.vector or ()))
            assert item.parts.logit_scale == 2.0
            assert item.score == 2.0 * item.parts.dot + sum(item.parts.boosts.values())
            assert sum(item.parts.boosts.values()) == boosted(known)
        assert item.parts.interactions == shop.counts.get(item.item_id, 0)
    left = set(shop.known)
    steps: list[tuple[str, int, int]] = [("catalogue", len(left), len(left))]
    for step, stays in [
        ("indexed", lambda i: not shop.known[i].get("lost")),
        ("filter", lambda i: passes(shop.known[i])),
        ("exclude", lambda i: i not in (1, 2, 3)),
        ("shown", lambda i: i != 4),
    ]:
        before, left = len(left), {i for i in left if stays(i)}
        steps.append((step, before, len(left)))
    assert [tuple(count) for count in answer.explanation.candidates] == steps
    assert answer.explanation.index == "exact"


def test_pages_follow_without_repeats() -> None:
    """Shown items are left out and count for diversity, so pages together are what one long page is."""
    shop = Shop(5)
    for diversity in (None, Diversity("brand", 3)):
        query = Query(vector=(1.0, 0.0, -1.0, 1.0), k=7, diversity=diversity, filter=FILTERS[1][0])
        every = [i for i, _ in shop.expected(query, FILTERS[1][1])]
        shown: tuple[int, ...] = ()
        while True:
            answer = shop.answers(
                [Query(vector=query.vector, k=7, diversity=diversity, filter=query.filter, shown=shown)]
            )[0]
            shown += tuple(item.item_id for item in answer.items)
            if not answer.more:
                break
        assert list(shown) == every


class _Trends:
    """Items with even ids were met, larger ones more often."""

    def scores(self, generation: Generation, popularity: Popularity) -> np.ndarray[Any, np.dtype[np.float64]]:
        ids = np.arange(0, 600, 2)
        positions = generation.positions_or_none(ids)
        scores = np.zeros(generation.span)
        scores[positions[positions >= 0]] = np.floor(ids[positions >= 0] / 10) * popularity.window_s
        return scores


def test_popular_in_a_window_of_time() -> None:
    """By events first, then by histories with score 0; filters and diversity apply."""
    shop = Shop(6)
    given, passes = FILTERS[3]
    for diversity in (None, Diversity("genres", 4)):
        query = Query(popularity=Popularity(2.0), filter=given, k=100, diversity=diversity)
        answer = shop.answers([query], _Trends())[0]
        counts: Counter[Any] = Counter()
        scores = {i: (i // 10) * 2.0 * (i % 2 == 0) for i, item in shop.known.items() if passes(item)}
        order = sorted(scores, key=lambda i: (-scores[i], -shop.counts.get(i, 0) if not scores[i] else 0, i))
        kept = [i for i in order if shop._fits(diversity, i, counts)][:100]
        assert [(item.item_id, item.score) for item in answer.items] == [(i, scores[i]) for i in kept]


def test_candidates_are_ranked_and_no_others() -> None:
    """Each once; those that cannot be scored are named with the reason."""
    shop = Shop(7)
    lost = next(i for i, item in shop.known.items() if item.get("lost"))
    sound = [i for i, item in shop.known.items() if not item.get("lost")][:20]
    unknown = next(i for i in range(600) if i not in shop.known)
    query = Query(vector=(1.0, 2.0, 0.0, -1.0), candidates=(*sound, lost, *sound, unknown), boosts=BOOSTS, k=1)
    answer = shop.answers([query])[0]
    scores = {
        i: 2.0 * float(np.dot(shop.known[i]["vector"], query.vector or ())) + boosted(shop.known[i]) for i in sound
    }
    assert [(item.item_id, item.score) for item in answer.items] == sorted(
        scores.items(), key=lambda one: (-one[1], one[0])
    )
    assert [item for item, _ in answer.unscored] == [unknown, lost]
    assert answer.unscored[0][1] == "the catalogue has no such item"
    assert "none of its keys has a row" in answer.unscored[1][1]
    popular = shop.answers([Query(candidates=(*sound, lost, unknown))])[0]
    expected = sorted(((i, float(shop.counts.get(i, 0))) for i in (*sound, lost)), key=lambda one: (-one[1], one[0]))
    assert [(item.item_id, item.score) for item in popular.items] == expected
    assert popular.source is Source.POPULAR


def test_everything_excluded() -> None:
    """There is no item then, and nothing that was filled up."""
    shop = Shop(8)
    for query in (Query(vector=(1.0, 0.0, 0.0, 0.0)), Query()):
        answer = shop.answers([Query(vector=query.vector, exclude=tuple(shop.known))])[0]
        assert (answer.items, answer.more, answer.degraded) == ([], False, [])


def test_vector_of_zeros_ranks_by_id() -> None:
    """All scores are equal."""
    shop = Shop(9)
    answer = shop.answers([Query(vector=(0.0,) * DIM, k=50)])[0]
    indexed = sorted(i for i, item in shop.known.items() if not item.get("lost"))
    assert [item.item_id for item in answer.items] == indexed[:50]


@pytest.mark.parametrize(
    ("vector", "text"),
    [
        ((1.0,), "vector: expected 4 numbers, which the vectors of model 'shop' v1 have, got 1"),
        ((1.0, 2.0, 3.0, float("nan")), "vector: expected finite numbers"),
        ((1.0, 2.0, 3.0, 1e39), "vector: expected finite numbers"),
        ((1.0, 2.0, 3.0, 1e16), "vector: expected finite numbers, none beyond 1e15"),
    ],
)
def test_vectors_that_cannot_be_ranked_are_refused(vector: tuple[float, ...], text: str) -> None:
    """With the query's other errors."""
    error = start(Shop(1, items=3).generation, Query(vector=vector), lambda given: given, 0.0)
    assert str(error).startswith(text)


def test_an_answer_is_of_the_generation_that_it_was_begun_with() -> None:
    """An item that is changed or removed meanwhile is answered as it was, and not at all by the next generation."""
    shop = Shop(10)
    query = Query(vector=(1.0, 2.0, 0.0, -1.0), k=5)
    before = shop.answers([query])[0]
    first = before.items[0].item_id
    stock = shop.stock.take_in(np.array([first]), made({}), ExactIndex)
    later = Generation(shop.generation.model, "v1.2", stock.parts, {})
    again = shop.answers([query])[0]
    assert again.items == before.items
    shop.generation = later
    assert [item.item_id for item in shop.answers([query])[0].items][:4] == [item.item_id for item in before.items[1:]]


def test_empty_catalogue() -> None:
    """It has no answer, and no error."""
    shop = Shop(1)
    empty = made({})
    stock = Stock.of(Segment.of(empty, ExactIndex(empty.vectors)), Counts.of({}))
    shop.generation = Generation(shop.generation.model, "v1.1", stock.parts, {})
    queries = [
        Query(vector=(1.0,) * DIM, filter=FILTERS[1][0], boosts=BOOSTS, explain=True),
        Query(vector=(1.0,) * DIM, diversity=Diversity("brand", 1)),
        Query(diversity=Diversity("brand", 1)),
        Query(vector=(1.0,) * DIM, candidates=(1,)),
    ]
    for answer in shop.answers(queries):
        assert (answer.items, answer.more) == ([], False)
