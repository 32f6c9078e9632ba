"""Weights and titles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute

from rowbank_trainer.data.cells.column import NUMBER_SHAPE, BadRows, Column, as_numpy, failing, is_text, missing
from rowbank_trainer.errors import DataError

_ADVICE = "expected a number of at least 0 in every row; mend them"


def read_weights(column: Column, missing_words: Sequence[str]) -> tuple[npt.NDArray[np.float32], list[BadRows]]:
    """[N] float32 weights, 0 in bad rows: those with none, or with one that is no finite number of at least 0."""
    kind = column.values.type
    numeric = pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_decimal(kind)
    if not numeric and not is_text(kind) and not pyarrow.types.is_null(kind):
        raise DataError(f"{column}: expected weights as numbers, got {kind}")
    absent = missing(column, missing_words)
    rows = np.flatnonzero(~absent)
    weights = np.zeros(len(absent), np.float32)
    values = column.values.take(pyarrow.array(rows)) if absent.any() else column.values
    wrong = np.zeros(len(absent), np.bool_)
    try:
        numbers = _numbers(values)
    except pyarrow.ArrowInvalid:
        refused = failing(values, _numbers, NUMBER_SHAPE)
        wrong[rows[refused]] = True
        rows = np.delete(rows, refused)
        numbers = _numbers(column.values.take(pyarrow.array(rows)))
    with np.errstate(over="ignore"):
        weights[rows] = numbers
    wrong |= ~(np.isfinite(weights) & (weights >= 0.0))
    weights[wrong] = 0.0
    bad = [
        BadRows(column, one, several, np.flatnonzero(mask).astype(np.int64), _ADVICE)
        for one, several, mask in (
            ("missing weight", "missing weights", absent),
            ("weight that is no number of at least 0", "weights that are no numbers of at least 0", wrong),
        )
        if mask.any()
    ]
    return weights, bad


def _numbers(values: pyarrow.ChunkedArray) -> npt.NDArray[np.float64]:
    if is_text(values.type):
        values = pyarrow.compute.utf8_trim_whitespace(values)
    return as_numpy(values.cast(pyarrow.float64(), safe=False)).astype(np.float64)


def read_titles(column: Column) -> list[str]:
    """N texts; an empty cell is an empty text, and numbers and dates are the text that they are written as."""
    values = column.values
    if not is_text(values.type):
        try:
            values = values.cast(pyarrow.string())
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
            raise DataError(f"{column}: expected titles as text, got {values.type}; write them as text") from None
    texts: list[str] = pyarrow.compute.utf8_trim_whitespace(values.fill_null("")).to_pylist()
    return texts
