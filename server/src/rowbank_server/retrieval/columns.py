"""Features of many items in columns, as filters read them: NumPy arrays that may lie in a file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from rowbank_server._core import distinct_texts, take_texts, texts_at
from rowbank_server.features import FeatureData, FeatureField, FeatureType

TEXTS = frozenset({FeatureType.STRING, FeatureType.STRING_LIST})
LISTS = frozenset({FeatureType.INT64_LIST, FeatureType.FLOAT_LIST, FeatureType.STRING_LIST})
# Of a column's values, by its type: of lists those of their elements, of texts their codes.
DTYPES: Mapping[FeatureType, Any] = {
    FeatureType.INT64: np.int64,
    FeatureType.DOUBLE: np.float64,
    FeatureType.STRING: np.int32,
    FeatureType.BOOL: np.bool_,
    FeatureType.INT64_LIST: np.int64,
    FeatureType.FLOAT_LIST: np.float32,
    FeatureType.STRING_LIST: np.int32,
}


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

    def at(self, places: npt.NDArray[np.int64]) -> list[str]:
        """Those at [M] places, none of them negative, in their order."""
        return texts_at(self.data, self.ends, np.ascontiguousarray(places))

    @property
    def bytes(self) -> int:
        """What the arrays take."""
        return self.data.nbytes + self.ends.nbytes

    def take(self, places: npt.NDArray[np.int64]) -> Texts:
        """Those at [M] places, in their order."""
        return Texts(*take_texts(self.data, self.ends, places))

    @classmethod
    def joined(cls, parts: Sequence[Texts]) -> Texts:
        """Several, one after the other."""
        return cls(_concatenated([part.data for part in parts], np.uint8), joined_ends([part.ends for part in parts]))


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One feature of N items; what an item shows, that is with the view's default where no value is stored.

    Attributes:
        present: [N] bool: there is a value or a default. `stored` [N] bool: there is a value.
        values: numbers [N] (int64; float64; bool), codes [N] int32 of a string in `words`; of lists the elements of all
            items one after the other: int64, float32, or codes. Anything where absent.
        ends: of lists [N] int64, where each item's elements end; else None.
        words: of strings and lists of strings, what the codes stand for, each once; else None.
    """

    type: FeatureType
    present: npt.NDArray[np.bool_]
    stored: npt.NDArray[np.bool_]
    values: npt.NDArray[Any]
    ends: npt.NDArray[np.int64] | None = None
    words: Texts | None = None

    def __len__(self) -> int:
        return len(self.present)

    @property
    def bytes(self) -> int:
        """What the arrays take."""
        own = self.present.nbytes + self.stored.nbytes + self.values.nbytes
        return own + (0 if self.ends is None else self.ends.nbytes) + (0 if self.words is None else self.words.bytes)

    def take(self, places: npt.NDArray[np.int64]) -> Column:
        """That of the items at [M] places, in their order; all words stay."""
        present, stored = self.present[places], self.stored[places]
        if self.ends is None:
            return Column(self.type, present, stored, self.values[places], None, self.words)
        taken, ends = spread(self.ends, places)
        return Column(self.type, present, stored, self.values[taken], ends, self.words)


def python_values(column: Column) -> list[Any]:
    """The stored values of all items as Python has them; None where there is none."""
    values: list[Any] = column.values.tolist()
    if column.words is not None:
        words = list(column.words)
        values = [words[code] for code in values] if words else values
    if column.ends is not None:
        ends = [0, *column.ends.tolist()]
        values = [values[start:end] for start, end in itertools.pairwise(ends)]
    return [value if there else None for value, there in zip(values, column.stored.tolist(), strict=True)]


def made_column(field: FeatureField, values: Sequence[FeatureData], stored: npt.NDArray[np.bool_]) -> Column:
    """A column of Python values.

    Args:
        values: N values, with what the view says where none is stored.
        stored: [N] bool: there is a value.
    """
    present = stored if field.default is None else np.ones(len(values), np.bool_)
    elements: Sequence[Any] = values
    ends = None
    if field.type in LISTS:
        lists: Sequence[Any] = values
        ends = np.cumsum(np.fromiter(map(len, lists), np.int64, len(values)), dtype=np.int64)
        elements = list(itertools.chain.from_iterable(lists))
    if field.type in TEXTS:
        codes: dict[str, int] = {}
        coded = np.fromiter((codes.setdefault(text, len(codes)) for text in elements), np.int32, len(elements))
        return Column(field.type, present, stored, coded, ends, Texts.of(list(codes)))
    return Column(field.type, present, stored, np.asarray(elements, DTYPES[field.type]), ends)


def absent_column(kind: FeatureType, count: int) -> Column:
    """One without a value."""
    nothing = np.zeros(count, np.bool_)
    if kind in LISTS:
        values, ends = np.empty(0, DTYPES[kind]), np.zeros(count, np.int64)
        return Column(kind, nothing, nothing, values, ends, Texts.of([]) if kind in TEXTS else None)
    words = Texts.of([""]) if kind in TEXTS else None
    return Column(kind, nothing, nothing, np.zeros(count, DTYPES[kind]), None, words)


def joined_column(parts: Sequence[Column]) -> Column:
    """Several of one type, one after the other; words that are not used go."""
    first = parts[0]
    values = _concatenated([part.values for part in parts], DTYPES[first.type])
    words = None
    if first.words is not None:
        starts = np.cumsum([0, *(len(part.words or ()) for part in parts)])
        shifted = [part.values + np.int32(start) for part, start in zip(parts, starts, strict=False)]
        words, values = _distinct(Texts.joined([part.words for part in parts if part.words is not None]), shifted)
    return Column(
        first.type,
        np.concatenate([part.present for part in parts]),
        np.concatenate([part.stored for part in parts]),
        values,
        None if first.ends is None else joined_ends([part.ends for part in parts if part.ends is not None]),
        words,
    )


def _distinct(words: Texts, codes: Sequence[npt.NDArray[Any]]) -> tuple[Texts, npt.NDArray[np.int32]]:
    """Words without those that no code stands for, each once, and the codes for these."""
    old = _concatenated(codes, np.int32)
    used = np.unique(old).astype(np.int64)
    kept = words.take(used)
    places, firsts = distinct_texts(kept.data, kept.ends)
    new = np.zeros(len(words), np.int32)
    new[used] = places
    return kept.take(firsts), new[old]


def spread(
    ends: npt.NDArray[np.int64], places: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where the elements of the lists at `places` are, and where those lists end once these are taken."""
    lengths = np.diff(ends, prepend=0)[places]
    new = np.cumsum(lengths, dtype=np.int64)
    starts = ends[places] - lengths
    within = np.arange(int(lengths.sum()), dtype=np.int64)
    places_of: npt.NDArray[np.int64] = within + np.repeat(starts - new + lengths, lengths)
    return places_of, new


def joined_ends(parts: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """Where the lists, or texts, of several parts end once they lie one after the other."""
    base, out = 0, []
    for ends in parts:
        out.append(ends + base)
        base += int(ends[-1]) if len(ends) else 0
    return _concatenated(out, np.int64)


def _concatenated(parts: Sequence[npt.NDArray[Any]], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
