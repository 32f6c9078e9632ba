"""Which index a catalogue gets, by its size and by what was measured."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from tests.retrieval.index.support import clustered

from rowbank_server.retrieval.index import IndexOptions, make_index


def test_small_catalogues_are_searched_exactly() -> None:
    vectors, _ = clustered(np.random.default_rng(0), 3000, 8)
    assert make_index(vectors, IndexOptions(exact_max_items=3000)).kind == "exact"
    assert make_index(vectors[:0], IndexOptions(kind="inverted")).kind == "exact"
    assert make_index(vectors[:500], IndexOptions(kind="inverted")).kind == "exact"


def test_large_ones_get_lists_where_those_reach_the_target() -> None:
    vectors, _ = clustered(np.random.default_rng(0), 8000, 16)
    index = make_index(vectors, IndexOptions(exact_max_items=2000, recall_target=0.9))
    assert index.kind == "inverted"
    assert not np.shares_memory(index.vectors, vectors)
    vectors.flags.writeable = False
    assert np.shares_memory(make_index(vectors, IndexOptions("inverted", recall_target=0.9)).vectors, vectors)


def test_where_lists_save_nothing_the_search_is_exact(caplog: pytest.LogCaptureFixture) -> None:
    """Vectors without clusters in many dimensions: nearly every list holds one of the best."""
    vectors = np.random.default_rng(0).standard_normal((3000, 64)).astype(np.float32)
    with caplog.at_level(logging.INFO, "rowbank.api"):
        index = make_index(vectors, IndexOptions(exact_max_items=1000))
    assert index.kind == "exact"
    assert "index of 3000 items: recall" in caplog.text
    assert "no faster than an exact search, which is used" in caplog.text
    assert make_index(vectors, IndexOptions("inverted")).kind == "inverted"
