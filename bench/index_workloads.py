"""Indexes beside NumPy, faiss, hnswlib and usearch: recall beside speed, with and without filters."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rowbank_server._core import search_vectors

from .index_candidates import Bitmap, Candidate, Vectors, candidates
from .report import Figure, Settings

_TOP = 100
_QUERIES = 128
_BATCH = 32
_SMALL = 100_000
_CLUSTERS = 2000
_FILTERS = (0.5, 0.1, 0.01, 0.001)
_FILTERED_QUERIES = 32
_BUDGET_S = 4.0  # Of one measurement; slow ones are measured on fewer queries.
_EXACT_SEARCHES = 8  # Queries whose exact answer is computed together.


def index_compare(settings: Settings) -> list[Figure]:
    """The top 100 from 100,000 and `--rows` items, clustered, unclustered, or of `--vectors`: recall and speed."""
    figures = []
    for name, items, queries in _data(settings):
        figures += _compare(f"{name} {len(items):,}", items, queries, settings)
    return figures


def _data(settings: Settings) -> Iterator[tuple[str, Vectors, Vectors]]:
    """Name, items and queries of each set."""
    if settings.vectors:
        with np.load(Path(settings.vectors)) as file:
            yield Path(settings.vectors).stem, _contiguous(file["items"]), _contiguous(file["queries"][:_QUERIES])
        return
    for rows in dict.fromkeys((min(_SMALL, settings.rows), settings.rows)):
        for name, centred, within in (("clustered", 1.0, 0.5), ("unclustered", 0.0, 1.0)):
            random = np.random.default_rng(settings.seed)
            # Directions matter less and less, as in trained towers.
            spread = (np.arange(1, settings.dim + 1) ** -0.4).astype(np.float32)
            centres = centred * random.standard_normal((_CLUSTERS, settings.dim), dtype=np.float32) * spread
            items = _near(random, centres, rows, within * spread)
            yield name, items, _near(random, centres, _QUERIES, 1.4 * within * spread)


def _near(random: np.random.Generator, centres: Vectors, count: int, width: Vectors) -> Vectors:
    """[count, dim] vectors of length 1 near centres, of which some are much more popular than others."""
    share = 1 / np.arange(1, len(centres) + 1)
    drawn = centres[random.choice(len(centres), count, p=share / share.sum())]
    vectors = drawn + width * random.standard_normal(drawn.shape, dtype=np.float32)
    return _contiguous(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _compare(data: str, items: Vectors, queries: Vectors, settings: Settings) -> list[Figure]:
    """All candidates on one set, one after the other; ratios are against NumPy on the same queries."""
    items.flags.writeable = False
    random = np.random.default_rng(settings.seed)
    bits = {
        keeps: np.packbits(random.random((_FILTERED_QUERIES, len(items))) >= keeps, axis=1, bitorder="little")
        for keeps in _FILTERS
    }
    asked = [(1.0, queries, None), *((keeps, queries[:_FILTERED_QUERIES], bits[keeps]) for keeps in _FILTERS)]
    exact = {keeps: _exact(items, some, exclude) for keeps, some, exclude in asked}
    reference: dict[float, float] = {}
    figures = []
    for candidate in candidates(items, threads=settings.threads):
        for keeps, some, exclude in asked:
            if exclude is not None and not candidate.filters:
                continue
            figure = _measured(data, candidate, (keeps, some, exclude), items, exact[keeps])
            told = " ".join(f"{name} {value:.4g}" for name, value in figure.detail.items())
            print(f"  {figure.subject}: {told}", file=sys.stderr, flush=True)
            reference.setdefault(keeps, figure.detail["ms"])
            figures.append(
                Figure(
                    figure.workload,
                    figure.subject,
                    "NumPy",
                    reference[keeps] / figure.detail["ms"],
                    None,
                    figure.detail,
                )
            )
    return figures


def _measured(
    data: str,
    candidate: Candidate,
    asked: tuple[float, Vectors, Bitmap | None],
    items: Vectors,
    exact: npt.NDArray[np.float64],
) -> Figure:
    """Recall of all queries, the median time of one, and the time of one in a batch.

    Times are those of processors, of all threads: neighbours on the machine do not count, nor do more cores.
    """
    keeps, queries, exclude = asked
    seconds: list[float] = []
    recalls: list[float] = []
    ends = time.perf_counter() + _BUDGET_S
    candidate.search(queries[:1], _TOP, None if exclude is None else exclude[:1])
    for row in range(len(queries)):
        begun = time.perf_counter()
        if begun > ends and row >= 8:
            break
        spent = time.process_time()
        found = candidate.search(queries[row : row + 1], _TOP, None if exclude is None else exclude[row : row + 1])[0]
        seconds.append(time.process_time() - spent)
        recalls.append(_recall(items, queries[row], found, exact[row]))
    detail = {
        "keeps": keeps,
        "recall": float(np.mean(recalls)),
        "ms": 1e3 * float(np.median(seconds)),
        "build_s": candidate.build_s,
    }
    if exclude is None:
        spent = time.process_time()
        candidate.search(queries[:_BATCH], _TOP, None)
        detail["batch_ms"] = 1e3 * (time.process_time() - spent) / _BATCH
    return Figure("index_compare", f"{candidate.name}, {data}, {keeps:.1%}", "NumPy", 1.0, None, detail)


def _exact(items: Vectors, queries: Vectors, exclude: Bitmap | None) -> npt.NDArray[np.float64]:
    """[B]: the score of the last of the best; [B, 2] with how many there are."""
    out = np.empty((len(queries), 2))
    for start in range(0, len(queries), _EXACT_SEARCHES):
        rows = slice(start, start + _EXACT_SEARCHES)
        scores = search_vectors(items, queries[rows], _TOP, None if exclude is None else exclude[rows])[1]
        wanted = np.isfinite(scores).sum(axis=1)
        out[rows, 0] = np.where(wanted > 0, scores[np.arange(len(scores)), np.maximum(wanted - 1, 0)], np.inf)
        out[rows, 1] = wanted
    return out


def _recall(items: Vectors, query: Vectors, found: npt.NDArray[np.int64], exact: npt.NDArray[np.float64]) -> float:
    """The share of the best that was found: results that score like them, up to the rounding of float32 sums."""
    least, wanted = exact
    positions = np.unique(found[(found >= 0) & (found < len(items))])
    scores = items[positions].astype(np.float64) @ query.astype(np.float64)
    return min(1.0, float((scores >= least - 1e-6 * abs(least)).sum()) / wanted) if wanted else 1.0


def _contiguous(vectors: npt.NDArray[np.float32]) -> Vectors:
    return np.ascontiguousarray(vectors, dtype=np.float32)
