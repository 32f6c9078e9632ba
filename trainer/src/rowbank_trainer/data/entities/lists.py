"""Lists in the cells of a column: their elements one after the other, and in which row each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow
import pyarrow.compute

from rowbank_trainer.data.cells.column import Column, Values, as_numpy, is_text, missing
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.data.reading import Source
from rowbank_trainer.errors import DataError
from rowbank_trainer.schema import Column as Declared

_BRACKETS = r"^\s*\[.*\]\s*$"


@dataclass(frozen=True, slots=True)
class Lists:
    """The lists of a column.

    Attributes:
        rows: [R] int64, ascending: rows of the file with a list that is not empty.
        starts: [R + 1] int64: list r is elements `starts[r]` to `starts[r + 1]`.
        elements: a column of them, [F], none missing in a good file; it knows the row of each.
        row_of: [F] int64.
    """

    rows: Ids
    starts: Ids
    elements: Column
    row_of: Ids


def is_list(kind: pyarrow.DataType) -> bool:
    """Whether cells of this type are lists."""
    return bool(
        pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind) or pyarrow.types.is_fixed_size_list(kind)
    )


def read_lists(cells: Column, declared: Declared, missing_words: Sequence[str]) -> Lists:
    """The lists of a column, those in texts divided by the separator.

    Raises:
        DataError: cells are neither lists nor text.
    """
    values = cells.values
    if is_text(values.type):
        values = _divided(cells, declared, missing_words)
    elif pyarrow.types.is_null(values.type):
        values = values.cast(pyarrow.list_(pyarrow.string()))
    elif not is_list(values.type):
        row = int(np.argmin(as_numpy(values.is_null())))
        raise DataError(
            f"{cells}: the schema says a list of values (many = true), got one value of type {values.type} in a row, "
            f"such as {cells.at(row)}; write lists, or leave out many"
        )
    pieces = values.chunks or [pyarrow.array([], values.type)]
    lengths = np.concatenate([as_numpy(pyarrow.compute.list_value_length(piece).fill_null(0)) for piece in pieces])
    flat = pyarrow.chunked_array([_elements(piece) for piece in pieces], type=pieces[0].type.value_type)
    rows = np.flatnonzero(lengths).astype(np.int64)
    row_of = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    if pyarrow.types.is_dictionary(flat.type):
        flat = flat.cast(flat.type.value_type)
    column = Column(_Elements(cells.source, row_of), cells.name, flat)
    return Lists(rows, np.r_[0, np.cumsum(lengths[rows])].astype(np.int64), column, row_of)


def _elements(piece: pyarrow.Array) -> pyarrow.Array:
    return piece.drop_null().flatten() if pyarrow.types.is_fixed_size_list(piece.type) else piece.flatten()


def _divided(cells: Column, declared: Declared, missing_words: Sequence[str]) -> Values:
    """Lists of texts."""
    # Distinct texts are few beside rows, and are looked at once.
    encoded = cells.values.cast(pyarrow.large_string()).dictionary_encode().unify_dictionaries()
    if not encoded.num_chunks:
        return pyarrow.chunked_array([], pyarrow.list_(pyarrow.large_string()))
    words = encoded.chunk(0).dictionary
    brackets = first_match(cells, words, pyarrow.compute.match_substring_regex(words, _BRACKETS))
    if brackets is not None:
        raise DataError(
            f"{cells}: expected a list in a file of text as its values with {declared.separator!r} between them "
            f"(separator), got {cells.at(brackets)}; write it so, or use Parquet or JSON lines"
        )
    absent = pyarrow.array(missing(Column(cells.source, cells.name, pyarrow.chunked_array([words])), missing_words))
    divided = pyarrow.compute.split_pattern(words, declared.separator)
    divided = pyarrow.compute.if_else(absent, pyarrow.scalar(None, divided.type), divided)
    return pyarrow.chunked_array([divided.take(chunk.indices) for chunk in encoded.chunks])


def first_match(cells: Column, words: pyarrow.Array, matches: pyarrow.Array) -> int | None:
    """The first row with the first of the column's distinct texts that match; None: none does."""
    found = np.flatnonzero(as_numpy(matches.fill_null(False)).astype(np.bool_))
    if not len(found):
        return None
    word = pyarrow.scalar(words[int(found[0])].as_py(), cells.values.type)
    return int(pyarrow.compute.index(cells.values, word).as_py())


class _Elements(Source):
    """Says the row of the list in which an element is."""

    def __init__(self, source: Source, row_of: Ids) -> None:
        self.path, self.columns = source.path, source.columns
        self._source, self._row_of = source, row_of

    def read(self, columns: Sequence[str]) -> pyarrow.Table:
        return self._source.read(columns)

    def places(self, rows: Sequence[int]) -> list[str]:
        found, index = np.unique(self._row_of[list(rows)], return_inverse=True)
        places = self._source.places(found.tolist())
        return [places[place] for place in index.tolist()]
