"""For large catalogues: lists of similar vectors, of which a search reads as many as its target recall asks for."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank_server import _core
from rowbank_server.retrieval.index.protocol import Bonus, Kind
from rowbank_server.retrieval.index.tuning import Tuning, sample_queries, smallest_that_reaches

ARRAYS = ("centroids", "radii", "spreads", "starts", "positions", "codes", "scale", "error", "norm")
_LISTS_PER_ROOT = 4  # Lists, as a multiple of the square root of the vectors.

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How lists are made.

    Attributes:
        recall_target: the share of the exact best 100 that searches are to find.
        lists: how many; 0: as the number of vectors asks for.
        seed: the same vectors and seed make the same lists.
        threads: 0: half of the processors.
    """

    recall_target: float = 0.99
    lists: int = 0
    seed: int = 0
    threads: int = 0


class InvertedIndex:
    """Reads the lists whose items may score most, until its target recall is kept; exact where few are eligible.

    Attributes:
        tuning: how many lists a search reads at least, and what recall was measured with them.
    """

    kind: Kind = "inverted"

    def __init__(self, vectors: Vectors, arrays: Mapping[str, npt.NDArray[Any]], tuning: Tuning) -> None:
        """An index over arrays that are there already, which nobody may write to.

        Raises:
            ValueError: the arrays do not go together.
        """
        self._arrays = {name: arrays[name] for name in ARRAYS}
        parts: Any = self._arrays.values()
        self._native = _core.InvertedIndex(vectors, *parts)
        self._vectors = vectors.view()
        self._vectors.flags.writeable = False
        self.tuning = tuning
        self._rows = math.ceil(tuning.lists_read * self.size / max(1, self.lists))

    @classmethod
    def build(cls, vectors: Vectors, options: BuildOptions, queries: Vectors | None = None) -> InvertedIndex:
        """Makes lists of [size, dim] vectors, size > 0, and measures how many of them a search must read.

        Contiguous float32 vectors are not copied; nobody may write to them from now on.

        Args:
            queries: [Q, dim]: some that were really asked; others are made of the vectors.

        Raises:
            ValueError: no vectors, or one that is not finite or is longer than 1e18, or a dim outside 1..4096.
        """
        given = np.ascontiguousarray(vectors, dtype=np.float32)
        threads = options.threads or max(1, (os.cpu_count() or 1) // 2)
        lists = min(options.lists or list_count(len(given)), len(given))
        parts = _core.make_lists(given, lists, options.seed, threads)
        made_arrays: list[npt.NDArray[Any]] = [*parts, *_core.encode_slots(given, parts[-1])]
        arrays = dict(zip(ARRAYS, made_arrays, strict=True))
        made = cls(given, arrays, Tuning(len(arrays["radii"]), 1.0, options.recall_target))
        asked = sample_queries(given, queries, options.seed)
        return cls(given, arrays, smallest_that_reaches(options.recall_target, made.lists, asked, made._search_lists))

    @property
    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """What it lies over besides the vectors, by name."""
        return self._arrays

    @property
    def lists(self) -> int:
        return self._native.lists

    @property
    def size(self) -> int:
        return self._native.size

    @property
    def dim(self) -> int:
        return self._native.dim

    @property
    def bytes(self) -> int:
        return self._native.bytes

    @property
    def vectors(self) -> Vectors:
        return self._vectors

    def describe(self) -> str:
        return f"inverted, {self.tuning.lists_read} of {self.lists} lists"

    def search(
        self,
        queries: Vectors,
        k: int,
        exclude: npt.NDArray[np.uint8] | None,
        bonus: Bonus | None = None,
    ) -> tuple[npt.NDArray[np.int64], Vectors]:
        asked = np.ascontiguousarray(queries, dtype=np.float32)
        # Beyond the k that recall was measured with, the best lie in more lists.
        share = max(1.0, k / self.tuning.k)
        lists = min(self.lists, math.ceil(self.tuning.lists_read * share))
        return self._native.search(asked, k, lists, math.ceil(self._rows * share), exclude, bonus)

    def _search_lists(self, queries: Vectors, k: int, lists: int) -> tuple[npt.NDArray[np.int64], Vectors]:
        return self._native.search(queries, k, lists, 0)


def list_count(size: int) -> int:
    """How many lists so many vectors are sorted into: a power of 2 near four times the root of their number."""
    return int(2 ** round(math.log2(max(1.0, _LISTS_PER_ROOT * math.sqrt(size)))))
