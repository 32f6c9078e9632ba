"""What `index_compare` compares: our indexes, NumPy, and the libraries that are installed."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank_server.retrieval.index import BuildOptions, ExactIndex, InvertedIndex

from .report import notice

Vectors = npt.NDArray[np.float32]
Bitmap = npt.NDArray[np.uint8]
# Takes [B, dim] queries, k and, of those that can filter, [B, bytes] bitmaps of excluded positions.
Search = Callable[[Vectors, int, Bitmap | None], npt.NDArray[np.int64]]

_GRAPHS_UP_TO = 200_000  # Vectors; more take minutes to link.


@dataclass(frozen=True, slots=True)
class Candidate:
    """An index that was built.

    Attributes:
        filters: whether it takes bitmaps; one that does not would have to be asked for more and thinned out.
    """

    name: str
    search: Search
    build_s: float
    filters: bool


def candidates(vectors: Vectors, threads: int) -> Iterator[Candidate]:
    """One after the other, NumPy first; those that are not installed, or take too long to build, are left out."""
    yield Candidate("NumPy", lambda queries, k, exclude: numpy_search(vectors, queries, k, exclude), 0.0, True)
    yield _built("exact", lambda: _ours(ExactIndex(vectors)))
    yield _built("inverted", lambda: _ours(InvertedIndex.build(vectors, BuildOptions(threads=threads))))
    yield from _of_faiss(vectors, threads)
    if len(vectors) > _GRAPHS_UP_TO:
        notice(f"graphs (HNSW) are not built over {len(vectors):,} vectors: that takes minutes")
        return
    yield from _of_hnswlib(vectors)
    yield from _of_usearch(vectors)


def numpy_search(vectors: Vectors, queries: Vectors, k: int, exclude: Bitmap | None) -> npt.NDArray[np.int64]:
    """Multiplies everything, then selects."""
    out = np.empty((len(queries), k), np.int64)
    scores = queries @ vectors.T
    for row, own in enumerate(scores):
        if exclude is not None:
            own[np.unpackbits(exclude[row], count=len(vectors), bitorder="little").astype(np.bool_)] = -np.inf
        best = np.argpartition(own, -k)[-k:]
        out[row] = best[np.argsort(-own[best])]
    return out


def _ours(index: ExactIndex | InvertedIndex) -> tuple[str, Search, bool]:
    return index.describe(), lambda queries, k, exclude: index.search(queries, k, exclude)[0], True


def _built(name: str, build: Callable[[], tuple[str, Search, bool]]) -> Candidate:
    begun = time.process_time()
    detail, search, filters = build()
    return Candidate(f"{name}{detail.removeprefix(name)}", search, time.process_time() - begun, filters)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        notice(f"{name} is not installed and left out")
        return None


def _of_faiss(vectors: Vectors, threads: int) -> Iterator[Candidate]:
    faiss = _module("faiss")
    if faiss is None:
        return
    lists = 2 ** round(np.log2(4 * np.sqrt(len(vectors))))

    def build(spec: str) -> Any:
        index = faiss.index_factory(vectors.shape[1], spec, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[:: max(1, len(vectors) // (lists * 40))])
        index.add(vectors)
        return index

    def searching(index: Any, options: Callable[..., Any]) -> Search:
        def search(queries: Vectors, k: int, exclude: Bitmap | None) -> npt.NDArray[np.int64]:
            if exclude is None:
                return np.asarray(index.search(queries, k, params=options())[1])
            found = []
            for query, bits in zip(queries, exclude, strict=True):
                allowed = np.invert(bits)
                selector = faiss.IDSelectorBitmap(len(allowed), faiss.swig_ptr(allowed))
                found.append(index.search(query[None], k, params=options(sel=selector))[1][0])
            return np.asarray(found)

        return search

    for spec, names in (
        ("Flat", {"faiss flat": lambda **more: faiss.SearchParameters(**more)}),
        (
            f"IVF{lists},Flat",
            {
                f"faiss IVF{lists}, {probes} lists": lambda probes=probes, **more: faiss.SearchParametersIVF(
                    nprobe=probes, **more
                )
                for probes in (32, 128)
            },
        ),
        (
            "HNSW16",
            {
                f"faiss HNSW16, ef {ef}": lambda ef=ef, **more: faiss.SearchParametersHNSW(efSearch=ef, **more)
                for ef in (200, 400)
            },
        ),
    ):
        if spec == "HNSW16" and len(vectors) > _GRAPHS_UP_TO:
            continue
        faiss.omp_set_num_threads(threads)
        begun = time.process_time()
        index = build(spec)
        took = time.process_time() - begun
        faiss.omp_set_num_threads(1)
        for name, options in names.items():
            yield Candidate(name, searching(index, options), took, True)


def _of_hnswlib(vectors: Vectors) -> Iterator[Candidate]:
    hnswlib = _module("hnswlib")
    if hnswlib is None:
        return
    begun = time.process_time()
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=16, ef_construction=128)
    index.set_num_threads(1)
    index.add_items(vectors)
    took = time.process_time() - begun

    def searching(ef: int) -> Search:
        def search(queries: Vectors, k: int, exclude: Bitmap | None) -> npt.NDArray[np.int64]:
            index.set_ef(ef)
            return np.asarray(index.knn_query(queries, k)[0], dtype=np.int64)

        return search

    for ef in (200, 400):
        yield Candidate(f"hnswlib, ef {ef}", searching(ef), took, False)


def _of_usearch(vectors: Vectors) -> Iterator[Candidate]:
    module = _module("usearch.index")
    if module is None:
        return
    begun = time.process_time()
    index = module.Index(ndim=vectors.shape[1], metric="ip", dtype="f32", expansion_search=200)
    index.add(np.arange(len(vectors)), vectors, threads=1)

    def search(queries: Vectors, k: int, exclude: Bitmap | None) -> npt.NDArray[np.int64]:
        keys = index.search(queries, k, threads=1).keys
        return np.asarray(keys, dtype=np.int64).reshape(len(queries), k)

    yield Candidate("usearch, ef 200", search, time.process_time() - begun, False)
