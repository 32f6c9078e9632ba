"""Cells of a column, whatever their type: which are missing, which cannot be parsed, and how that is said."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute

from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.data.reading import Source
from rowbank_trainer.errors import DataError

Values: TypeAlias = pyarrow.ChunkedArray
NUMBER_SHAPE = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_SHOWN = 3
_MAX_SHOWN = 60  # Characters of a cell.


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a file, read.

    Attributes:
        values: [N], of no dictionary type.
    """

    source: Source
    name: str
    values: Values

    def __str__(self) -> str:
        return f"{self.source.path}: column {self.name!r}"

    def got(self, row: int) -> str:
        """The cell in a row as it is shown to people."""
        value = self.values[row].as_py() if not pyarrow.types.is_timestamp(self.values.type) else self.values[row]
        if value is None:
            return "null"
        if not isinstance(value, str):
            return str(value)
        return repr(value) if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]!r}..."

    def at(self, row: int) -> str:
        """A cell and where it is, as it is shown to people."""
        return f"{self.got(row)} in {self.source.place(row)}"


@dataclass(frozen=True, slots=True)
class BadRows:
    """Rows that cannot be used for what is in one column.

    Attributes:
        what, several: what is wrong with them, such as "missing user id" and "missing user ids".
        rows: [N] int64 positions, ascending, at least one.
        advice: what was expected and what to do.
    """

    column: Column
    what: str
    several: str
    rows: Ids
    advice: str

    def counted(self) -> str:
        """How many of what."""
        return counted(len(self.rows), self.what, self.several)

    def first(self) -> str:
        """The first rows in words."""
        rows = self.rows[:_SHOWN].tolist()
        places = self.column.source.places(rows)
        more = ", ..." if len(self.rows) > _SHOWN else ""
        return ", ".join(f"{place} ({self.column.got(row)})" for place, row in zip(places, rows, strict=True)) + more

    def error(self) -> DataError:
        """For when no row may be left out."""
        return DataError(
            f"{self.column}: {self.counted()}, the first in {self.first()}; {self.advice}, "
            "or leave such rows out with --skip-bad-rows"
        )


def counted(count: int, one: str, several: str | None = None) -> str:
    """As in "1 row" and "2,000 rows"."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def read_column(source: Source, name: str, values: Values) -> Column:
    """A column with dictionaries (categorical columns) replaced by what they stand for.

    Raises:
        DataError: its cells are lists or other nested values.
    """
    if pyarrow.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pyarrow.types.is_nested(values.type):
        kind = "lists" if "list" in str(values.type) else str(values.type)
        raise DataError(
            f"{source.path}: column {name!r}: expected one value in each row, got {kind} ({values.type}); "
            "write a row for each value (explode in pandas and Spark)"
        )
    if pyarrow.types.is_binary(values.type) or pyarrow.types.is_large_binary(values.type):
        try:
            values = values.cast(pyarrow.large_string())
        except pyarrow.ArrowInvalid:
            raise DataError(
                f"{source.path}: column {name!r}: expected text or numbers, got bytes that are no UTF-8 text"
            ) from None
    return Column(source, name, values)


def is_text(kind: pyarrow.DataType) -> bool:
    """Whether a column of this type holds strings."""
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or str(kind) == "string_view")


def missing_pattern(words: Sequence[str]) -> str:
    """A regular expression for cells that are blank or one of `words`, in any case."""
    listed = "|".join(re.escape(word) for word in words if word)
    return rf"(?i)^\s*({listed})?\s*$"


def missing(column: Column, words: Sequence[str]) -> npt.NDArray[np.bool_]:
    """[N] which cells are null, NaN, blank or one of `words`."""
    kind = column.values.type
    mask = column.values.is_null(nan_is_null=bool(pyarrow.types.is_floating(kind)))
    if is_text(kind):
        blank = pyarrow.compute.match_substring_regex(column.values, missing_pattern(words))
        mask = pyarrow.compute.or_kleene(mask, blank)
    return as_numpy(mask).astype(np.bool_)


def failing(values: Values, parse: Callable[[Values], object], shape: str | None = None) -> Ids:
    """[M] positions of the cells that `parse` refuses, ascending.

    Those of text that have not even the shape of what is wanted are found in one pass, the others by halving: M log N
    calls on ever shorter pieces.

    Args:
        shape: a regular expression.
    """
    if shape is not None and is_text(values.type):
        shaped = as_numpy(pyarrow.compute.match_substring_regex(values, shape)).astype(np.bool_)
        if not shaped.all():
            rest = np.flatnonzero(shaped)
            others = rest[failing(values.take(pyarrow.array(rest)), parse)]
            return np.sort(np.concatenate([np.flatnonzero(~shaped), others])).astype(np.int64)
    found: list[int] = []
    pieces = [(0, len(values))]
    while pieces:
        start, length = pieces.pop()
        try:
            parse(values.slice(start, length))
        except pyarrow.ArrowInvalid:
            if length <= 1:
                found += [start] * length
            else:
                half = length // 2
                pieces += [(start + half, length - half), (start, half)]
    return np.array(found, np.int64)


def as_numpy(values: pyarrow.ChunkedArray | pyarrow.Array) -> npt.NDArray[np.generic]:
    """[N] values; a chunked array always is copied, an array where it must."""
    if isinstance(values, pyarrow.ChunkedArray):
        return np.asarray(values.to_numpy())
    return np.asarray(values.to_numpy(zero_copy_only=False))
