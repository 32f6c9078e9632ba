"""The items of a batch's answers: those with a vector by one search, all of them filled up with what is popular."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rowbank.errors import RequestError
from rowbank.tracing import stage
from rowbank_server.retrieval.generation import Generation, Positions
from rowbank_server.retrieval.index.bitmaps import set_bits
from rowbank_server.retrieval.queries import Answer, ScoreParts, Source
from rowbank_server.retrieval.stages import explain
from rowbank_server.retrieval.stages.candidates import rank_candidates
from rowbank_server.retrieval.stages.eligible import Eligible
from rowbank_server.retrieval.stages.plain import are_plain, plain_answers
from rowbank_server.retrieval.stages.ranking import (
    Rank,
    Ranked,
    Trends,
    by_popularity,
    by_search,
    directed,
    scored_all,
)
from rowbank_server.retrieval.stages.spread import Spread, look
from rowbank_server.retrieval.stages.work import Work


@dataclass(slots=True)
class _Listing:
    """One answer's items, best first.

    Attributes:
        unwanted: positions that the query may not have.
        spread: counts the values of its items, where it is to be diverse.
        hits: what the search found; None: the query has no vector.
    """

    work: Work
    unwanted: Positions
    spread: Spread | None
    hits: Ranked | None = None


class _Page(NamedTuple):
    """An answer whose items are still to be put in: [M] positions, a score and, for who asks, its parts for each."""

    answer: Answer
    positions: Positions
    scores: Sequence[float | None]
    parts: Sequence[ScoreParts | None]


class Search:
    """Of one batch over one generation.

    Args:
        trends: what is popular in windows of time, if that is known.
    """

    def __init__(self, generation: Generation, trends: Trends | None) -> None:
        self._generation = generation
        self._trends = trends
        self._eligible = Eligible(generation)
        self._pages: list[_Page] = []

    def answers(self, batch: Sequence[Work]) -> list[Answer | RequestError]:
        """One answer or error per query, in their order."""
        with stage("query.filter"):
            plain = are_plain(batch)
            listings = [] if plain else self._listings(batch)
        if plain:
            answered = plain_answers(self._generation, batch)
            if answered is not None:
                return list(answered)
            listings = self._listings(batch)
        asked = [one for one in listings if one.work.vector is not None and one.work.query.candidates is None]
        with stage("query.search"):
            self._search(asked)
        with stage("query.assemble"):
            answers = [self._answer_or_error(one) for one in listings]
            self._name_items()
            return answers

    def _name_items(self) -> None:
        """Puts the items into all answers, by one look at what is known of them."""
        if not self._pages:
            return
        found = self._generation.found_all(
            np.concatenate([page.positions for page in self._pages]),
            list(itertools.chain.from_iterable(page.scores for page in self._pages)),
            list(itertools.chain.from_iterable(page.parts for page in self._pages)),
        )
        start = 0
        for page in self._pages:
            end = start + len(page.positions)
            page.answer.items = found[start:end]
            start = end

    def _listings(self, batch: Sequence[Work]) -> list[_Listing]:
        unwanted = self._eligible.unwanted(batch)
        return [self._listing(work, mine) for work, mine in zip(batch, unwanted, strict=True)]

    def _listing(self, work: Work, unwanted: Positions) -> _Listing:
        diversity, spread = work.query.diversity, None
        if diversity is not None:
            shown = self._generation.positions(np.asarray(work.query.shown, np.int64))
            spread = Spread(self._generation, diversity, shown)
        return _Listing(work, unwanted, spread)

    def _search(self, listings: Sequence[_Listing]) -> None:
        """All of them in one search; those that are to be diverse go on from what it found."""
        generation, scale = self._generation, self._generation.model.logit_scale
        if not listings or not generation.item_count:
            return
        works, unwanted = [one.work for one in listings], [one.unwanted for one in listings]
        refused = None
        if all(one.spread is None for one in listings):
            refused = self._eligible.shared(works, unwanted, indexed=True)
        if refused is None:
            refused = self._eligible.rows(works, unwanted, indexed=True)
            for row, one in zip(refused, listings, strict=True):
                if one.spread is not None:
                    one.spread.refuse_full(row)
        vectors = directed(np.stack([_vector(work) for work in works]), scale)
        bonus = [self._eligible.bonus(work.boosts) for work in works]
        boosted = any(one is not None for one in bonus)
        sizes = [one.work.need if one.spread is None else look(one.work.need) for one in listings]
        k = max(1, min(max(sizes), generation.item_count))
        found = scored_all(*generation.search(vectors, k, refused, bonus if boosted else None), sizes, scale)
        for row, (one, hits) in enumerate(zip(listings, found, strict=True)):
            one.hits = hits
            if one.spread is not None:
                rank = by_search(generation, _vector(one.work), bonus[row])
                one.hits = one.spread.take(
                    rank, refused[row], one.work.need, least=one.work.query.min_score, first=hits
                )

    def _answer_or_error(self, one: _Listing) -> Answer | RequestError:
        try:
            return self._answer(one)
        except RequestError as error:
            return error

    def _answer(self, one: _Listing) -> Answer:
        work, query, generation = one.work, one.work.query, self._generation
        if query.candidates is not None:
            refused = self._eligible.rows([work], [one.unwanted], indexed=False)[0]
            bonus = self._eligible.bonus(work.boosts)
            return rank_candidates(generation, work, query.candidates, refused, bonus)
        hits, popular = _enough(one.hits, query.min_score), None
        found = 0 if hits is None else len(hits.positions)
        if found < work.need and (hits is None or query.min_score is None):
            popular = self._popular(one, hits, work.need - found)
        positions = _joined(hits, popular)
        page = positions[query.offset : query.offset + query.k]
        answer = Answer(
            [],
            work.source if hits is not None else Source.POPULAR,
            generation.model.version,
            generation.index_version,
            work.degraded,
            work.defaulted,
            more=len(positions) > query.offset + query.k,
            explanation=work.explanation,
        )
        own = [] if hits is None else hits.scores.tolist()
        counted = [] if popular is None else popular.scores.tolist()
        scores = [*own, *(None if hits is not None else score for score in counted)][query.offset :]
        if hits is not None and len(page) > max(0, found - query.offset):
            work.degraded.append("filled:popular")
        parts = explain.score_parts(generation, work, page, scores)
        self._pages.append(_Page(answer, page, scores[: len(page)], parts))
        if work.explanation is not None:
            explain.features(generation, work)
            explain.candidates(generation, work, self._eligible, indexed=hits is not None)
        return answer

    def _popular(self, one: _Listing, hits: Ranked | None, count: int) -> Ranked:
        """The most popular items that the query may have, besides its hits."""
        work, query = one.work, one.work.query
        refused = self._eligible.rows([work], [one.unwanted], indexed=False)[0]
        if hits is not None:
            set_bits(refused, hits.positions)
        rank: Rank = by_popularity(self._generation, query.popularity if hits is None else None, self._trends)
        if one.spread is not None:
            return one.spread.take(rank, refused, count, least=query.min_score)
        found = _enough(rank(refused, count), query.min_score)
        assert found is not None
        return found


def _enough(ranked: Ranked | None, least: float | None) -> Ranked | None:
    """Those that score enough."""
    if ranked is None or least is None:
        return ranked
    count = int(np.count_nonzero(ranked.scores >= least))
    return Ranked(ranked.positions[:count], ranked.scores[:count])


def _joined(*ranked: Ranked | None) -> Positions:
    there = [one.positions for one in ranked if one is not None]
    if len(there) == 1:
        return there[0]
    return np.concatenate(there) if there else np.empty(0, np.int64)


def _vector(work: Work) -> npt.NDArray[np.float32]:
    assert work.vector is not None
    return work.vector
