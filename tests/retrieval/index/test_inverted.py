"""Inverted lists beside NumPy: exact where they promise it, and as good as their target otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.retrieval.index.support import clustered, packed, reference

from rowbank_server.retrieval.index import BuildOptions, InvertedIndex
from rowbank_server.retrieval.index.inverted import list_count
from rowbank_server.retrieval.index.tuning import Tuning

SIZE, DIM = 20_000, 19
SHARES = [1.0, 0.5, 0.1, 0.01, 0.001, 0.0]


@pytest.fixture(scope="module")
def data() -> tuple[Any, Any]:
    return clustered(np.random.default_rng(1), SIZE, DIM, 64)


@pytest.fixture(scope="module")
def index(data: tuple[Any, Any]) -> InvertedIndex:
    return InvertedIndex.build(data[0], BuildOptions())


def whole(index: InvertedIndex) -> InvertedIndex:
    """The same index, with all lists read."""
    return InvertedIndex(index.vectors, index.arrays, Tuning(index.lists, 1.0, 0.99))


@pytest.mark.parametrize("keeps", SHARES)
@pytest.mark.parametrize("added", [False, True], ids=["plain", "bonus"])
def test_reading_all_lists_is_exact(data: tuple[Any, Any], index: InvertedIndex, keeps: float, added: bool) -> None:
    vectors, queries = data
    rng = np.random.default_rng(7)
    excluded = rng.random((64, SIZE)) >= keeps
    bonus = [rng.standard_normal(SIZE).astype(np.float32) if i % 2 else None for i in range(64)] if added else None
    positions, scores = whole(index).search(queries, 100, packed(excluded), bonus)
    expected, expected_scores = reference(vectors, queries, 100, excluded, bonus)
    assert np.array_equal(positions, expected)
    assert np.allclose(scores, expected_scores, rtol=1e-6)


@pytest.mark.parametrize("keeps", SHARES)
def test_the_target_is_kept_at_every_selectivity(data: tuple[Any, Any], index: InvertedIndex, keeps: float) -> None:
    vectors, queries = data
    excluded = np.random.default_rng(3).random((64, SIZE)) >= keeps
    positions, scores = index.search(queries, 100, packed(excluded))
    expected, _ = reference(vectors, queries, 100, excluded)
    assert np.array_equal(positions >= 0, expected >= 0)
    hits = [np.isin(got[got >= 0], best).mean() for got, best in zip(positions, expected, strict=True) if best[0] >= 0]
    assert not hits or np.mean(hits) >= 0.985
    assert not np.take_along_axis(excluded, np.maximum(positions, 0), axis=1)[positions >= 0].any()
    exact = np.einsum("bkd,bd->bk", vectors[positions].astype(np.float64), queries.astype(np.float64))
    assert np.allclose(scores[positions >= 0], exact[positions >= 0], rtol=1e-6)
    assert (scores[:, 1:] <= scores[:, :-1]).all()


def test_a_filter_for_one_cluster_is_kept(data: tuple[Any, Any], index: InvertedIndex) -> None:
    """The eligible lie where the query does not look first."""
    vectors, queries = data
    far = vectors @ vectors[5] > np.quantile(vectors @ vectors[5], 0.9)
    excluded = np.tile(~far, (64, 1))
    positions, _ = index.search(queries, 50, packed(excluded))
    expected, _ = reference(vectors, queries, 50, excluded)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(positions, expected, strict=True)]) >= 0.985


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5])
def test_those_with_a_bonus_are_never_missed(data: tuple[Any, Any], index: InvertedIndex, share: float) -> None:
    vectors, queries = data
    rng = np.random.default_rng(5)
    bonus = [np.where(rng.random(SIZE) < share, np.float32(1000), np.float32(0)) for _ in range(8)]
    positions, _ = index.search(queries[:8], 10, None, bonus)
    assert np.array_equal(positions, reference(vectors, queries[:8], 10, None, bonus)[0])


@settings(deadline=None, max_examples=40)
@given(
    size=st.integers(1, 600),
    dim=st.integers(1, 20),
    lists=st.integers(1, 40),
    k=st.integers(0, 700),
    seed=st.integers(0, 99),
)
def test_any_shape(size: int, dim: int, lists: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, queries = clustered(rng, size, dim, 3)
    made = InvertedIndex.build(vectors, BuildOptions(lists=lists, threads=1))
    excluded = rng.random((3, size)) < 0.3
    positions, scores = whole(made).search(queries, k, packed(excluded))
    expected, expected_scores = reference(vectors, queries, k, excluded)
    assert np.allclose(scores, expected_scores, rtol=1e-5, atol=1e-6)
    assert np.array_equal(positions >= 0, expected >= 0)
    assert np.array_equal(made.search(queries, k, packed(excluded))[0] >= 0, expected >= 0)


def test_building_is_deterministic(data: tuple[Any, Any]) -> None:
    made = [InvertedIndex.build(data[0][:5000], BuildOptions(threads=threads)) for threads in (1, 3)]
    for name in made[0].arrays:
        assert np.array_equal(made[0].arrays[name], made[1].arrays[name]), name
    assert made[0].tuning == made[1].tuning


def test_it_says_how_it_searches(index: InvertedIndex) -> None:
    assert index.describe() == f"inverted, {index.tuning.lists_read} of {index.lists} lists"
    assert (index.kind, index.size, index.dim) == ("inverted", SIZE, DIM)
    assert index.bytes > index.vectors.nbytes * 1.25
    assert not index.vectors.flags.writeable


@pytest.mark.parametrize("value", [0.0, 1.0, 9.9e17, -1e-30])
def test_vectors_that_are_all_the_same_make_one_list(value: float) -> None:
    vectors = np.full((2000, 1), value, np.float32)
    index = InvertedIndex.build(vectors, BuildOptions())
    assert (index.lists, index.tuning.lists_read, index.tuning.recall) == (1, 1, 1.0)
    assert index.search(np.ones((1, 1), np.float32), 3, None)[0].tolist() == [[0, 1, 2]]


def test_vectors_that_have_no_order_are_refused() -> None:
    vectors = np.ones((10, 3), np.float32)
    vectors[4, 1] = np.nan
    with pytest.raises(ValueError, match="vector 4 is not finite in dimension 1"):
        InvertedIndex.build(vectors, BuildOptions())
    with pytest.raises(ValueError, match="lists must be 1 to 0"):
        InvertedIndex.build(np.empty((0, 3), np.float32), BuildOptions())


@pytest.mark.parametrize(
    ("name", "cut", "message"),
    [
        ("centroids", 1, "centroids must have length"),
        ("spreads", 1, "spreads must have length"),
        ("positions", 16, "positions must have length"),
        ("codes", 64, "codes must have length"),
        ("norm", 1, "norm must have length"),
    ],
)
def test_arrays_that_do_not_go_together_are_refused(index: InvertedIndex, name: str, cut: int, message: str) -> None:
    arrays = {**index.arrays, name: index.arrays[name][:-cut]}
    with pytest.raises(ValueError, match=message):
        InvertedIndex(index.vectors, arrays, index.tuning)


@pytest.mark.parametrize(("size", "lists"), [(1, 4), (1000, 128), (100_000, 1024), (1_000_000, 4096)])
def test_more_vectors_get_more_lists(size: int, lists: int) -> None:
    assert list_count(size) == lists
