"""Features of many items in columns, as filters read them: NumPy arrays that may lie in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from rowbank_server.features import FeatureType


class Texts(Sequence[str]):
    """N strings in two arrays, which may lie in a file.

    Args:
        data: [B] uint8, all of them in UTF-8, one after the other.
        ends: [N] int64, where each of them ends.
    """

    def __init__(self, data: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> None:
        self.data = data
        self.ends = ends

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """Of strings."""
        encoded = [text.encode() for text in texts]
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        place %= len(self)
        start = int(self.ends[place - 1]) if place else 0
        return self.data[start : int(self.ends[place])].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        return (self[place] for place in range(len(self)))


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One feature of N items; what an item shows, that is with the view's default where no value is stored.

    Attributes:
        present: [N] bool: there is a value or a default. `stored` [N] bool: there is a value.
        values: numbers [N] (int64; float64; bool), codes [N] int32 of a string in `words`; of lists the elements of all
            items one after the other: int64, float32, or codes. Anything where absent.
        ends: of lists [N] int64, where each item's elements end; else None.
        words: of strings and lists of strings, what the codes stand for; else None.
    """

    type: FeatureType
    present: npt.NDArray[np.bool_]
    stored: npt.NDArray[np.bool_]
    values: npt.NDArray[Any]
    ends: npt.NDArray[np.int64] | None = None
    words: Texts | None = None
