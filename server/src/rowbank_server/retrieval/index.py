"""What the service asks of an index of item vectors."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from rowbank_server._core import FlatIndex


class Index(Protocol):
    """Vectors under the dot product. Immutable; any number of threads may search."""

    @property
    def size(self) -> int: ...

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        """[size, dim] float32, read-only."""

    def search(
        self, queries: npt.NDArray[np.float32], k: int, exclude: npt.NDArray[np.uint8] | None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The best k positions of each query, best first, and their scores.

        Args:
            queries: [B, dim] float32.
            exclude: [B, ceil(size / 8)] uint8, bit i (least significant first) takes position i out; None: nothing.
        Returns:
            positions [B, k] int64, -1 where fewer are eligible; scores [B, k] float32, -inf there.
        """


class ExactIndex:
    """The default: an exact scan in the native core."""

    def __init__(self, vectors: npt.NDArray[np.float32]) -> None:
        self._flat = FlatIndex(np.ascontiguousarray(vectors, dtype=np.float32))
        self._vectors: npt.NDArray[np.float32] = self._flat.vectors

    @property
    def size(self) -> int:
        return self._flat.size

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        return self._vectors

    def search(
        self, queries: npt.NDArray[np.float32], k: int, exclude: npt.NDArray[np.uint8] | None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        return self._flat.search(np.ascontiguousarray(queries, dtype=np.float32), k, exclude)


def bitmap(positions: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.uint8]:
    """[ceil(size / 8)] uint8 with the bits of `positions` set, least significant bit first."""
    bits = np.zeros((size + 7) // 8, dtype=np.uint8)
    np.bitwise_or.at(bits, positions >> 3, (1 << (positions & 7)).astype(np.uint8))
    return bits
