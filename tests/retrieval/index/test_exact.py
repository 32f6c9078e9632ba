"""The exact index against NumPy in float64: same positions, same order, whatever the data and the instruction set."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.retrieval.index.support import packed, reference

from rowbank_server._core import FlatIndex
from rowbank_server.retrieval.index import ExactIndex


def available() -> list[str]:
    out = []
    for kernel in ("scalar", "avx2", "avx512", "neon", "neon_dot"):
        try:
            FlatIndex(np.zeros((1, 1), np.float32), kernel)
        except ValueError:
            continue
        out.append(kernel)
    return out


KERNELS = available()


def check(vectors: Any, queries: Any, k: int, kernel: str, excluded: Any = None, bonus: Any = None) -> None:
    bits = None if excluded is None else packed(excluded)
    positions, scores = FlatIndex(vectors, kernel).search(queries, k, bits, bonus)
    expected, expected_scores = reference(vectors, queries, k, excluded, bonus)
    assert np.array_equal(positions, expected)
    assert np.allclose(scores, expected_scores, rtol=1e-6, atol=1e-6 * np.abs(queries).max(initial=0))


def normal(rng: np.random.Generator, *shape: int) -> npt.NDArray[np.float32]:
    return rng.standard_normal(shape).astype(np.float32)


def gaussian(rng: np.random.Generator) -> tuple[Any, Any]:
    return normal(rng, 20_000, 64), normal(rng, 8, 64)


def unit_length(rng: np.random.Generator) -> tuple[Any, Any]:
    vectors, queries = gaussian(rng)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), queries


def clustered(rng: np.random.Generator) -> tuple[Any, Any]:
    """Queries are members: hundreds of items score nearly the same."""
    centres = 3 * normal(rng, 50, 64)
    vectors = (centres[rng.integers(0, 50, 20_000)] + 0.05 * normal(rng, 20_000, 64)).astype(np.float32)
    return vectors, vectors[:8].copy()


def skewed_lengths(rng: np.random.Generator) -> tuple[Any, Any]:
    vectors, queries = gaussian(rng)
    return (vectors * 10.0 ** rng.integers(-30, 10, (20_000, 1))).astype(np.float32), queries * np.float32(1e-8)


def one_large_dimension(rng: np.random.Generator) -> tuple[Any, Any]:
    """The worst for 8-bit codes: one dimension takes the whole range, the others decide."""
    vectors, queries = gaussian(rng)
    vectors[:, 0] = 1000
    return vectors, queries


def near_the_smallest_float(rng: np.random.Generator) -> tuple[Any, Any]:
    return (normal(rng, 3000, 16) * np.float32(1e-38)), normal(rng, 4, 16)


def whole_numbers(rng: np.random.Generator) -> tuple[Any, Any]:
    """Many exact ties: the order must be by position."""
    return rng.integers(-3, 4, (3000, 12)).astype(np.float32), rng.integers(-3, 4, (5, 12)).astype(np.float32)


DATA = [
    gaussian,
    unit_length,
    clustered,
    skewed_lengths,
    one_large_dimension,
    near_the_smallest_float,
    whole_numbers,
]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("data", DATA, ids=lambda data: data.__name__)
def test_finds_exactly_the_best(data: Any, kernel: str) -> None:
    vectors, queries = data(np.random.default_rng(11))
    check(vectors, queries, 100, kernel)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("share", [0.5, 0.99, 0.999, 1.0])
def test_finds_exactly_the_best_of_what_is_eligible(kernel: str, share: float) -> None:
    rng = np.random.default_rng(3)
    for size in (5000, 5001, 5003, 5015):  # Bitmaps that end within a block of 16, in either of its bytes.
        check(normal(rng, size, 24), normal(rng, 6, 24), 60, kernel, rng.random((6, size)) < share)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("keeps", [1.0, 0.5, 0.1, 0.01, 0.001, 0.0])
def test_finds_exactly_the_best_with_a_bonus(kernel: str, keeps: float) -> None:
    rng = np.random.default_rng(8)
    vectors, queries = normal(rng, 6003, 20), normal(rng, 3, 20)
    fresh = np.where(rng.random(6003) < 0.1, np.float32(2.5), np.float32(0))
    check(vectors, queries, 40, kernel, rng.random((3, 6003)) >= keeps, [fresh, None, normal(rng, 6003) * 100])


@pytest.mark.parametrize("kernel", KERNELS)
@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(0, 700),
    dim=st.integers(1, 70),
    count=st.integers(0, 4),
    k=st.integers(0, 800),
    seed=st.integers(0, 99),
)
def test_any_shape(kernel: str, size: int, dim: int, count: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    check(normal(rng, size, dim), normal(rng, count, dim), k, kernel, rng.random((count, size)) < 0.2)


def test_every_instruction_set_gives_the_same_scores() -> None:
    rng = np.random.default_rng(5)
    vectors, queries = normal(rng, 4000, 33), normal(rng, 5, 33)
    found = [FlatIndex(vectors, kernel).search(queries, 50) for kernel in KERNELS]
    for positions, scores in found[1:]:
        assert np.array_equal(positions, found[0][0])
        assert np.array_equal(scores, found[0][1])


def test_the_widest_kernel_is_the_default() -> None:
    assert FlatIndex(np.zeros((1, 1), np.float32)).kernel == KERNELS[-1]


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0, 2.0], [1.0, np.nan]], "vector 1 is not finite in dimension 1"),
        ([[np.inf, 2.0]], "vector 0 is not finite in dimension 0"),
        ([[1e19, 0.0]], "vector 0 is longer than 1e18"),
    ],
)
def test_vectors_that_have_no_order_are_refused(vectors: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlatIndex(np.asarray(vectors, np.float32))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("keeps", [0.9, 0.3, 0.01])
def test_queries_share_a_bitmap(kernel: str, keeps: float) -> None:
    """It is as if each of them had it, also beside a bonus."""
    rng = np.random.default_rng(5)
    vectors, queries = normal(rng, 3001, 20), normal(rng, 9, 20)
    excluded = rng.random((1, 3001)) >= keeps
    for bonus in (None, [normal(rng, 3001) if i % 3 == 0 else None for i in range(9)]):
        positions, scores = FlatIndex(vectors, kernel).search(queries, 12, packed(excluded), bonus)
        each = FlatIndex(vectors, kernel).search(queries, 12, packed(np.tile(excluded, (9, 1))), bonus)
        assert np.array_equal(positions, each[0])
        assert np.array_equal(scores, each[1])
        assert np.array_equal(positions, reference(vectors, queries, 12, np.tile(excluded, (9, 1)), bonus)[0])


def test_wrong_arguments_are_refused() -> None:
    index = FlatIndex(np.zeros((10, 3), np.float32))
    with pytest.raises(ValueError, match="queries have dim 4, the index has 3"):
        index.search(np.zeros((1, 4), np.float32), 1)
    with pytest.raises(ValueError, match=r"exclude must be \[2, 2\]"):
        index.search(np.zeros((2, 3), np.float32), 1, np.zeros((3, 2), np.uint8))
    with pytest.raises(ValueError, match=r"or \[1, 2\], the same for all"):
        index.search(np.zeros((2, 3), np.float32), 1, np.zeros((1, 1), np.uint8))
    with pytest.raises(ValueError, match="query 0 is not finite"):
        index.search(np.full((1, 3), np.nan, np.float32), 1)
    with pytest.raises(ValueError, match="bonus must have one entry per query: 1, got 2"):
        index.search(np.zeros((1, 3), np.float32), 1, None, [None, None])
    with pytest.raises(ValueError, match="bonus must have length 10, got 9"):
        index.search(np.zeros((1, 3), np.float32), 1, None, [np.zeros(9, np.float32)])
    with pytest.raises(TypeError, match="contiguous float32 array"):
        index.search(np.zeros((1, 3), np.float32), 1, None, [np.zeros(10)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="the bonus of query 0 at position 4 is not finite"):
        index.search(
            np.zeros((1, 3), np.float32), 1, None, [np.where(np.arange(10) == 4, np.nan, 0).astype(np.float32)]
        )
    with pytest.raises(ValueError, match="dim must be 1 to 4096, got 0"):
        FlatIndex(np.zeros((10, 0), np.float32))
    with pytest.raises(ValueError, match="no scan kernel 'sse'"):
        FlatIndex(np.zeros((1, 1), np.float32), "sse")
    with pytest.raises(TypeError):
        index.search(np.zeros((1, 3)), 1)  # type: ignore[arg-type]


def test_vectors_are_a_view_that_keeps_the_index() -> None:
    expected = np.arange(6, dtype=np.float32).reshape(3, 2)
    vectors = FlatIndex(expected.copy()).vectors
    assert np.array_equal(vectors, expected)
    assert not vectors.flags.writeable


def test_many_threads_may_search() -> None:
    rng = np.random.default_rng(2)
    vectors, queries = normal(rng, 5000, 16), normal(rng, 64, 16)
    index, expected = ExactIndex(vectors), reference(vectors, queries, 10, None)[0]
    wrong: list[int] = []

    def search(start: int) -> None:
        for i in range(start, 64, 4):
            if not np.array_equal(index.search(queries[i : i + 1], 10, None)[0][0], expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=search, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_vectors_that_nobody_can_write_to_are_not_copied() -> None:
    vectors = normal(np.random.default_rng(4), 100, 8)
    assert not np.shares_memory(ExactIndex(vectors).vectors, vectors)
    vectors.flags.writeable = False
    assert np.shares_memory(ExactIndex(vectors).vectors, vectors)


def test_an_index_over_the_arrays_of_another_finds_the_same() -> None:
    rng = np.random.default_rng(6)
    vectors, queries = normal(rng, 1000, 10), normal(rng, 3, 10)
    flat = FlatIndex(vectors)
    over = FlatIndex.over(flat.vectors, flat.codes, flat.scale, flat.error, flat.norm)
    assert all(map(np.array_equal, over.search(queries, 20), flat.search(queries, 20)))
    assert np.shares_memory(over.codes, flat.codes)
    with pytest.raises(ValueError, match="scale must have length 1008, got 1000"):
        FlatIndex.over(flat.vectors, flat.codes, flat.scale[:1000], flat.error, flat.norm)
