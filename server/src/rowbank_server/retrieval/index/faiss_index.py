"""An index of the faiss library behind the same protocol, for those who want to compare or already tune it."""

from __future__ import annotations

import importlib
import importlib.util
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank_server import _core
from rowbank_server.retrieval.index.inverted import list_count
from rowbank_server.retrieval.index.protocol import Bonus, Kind
from rowbank_server.retrieval.index.tuning import Tuning, sample_queries, smallest_that_reaches

Vectors = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

# Of so many positions one has to be eligible; where there are fewer, or a score has a bonus, all are scored.
_FEW = 20
_TRAINED_PER_LIST = 40


class FaissMissingError(Exception):
    """The package is not installed; the text says what to do."""

    def __init__(self) -> None:
        super().__init__(
            "index_kind is faiss, and the package faiss-cpu is not installed; install rowbank-server[faiss], or set "
            "index_kind to auto"
        )


def require_faiss() -> None:
    """Looks, without loading it, whether the package is installed.

    Raises:
        FaissMissingError: it is not.
    """
    if importlib.util.find_spec("faiss") is None:
        raise FaissMissingError


class FaissIndex:
    """Inverted lists of faiss (`IVF,Flat`) under the dot product, reading as many lists as the target recall asks for.

    What faiss finds is scored again in double precision, so that scores and their order are those of other indexes.
    faiss adds no bonus and finds too few where a filter leaves few: then all eligible vectors are scored.

    Raises:
        FaissMissingError: the package is not installed.
        ValueError: no vectors, or one that is not finite or is longer than 1e18.
    """

    kind: Kind = "faiss"

    def __init__(self, vectors: Vectors, recall_target: float, queries: Vectors | None = None) -> None:
        try:
            self._faiss: Any = importlib.import_module("faiss")
        except ImportError as error:
            raise FaissMissingError from error
        self._vectors = np.array(vectors, dtype=np.float32, order="C")
        self._vectors.flags.writeable = False
        _core.search_vectors(self._vectors, np.zeros((0, self.dim), np.float32), 1)
        _refuse_unsound(self._vectors)
        self._lists = min(list_count(self.size), max(1, self.size // _TRAINED_PER_LIST))
        self._index = self._faiss.index_factory(self.dim, f"IVF{self._lists},Flat", self._faiss.METRIC_INNER_PRODUCT)
        random = np.random.default_rng(0)
        sample = np.sort(random.permutation(self.size)[: self._lists * _TRAINED_PER_LIST])
        self._index.train(self._vectors[sample])
        self._index.add(self._vectors)
        asked = sample_queries(self._vectors, queries, 0)
        self._tuning = Tuning(self._lists, 1.0, recall_target)
        self._tuning = smallest_that_reaches(recall_target, self._lists, asked, self._search_lists)

    @property
    def size(self) -> int:
        return len(self._vectors)

    @property
    def dim(self) -> int:
        return int(self._vectors.shape[1])

    @property
    def bytes(self) -> int:
        """Of memory: the vectors twice, as faiss keeps its own, with their positions."""
        return 2 * self._vectors.nbytes + 8 * self.size + 4 * self._lists * self.dim

    @property
    def vectors(self) -> Vectors:
        return self._vectors

    @property
    def tuning(self) -> Tuning:
        return self._tuning

    def describe(self) -> str:
        return f"faiss, {self._tuning.lists_read} of {self._lists} lists"

    def search(
        self, queries: Vectors, k: int, exclude: npt.NDArray[np.uint8] | None, bonus: Bonus | None = None
    ) -> tuple[Positions, Vectors]:
        asked = np.ascontiguousarray(queries, dtype=np.float32)
        _core.search_vectors(self._vectors, asked, 0, exclude, bonus)  # Refuses wrong arguments.
        if bonus is not None and any(one is not None for one in bonus):
            return _core.search_vectors(self._vectors, asked, k, exclude, bonus)
        positions = np.full((len(asked), k), -1, np.int64)
        scores = np.full((len(asked), k), -np.inf, np.float32)
        for row, query in enumerate(asked):
            bits = None if exclude is None else exclude[min(row, len(exclude) - 1)]
            positions[row], scores[row] = self._search_one(query[None], k, bits)
        return positions, scores

    def _search_one(self, query: Vectors, k: int, exclude: npt.NDArray[np.uint8] | None) -> tuple[Any, Any]:
        """The best of one query [1, dim]."""
        eligible = self.size if exclude is None else self.size - _excluded(exclude, self.size)
        rows = None if exclude is None else exclude[None]
        wanted = min(k, eligible)
        more = max(1.0, k / self._tuning.k) * self.size / max(1, eligible)  # The best lie in more lists.
        lists = min(self._lists, math.ceil(self._tuning.lists_read * more))
        if wanted == 0 or eligible * _FEW <= self.size or lists >= self._lists:
            found, best = _core.search_vectors(self._vectors, query, k, rows)
            return found[0], best[0]
        found = self._asked(query, wanted, lists, exclude)[0]
        if (found < 0).any():
            found, best = _core.search_vectors(self._vectors, query, k, rows)
            return found[0], best[0]
        order, best = self._scored(found, query[0])
        return np.pad(order, (0, k - wanted), constant_values=-1), np.pad(
            best, (0, k - wanted), constant_values=-np.inf
        )

    def _scored(self, found: Positions, query: Vectors) -> tuple[Positions, Vectors]:
        """[n] positions best first, equal scores by position, and their scores."""
        exact = self._vectors[found].astype(np.float64) @ query.astype(np.float64)
        order = np.lexsort((found, -exact))
        return found[order], exact[order].astype(np.float32)

    def _asked(self, queries: Vectors, k: int, lists: int, exclude: npt.NDArray[np.uint8] | None) -> Positions:
        """[B, k] positions that faiss finds, -1 where it finds fewer."""
        options = self._faiss.SearchParametersIVF(nprobe=lists)
        if exclude is not None:
            allowed = np.invert(exclude)
            options.sel = self._faiss.IDSelectorBitmap(len(allowed), self._faiss.swig_ptr(allowed))
            found = self._index.search(queries, k, params=options)[1]
            del allowed  # The selector pointed to it.
        else:
            found = self._index.search(queries, k, params=options)[1]
        return np.asarray(found, dtype=np.int64)

    def _search_lists(self, queries: Vectors, k: int, lists: int) -> tuple[Positions, Vectors]:
        if lists >= self._lists:
            return _core.search_vectors(self._vectors, queries, k)
        wanted = min(k, self.size)
        found = self._asked(queries, wanted, lists, None)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        for row, query in enumerate(queries):
            here = found[row][found[row] >= 0]
            scores[row, : len(here)] = self._scored(here, query)[1]
        return found, scores


def _excluded(exclude: npt.NDArray[np.uint8], size: int) -> int:
    bits = np.unpackbits(exclude, bitorder="little", count=size)
    return int(np.count_nonzero(bits))


def _refuse_unsound(vectors: Vectors) -> None:
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    wrong = np.flatnonzero(~(lengths <= 1e18))
    if len(wrong):
        raise ValueError(f"vector {wrong[0]} is not finite or is longer than 1e18")
