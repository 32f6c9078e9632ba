"""Which index a catalogue gets."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rowbank_server.retrieval.index.exact import ExactIndex
from rowbank_server.retrieval.index.inverted import BuildOptions, InvertedIndex
from rowbank_server.retrieval.index.protocol import Index

_log = logging.getLogger("rowbank.api")
_FEWEST = 1024  # Vectors that are worth lists.
# An index that reads a larger share of its lists is no faster than a scan, which reads straight on.
_LARGEST_SHARE = 1 / 3

IndexKind = Literal["auto", "exact", "inverted", "faiss"]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """What settings say of indexes.

    Attributes:
        kind: "auto": exact up to `exact_max_items` vectors, inverted above, if its recall reaches the target.
        recall_target: the share of the exact best 100 that an index which is not exact is to find.
        threads: that build an index; 0: half of the processors.
    """

    kind: IndexKind = "auto"
    exact_max_items: int = 500_000
    recall_target: float = 0.99
    threads: int = 0


def make_index(vectors: Vectors, options: IndexOptions, queries: Vectors | None = None) -> Index:
    """The index that the options ask for over [N, dim] vectors.

    Contiguous float32 vectors that nobody can write to are not copied.

    Args:
        queries: [Q, dim]: some that were really asked, to measure recall with.

    Raises:
        ValueError: a vector that is not finite or is longer than 1e18, or a dim outside 1..4096.
        FaissMissingError: the kind is "faiss", and the package is not installed.
    """
    if options.kind == "exact" or len(vectors) < _FEWEST:
        return ExactIndex(vectors)
    if options.kind == "faiss":
        from rowbank_server.retrieval.index.faiss_index import FaissIndex

        return FaissIndex(vectors, options.recall_target, queries)
    if options.kind == "auto" and len(vectors) <= options.exact_max_items:
        return ExactIndex(vectors)
    return _inverted(vectors, options, queries)


def _inverted(vectors: Vectors, options: IndexOptions, queries: Vectors | None) -> Index:
    begun = time.monotonic()
    kept = vectors if not vectors.flags.writeable else vectors.copy()
    made = InvertedIndex.build(kept, BuildOptions(options.recall_target, threads=options.threads), queries)
    tuning = made.tuning
    reached = tuning.recall >= tuning.target and tuning.lists_read <= made.lists * _LARGEST_SHARE
    _log.info(
        "index of %d items: recall %.4f with %d of %d lists (target %.4f), built in %.1f s%s",
        *(made.size, tuning.recall, tuning.lists_read, made.lists, tuning.target, time.monotonic() - begun),
        "" if reached or options.kind == "inverted" else "; that is no faster than an exact search, which is used",
    )
    return made if reached or options.kind == "inverted" else ExactIndex(kept)
