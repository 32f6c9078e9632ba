"""The recall probe: what is served beside the float vectors, with a filter, over several pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.retrieval.index.support import clustered, packed

from rowbank_server.retrieval.index import BuildOptions, ExactIndex, InvertedIndex
from rowbank_server.retrieval.index.probe import Piece, probe
from rowbank_server.retrieval.index.tuning import Tuning

VECTORS, QUERIES = clustered(np.random.default_rng(9), 4000, 12, 40)
NOTHING = np.zeros(500, np.uint8)


class Blind:
    """Serves an exact index without the best of each answer."""

    def __init__(self, index: ExactIndex, missed: int) -> None:
        self._index, self._missed = index, missed

    def search(self, queries: Any, k: int, exclude: Any) -> Any:
        positions, scores = self._index.search(queries, k + self._missed, exclude)
        return positions[:, self._missed :], scores[:, self._missed :]


def test_an_exact_index_misses_nothing() -> None:
    index = ExactIndex(VECTORS)
    told = probe(index, [Piece(0, index)], NOTHING, k=50, queries=30)
    assert (told.recall, told.worst_recall, told.wanted, told.found) == (1.0, 1.0, 1500, 1500)
    assert (told.index, told.queries, told.k, told.items, told.eligible) == ("exact", 30, 50, 4000, 4000)
    assert told.served_p50_ms > 0
    assert told.exact_p50_ms > 0


def test_what_is_missed_is_counted() -> None:
    index = ExactIndex(np.arange(1, 4001, dtype=np.float32)[:, None])
    told = probe(Blind(index, 2), [Piece(0, index)], NOTHING, k=10, queries=9, given=np.ones((9, 1), np.float32))
    assert (told.wanted, told.found, told.recall, told.worst_recall) == (90, 72, 0.8, 0.8)


@pytest.mark.parametrize("keeps", [0.1, 0.001, 0.0])
def test_a_filter_counts(keeps: float) -> None:
    index = InvertedIndex.build(VECTORS, BuildOptions())
    excluded = np.random.default_rng(4).random((1, 4000)) >= keeps
    told = probe(index, [Piece(0, index)], packed(excluded)[0], k=20, queries=12)
    assert told.eligible == 4000 - excluded.sum()
    assert told.wanted == 12 * min(20, told.eligible)
    assert told.recall >= 0.98
    assert told.index == index.describe()


def test_too_few_lists_show() -> None:
    index = InvertedIndex.build(VECTORS, BuildOptions())
    poor = InvertedIndex(index.vectors, index.arrays, Tuning(1, 1.0, 0.99))
    told = probe(poor, [Piece(0, poor)], NOTHING, k=100, queries=30)
    assert told.worst_recall < told.recall < 0.9


def test_pieces_are_searched_together() -> None:
    class Both:
        def search(self, queries: Any, k: int, exclude: Any) -> Any:
            return ExactIndex(VECTORS).search(queries, k, exclude)

    pieces = [Piece(0, ExactIndex(VECTORS[:1600])), Piece(1600, ExactIndex(VECTORS[1600:]))]
    told = probe(Both(), pieces, NOTHING, k=30, queries=10, given=QUERIES)
    assert (told.recall, told.queries, told.items) == (1.0, 10, 4000)


def test_nothing_to_ask_is_no_error() -> None:
    empty = ExactIndex(np.empty((0, 3), np.float32))
    assert probe(empty, [Piece(0, empty)], NOTHING[:0], k=5, queries=3).queries == 0
    zeros = ExactIndex(np.zeros((8, 3), np.float32))
    assert probe(zeros, [Piece(0, zeros)], NOTHING[:1], k=5, queries=3).recall == 1.0


def test_a_probe_ends_when_its_time_is_up() -> None:
    index = ExactIndex(VECTORS)
    assert probe(index, [Piece(0, index)], NOTHING, k=5, queries=40, max_s=0).queries == 10


def test_queries_are_the_same_for_a_seed() -> None:
    index = InvertedIndex.build(VECTORS, BuildOptions())
    poor = InvertedIndex(index.vectors, index.arrays, Tuning(2, 1.0, 0.99))

    def found(seed: int) -> int:
        return probe(poor, [Piece(0, poor)], NOTHING, k=100, queries=20, seed=seed).found

    assert found(1) == found(1)
    assert found(1) != found(2)
