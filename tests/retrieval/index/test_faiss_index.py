"""faiss behind the same protocol: filters and bonuses are as exact as elsewhere."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from tests.retrieval.index.support import clustered, packed, reference

from rowbank_server.retrieval.index import Index, IndexOptions, make_index
from rowbank_server.retrieval.index.faiss_index import FaissIndex, FaissMissingError

VECTORS, QUERIES = clustered(np.random.default_rng(6), 6001, 12, 32)


@pytest.fixture(scope="module")
def index() -> Index:
    pytest.importorskip("faiss")
    return make_index(VECTORS, IndexOptions("faiss"))


@pytest.mark.parametrize("keeps", [1.0, 0.5, 0.1, 0.04, 0.001, 0.0])
def test_the_target_is_kept_at_every_selectivity(index: Index, keeps: float) -> None:
    excluded = np.random.default_rng(3).random((32, 6001)) >= keeps
    positions, scores = index.search(QUERIES, 60, packed(excluded))
    expected, _ = reference(VECTORS, QUERIES, 60, excluded)
    assert np.array_equal(positions >= 0, expected >= 0)
    hits = [np.isin(got[got >= 0], best).mean() for got, best in zip(positions, expected, strict=True) if best[0] >= 0]
    assert not hits or np.mean(hits) >= 0.985
    exact = np.einsum("bkd,bd->bk", VECTORS[positions].astype(np.float64), QUERIES.astype(np.float64))
    assert np.allclose(scores[positions >= 0], exact[positions >= 0], rtol=1e-6)


def test_queries_share_a_bitmap(index: Index) -> None:
    excluded = np.random.default_rng(4).random((1, 6001)) >= 0.3
    positions, scores = index.search(QUERIES[:5], 20, packed(excluded))
    each = index.search(QUERIES[:5], 20, packed(np.tile(excluded, (5, 1))))
    assert np.array_equal(positions, each[0])
    assert np.array_equal(scores, each[1])


def test_a_bonus_is_exact(index: Index) -> None:
    bonus: Any = [np.random.default_rng(1).standard_normal(6001).astype(np.float32), None] * 16
    positions, _ = index.search(QUERIES, 20, None, bonus)
    assert np.array_equal(positions, reference(VECTORS, QUERIES, 20, None, bonus)[0])


def test_more_than_there_are(index: Index) -> None:
    positions, scores = index.search(QUERIES[:2], 7000, None)
    assert (positions[:, :6001] >= 0).all()
    assert (positions[:, 6001:] == -1).all()
    assert np.isneginf(scores[:, 6001:]).all()


def test_it_says_how_it_searches(index: Index) -> None:
    assert index.kind == "faiss"
    assert index.describe().startswith("faiss, ")
    assert (index.size, index.dim) == (6001, 12)
    assert index.bytes > 2 * VECTORS.nbytes
    assert np.array_equal(index.vectors, VECTORS)


def test_wrong_arguments_are_refused(index: Index) -> None:
    with pytest.raises(ValueError, match="queries have dim 3, the index has 12"):
        index.search(np.zeros((1, 3), np.float32), 1, None)
    with pytest.raises(ValueError, match=r"exclude must be \[1, 751\]"):
        index.search(QUERIES[:1], 1, np.zeros((1, 5), np.uint8))
    with pytest.raises(ValueError, match="query 0 is not finite"):
        index.search(np.full((1, 12), np.nan, np.float32), 1, None)
    with pytest.raises(ValueError, match="vector 3 is not finite"):
        FaissIndex(np.where(np.arange(5)[:, None] == 3, np.float32(np.inf), VECTORS[:5]), 0.99)


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(FaissMissingError, match=r"install rowbank-server\[faiss\], or set index_kind to auto"):
        make_index(VECTORS, IndexOptions("faiss"))
