"""What the cells of a declared column say: categories, numbers or texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute

from rowbank_trainer.data.cells.column import (
    NUMBER_SHAPE,
    BadRows,
    Column,
    as_numpy,
    counted,
    failing,
    is_text,
    missing,
    read_column,
)
from rowbank_trainer.data.cells.ids import RawIds, read_ids
from rowbank_trainer.data.cells.values import read_titles
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.data.entities.lists import Lists, first_match, is_list, read_lists
from rowbank_trainer.data.options import MISSING_WORDS, Reading
from rowbank_trainer.data.reading import Source
from rowbank_trainer.errors import DataError
from rowbank_trainer.schema import Column as Declared

Notify = Callable[[str], None]
_NUMBER_ADVICE = "expected a finite number; leave the cell empty where there is none"
_LOOKS_LIKE_A_LIST = r"^\s*\[.*,.*\]\s*$"


@dataclass(frozen=True, slots=True)
class Categories:
    """Categories before it is known whether they are integers or text.

    Attributes:
        rows: [R] int64, ascending: rows of the file that have a value.
        raw: of [F] categories, one row's after the other's.
        starts: [R + 1] int64.
    """

    rows: Ids
    raw: RawIds
    starts: Ids


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers: rows [R] int64 of the file that have one, and [R] float64 that are finite as float32."""

    rows: Ids
    values: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts: rows [R] int64 of the file that have one, and R texts."""

    rows: Ids
    values: list[str]


def read_categories(source: Source, declared: Declared, values: pyarrow.ChunkedArray, reading: Reading,
                    notify: Notify) -> Categories:  # fmt: skip
    """Categories of a column.

    Raises:
        DataError: cells are of a type that categories cannot have, or are lists where one value is declared, or the
            reverse; a list has an element without a value; an integer does not fit into int64.
    """
    if declared.many:
        lists = read_lists(_plain(source, declared, values, lists=True), declared, reading.missing_words)
        return _of_lists(lists, declared, reading, notify)
    column = _categorical(_plain(source, declared, values))
    _refuse_written_lists(column, declared, notify)
    raw, bad = read_ids(column, declared.name, reading.missing_words)
    present = np.ones(len(column.values), np.bool_)
    for wrong in bad:
        present[wrong.rows] = False
    rows = np.flatnonzero(present).astype(np.int64)
    return Categories(rows, raw.take(rows), np.arange(len(rows) + 1, dtype=np.int64))


def _of_lists(lists: Lists, declared: Declared, reading: Reading, notify: Notify) -> Categories:
    elements = _categorical(lists.elements)
    if is_text(elements.values.type):
        trimmed = pyarrow.compute.utf8_trim_whitespace(elements.values)
        elements = Column(elements.source, elements.name, trimmed)
    raw, bad = read_ids(elements, declared.name, reading.missing_words)
    if not bad:
        return Categories(lists.rows, raw, lists.starts)
    advice = "expected a value at every place of a list; leave such places out"
    wrong = np.unique(lists.row_of[bad[0].rows])
    first = elements.source.place(int(bad[0].rows[0]))
    said = f"{elements}: {counted(len(wrong), 'list')} with an element that is null or empty, the first in {first}"
    if not reading.skip_bad_rows:
        raise DataError(f"{said}; {advice}, or count such lists as missing with --skip-bad-rows")
    notify(f"{said}: they count as missing.")
    good = ~np.isin(lists.rows, wrong)
    lengths = np.diff(lists.starts)
    kept = np.flatnonzero(np.repeat(good, lengths)).astype(np.int64)
    return Categories(lists.rows[good], raw.take(kept), np.r_[0, np.cumsum(lengths[good])].astype(np.int64))


def read_numbers(source: Source, declared: Declared, values: pyarrow.ChunkedArray, reading: Reading,
                 notify: Notify) -> Numbers:  # fmt: skip
    """Numbers of a column; what is missing is left out.

    Raises:
        DataError: cells are no numbers, are NaN or infinite, or have no logarithm where the scale is one.
    """
    column = _plain(source, declared, values)
    kind = column.values.type
    if pyarrow.types.is_boolean(kind):
        column = Column(column.source, column.name, column.values.cast(pyarrow.int8()))
    elif not (_is_number(kind) or is_text(kind) or pyarrow.types.is_null(kind)):
        raise _other_type(column, "numbers", "write them as numbers, such as seconds since 1970")
    # NaN is no word for a missing number unless somebody says so.
    usual = reading.missing_words == MISSING_WORDS
    words = [word for word in reading.missing_words if not usual or word.lower() != "nan"]
    absent = missing(column, words) if is_text(column.values.type) else as_numpy(column.values.is_null())
    rows = np.flatnonzero(~absent.astype(np.bool_)).astype(np.int64)
    numbers, refused = _parsed(column, rows)
    with np.errstate(over="ignore"):
        infinite = ~np.isfinite(numbers.astype(np.float32)) & ~refused
    low = ~(refused | infinite) & (numbers < 0.0) if declared.scale == "log" else np.zeros(len(rows), np.bool_)
    for wrong, one, several, advice in (
        (refused, "cell that is no number", "cells that are no numbers", _NUMBER_ADVICE),
        (infinite, "number that is not finite", "numbers that are not finite", _NUMBER_ADVICE),
        (low, "number below 0", "numbers below 0", "scale = log takes logarithms of 1 + the number"),
    ):
        if wrong.any():
            _settle(BadRows(column, one, several, rows[wrong], advice), reading, notify)
    good = ~(refused | infinite | low)
    return Numbers(rows[good], numbers[good])


def read_texts(source: Source, declared: Declared, values: pyarrow.ChunkedArray) -> Texts:
    """Texts of a column; blank ones are left out. Raises DataError."""
    texts = read_titles(_plain(source, declared, values))
    rows = [row for row, text in enumerate(texts) if text]
    return Texts(np.array(rows, np.int64), [texts[row] for row in rows])


def _plain(source: Source, declared: Declared, values: pyarrow.ChunkedArray, *, lists: bool = False) -> Column:
    """A column of single values, or with `lists` of lists."""
    if is_list(values.type):
        column = Column(source, declared.name, values)
        if lists:
            return column
        advice = (
            "declare them (many = true, length = ...), or write one value in each row"
            if declared.type == "categorical"
            else "write one value in each row"
        )
        row = int(np.argmin(as_numpy(values.is_null())))
        raise DataError(
            f"{column}: the schema says one {declared.type} value, got lists ({values.type}), such as "
            f"{column.at(row)}; {advice}"
        )
    return read_column(source, declared.name, values)


def _categorical(column: Column) -> Column:
    """A column of integers or text. Raises DataError."""
    kind = column.values.type
    if pyarrow.types.is_boolean(kind):
        return Column(column.source, column.name, column.values.cast(pyarrow.int8()))
    if pyarrow.types.is_floating(kind):
        raise _other_type(
            column, "integers or text", "declare a numeric column; pandas makes fractions of integers where cells are "
            "empty: use its type Int64"
        )  # fmt: skip
    if not (is_text(kind) or pyarrow.types.is_integer(kind) or pyarrow.types.is_decimal(kind)
            or pyarrow.types.is_null(kind)):  # fmt: skip
        raise _other_type(column, "integers or text", "write them as text")
    return column


def _other_type(column: Column, expected: str, advice: str) -> DataError:
    row = int(np.argmin(as_numpy(column.values.is_null())))
    return DataError(f"{column}: expected {expected}, got {column.values.type}, such as {column.at(row)}; {advice}")


def _refuse_written_lists(column: Column, declared: Declared, notify: Notify) -> None:
    """Cells of text that look like lists."""
    if not is_text(column.values.type):
        return
    words = column.values.unique()
    row = first_match(column, words, pyarrow.compute.match_substring_regex(words, _LOOKS_LIKE_A_LIST))
    if row is not None:
        raise DataError(
            f"{column}: the schema says one categorical value, got a list: {column.at(row)}; declare lists "
            "(many = true, length = ...) and write their values with | between them, or write one value in each row"
        )
    row = first_match(column, words, pyarrow.compute.match_substring(words, declared.separator))
    if row is not None:
        notify(
            f"{column}: texts with {declared.separator!r} count as one value each, such as {column.at(row)}; if they "
            "are lists, declare many = true."
        )


def _is_number(kind: pyarrow.DataType) -> bool:
    return bool(pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_decimal(kind))


def _parsed(column: Column, rows: Ids) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Numbers of some rows, and which of these rows are none; NaN there."""
    values = column.values.take(pyarrow.array(rows))
    numbers = np.full(len(rows), np.nan, np.float64)
    wrong = np.zeros(len(rows), np.bool_)
    try:
        numbers[:] = _as_floats(values)
    except pyarrow.ArrowInvalid:
        shape = f"(?i){NUMBER_SHAPE}|^\\s*[+-]?(nan|inf|infinity)\\s*$"
        wrong[failing(values, _as_floats, shape)] = True
        numbers[~wrong] = _as_floats(values.filter(pyarrow.array(~wrong)))
    return numbers, wrong


def _as_floats(values: pyarrow.ChunkedArray) -> npt.NDArray[np.float64]:
    if is_text(values.type):
        values = pyarrow.compute.utf8_trim_whitespace(values)
    return as_numpy(values.cast(pyarrow.float64(), safe=False)).astype(np.float64)


def _settle(bad: BadRows, reading: Reading, notify: Notify) -> None:
    """Says that cells count as missing. Raises DataError if they must not be there."""
    said = f"{bad.column}: {bad.counted()}, the first in {bad.first()}"
    if not reading.skip_bad_rows:
        raise DataError(f"{said}; {bad.advice}, or count such cells as missing with --skip-bad-rows")
    notify(f"{said}: they count as missing.")
