"""The default: an exact scan in the native core."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rowbank_server._core import FlatIndex
from rowbank_server.retrieval.index.protocol import Bonus, Kind


class ExactIndex:
    """Finds exactly the best, however few are eligible.

    Contiguous float32 vectors that nobody can write to are not copied but kept.

    Raises:
        ValueError: a vector that is not finite or is longer than 1e18, or a dim outside 1..4096.
    """

    kind: Kind = "exact"

    def __init__(self, vectors: npt.NDArray[np.float32]) -> None:
        given = np.ascontiguousarray(vectors, dtype=np.float32)
        shared = np.may_share_memory(given, vectors)
        self._lie_over(FlatIndex(given, copy=shared and given.flags.writeable))

    def _lie_over(self, flat: FlatIndex) -> None:
        self._flat = flat
        self._vectors: npt.NDArray[np.float32] = flat.vectors

    @classmethod
    def over(cls, flat: FlatIndex) -> ExactIndex:
        """One that searches a native index that is there already."""
        made = cls.__new__(cls)
        made._lie_over(flat)
        return made

    @property
    def flat(self) -> FlatIndex:
        return self._flat

    @property
    def size(self) -> int:
        return self._flat.size

    @property
    def dim(self) -> int:
        return self._flat.dim

    @property
    def bytes(self) -> int:
        return self._flat.bytes

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        return self._vectors

    def describe(self) -> str:
        return "exact"

    def search(
        self,
        queries: npt.NDArray[np.float32],
        k: int,
        exclude: npt.NDArray[np.uint8] | None,
        bonus: Bonus | None = None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        return self._flat.search(np.ascontiguousarray(queries, dtype=np.float32), k, exclude, bonus)
