"""How much of an index a search must read for a target recall: measured against the exact answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_K = 100
_MADE = 192  # Queries that are made of vectors.
_GIVEN = 256  # Queries that were given, at most.
_BATCH = 32

Vectors = npt.NDArray[np.float32]
SearchLists = Callable[[Vectors, int, int], tuple[npt.NDArray[np.int64], Vectors]]


@dataclass(frozen=True, slots=True)
class Tuning:
    """How an index is searched.

    Attributes:
        lists_read: lists that a search reads at least.
        recall: what was measured with them: of the exact best `k`, the share that was found.
        target: what was asked for.
    """

    lists_read: int
    recall: float
    target: float
    k: int = _K


def sample_queries(vectors: Vectors, given: Vectors | None, seed: int) -> list[Vectors]:
    """Groups of queries to measure with; each has to reach the target. Those given, and others that are made."""
    random = np.random.default_rng(seed)
    made = made_queries(vectors, _MADE, random)
    if given is None or not len(given):
        return [made]
    chosen = random.permutation(len(given))[:_GIVEN]
    return [np.ascontiguousarray(given[chosen], dtype=np.float32), made]


def made_queries(vectors: Vectors, count: int, random: np.random.Generator) -> Vectors:
    """[count, dim] queries made of [N, dim] vectors, N > 0.

    Users' vectors lie among the items', between those of several interests, and off them. So of three that are made one
    lies near an item, one between three, and one far from the item that it was made of.
    """
    size, dim = vectors.shape
    third = -(-count // 3)
    drawn = vectors[random.integers(0, size, (5, third))].astype(np.float64)
    lengths = np.linalg.norm(drawn, axis=2, keepdims=True)
    noise = random.standard_normal((2, third, dim)) / np.sqrt(dim)
    near = drawn[0] + 0.3 * lengths[0] * noise[0]
    between = drawn[1] + drawn[2] + drawn[3]
    far = drawn[4] + lengths[4] * noise[1]
    # What is found depends on the direction alone; shorter, the sums stay within what a search takes.
    mixed = 0.2 * np.stack([near, between, far], axis=1).reshape(-1, dim)[:count]
    return np.ascontiguousarray(mixed, dtype=np.float32)


def recall_of(served: npt.NDArray[np.float32], exact: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """[B]: of each query's exact scores [B, k], best first, the share that served ones reach; 1 where there are none.

    Scores are compared, not positions: of items that score the same, any will do.
    """
    wanted = np.isfinite(exact).sum(axis=1)
    least = np.where(wanted > 0, exact[np.arange(len(exact)), np.maximum(wanted - 1, 0)], np.inf)
    found = np.minimum((served >= least[:, None]).sum(axis=1), wanted)
    return np.where(wanted > 0, found / np.maximum(wanted, 1), 1.0)


def smallest_that_reaches(target: float, lists: int, groups: list[Vectors], search: SearchLists) -> Tuning:
    """The fewest lists with which every group of queries finds `target` of the exact best, with some margin.

    Args:
        search: (queries, k, lists read) -> positions, scores; exact if all lists are read.
    """
    exact = [_scores(queries, lists, search) for queries in groups]
    # What is measured on a few hundred queries is off by a thousandth or two.
    wanted = target + 0.2 * (1 - target)

    def measured(read: int) -> float:
        return min(
            float(recall_of(_scores(queries, read, search), best).mean())
            for queries, best in zip(groups, exact, strict=True)
        )

    low, high, recall = 0, 1, measured(1)
    while recall < wanted and high < lists:
        low, high = high, min(2 * high, lists)
        recall = measured(high)
    while high - low > max(1, high // 16):
        middle = (low + high) // 2
        at_middle = measured(middle)
        if at_middle >= wanted:
            high, recall = middle, at_middle
        else:
            low = middle
    return Tuning(high, recall, target)


def _scores(queries: Vectors, lists: int, search: SearchLists) -> Vectors:
    batches = [search(queries[start : start + _BATCH], _K, lists)[1] for start in range(0, len(queries), _BATCH)]
    return np.concatenate(batches)
