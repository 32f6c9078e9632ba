"""How much a search must read: by recall, measured on queries that were given or made."""

from __future__ import annotations

from typing import Any

import numpy as np

from rowbank_server.retrieval.index.tuning import recall_of, sample_queries, smallest_that_reaches


def test_recall_counts_scores_that_reach_the_exact_ones() -> None:
    exact = np.array([[3, 2, 1], [5, 5, 4], [2, -np.inf, -np.inf], [-np.inf] * 3], np.float32)
    served = np.array([[3, 1, 0], [5, 4, 4], [2, -np.inf, -np.inf], [-np.inf] * 3], np.float32)
    assert np.allclose(recall_of(served, exact), [2 / 3, 1, 1, 1])


def searches(per_list: float) -> Any:
    """An index whose lists each hold that share of the best 100."""

    def search(queries: Any, k: int, lists: int) -> Any:
        found = min(k, round(lists * per_list * k))
        scores = np.where(np.arange(k) < found, 1.0, -np.inf).astype(np.float32)
        return None, np.tile(scores, (len(queries), 1))

    return search


def test_the_fewest_lists_that_reach_the_target_are_taken() -> None:
    queries = [np.zeros((5, 2), np.float32)]
    tuning = smallest_that_reaches(0.5, 100, queries, searches(0.01))
    assert (tuning.lists_read, tuning.target) == (60, 0.5)  # 0.6: with the margin.
    assert np.isclose(tuning.recall, 0.6)
    assert smallest_that_reaches(0.99, 7, queries, searches(1 / 7)).lists_read == 7


def test_given_queries_are_measured_beside_those_that_are_made() -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    assert [len(group) for group in sample_queries(vectors, None, 1)] == [192]
    asked = np.ones((1000, 4), np.float32)
    groups = sample_queries(vectors, asked, 1)
    assert [len(group) for group in groups] == [256, 192]
    assert (groups[0] == 1).all()
    assert np.array_equal(groups[1], sample_queries(vectors, asked, 1)[1])
