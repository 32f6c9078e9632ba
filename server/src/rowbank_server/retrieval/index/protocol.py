"""What the service asks of an index of item vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Kind = Literal["exact", "inverted", "faiss"]
Bonus = Sequence[npt.NDArray[np.float32] | None]
"""Per query what is added to the scores: [size] float32, finite and at most 1e18 large, or None."""


class Index(Protocol):
    """Vectors under the dot product. Immutable; any number of threads may search, and nobody waits for another."""

    @property
    def kind(self) -> Kind: ...

    @property
    def size(self) -> int: ...

    @property
    def dim(self) -> int: ...

    @property
    def bytes(self) -> int:
        """Of memory, the vectors included; files that are mapped count, whoever shares them."""

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        """[size, dim] float32, read-only."""

    def describe(self) -> str:
        """How it searches, for people: "exact", "inverted, 32 of 1024 lists"."""

    def search(
        self,
        queries: npt.NDArray[np.float32],
        k: int,
        exclude: npt.NDArray[np.uint8] | None,
        bonus: Bonus | None = None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The best k positions of each query, best first, equal scores by position, and their scores.

        A score is the dot product plus the bonus, computed in double precision and rounded to float32.

        Args:
            queries: [B, dim] float32.
            exclude: [B, ceil(size / 8)] uint8, bit i (least significant first) takes position i out; None: nothing;
                [1, ceil(size / 8)]: the same for all queries.
            bonus: B entries, each [size] float32 or None; None: nothing is added.
        Returns:
            positions [B, k] int64, -1 where fewer are eligible; scores [B, k] float32, -inf there.

        Raises:
            ValueError: another shape, or a query or bonus that is not finite or beyond 1e18.
        """
