"""Times of interactions, kept as exactly as their column has them: whole ticks since 1970 and the unit of a tick.

What numbers mean is told by their size: seconds stay below 10**11 until the year 5138, milliseconds passed that in
1973, and so on. A column in which sizes say different things is refused: whichever unit were taken, some of its times
would be off by a factor of a thousand, and "the latest" would be wrong without anybody noticing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute

from rowbank_trainer.data.cells.calendar import DATE_DIGITS, TIME_DIGITS, looks_like_dates, seconds_of_dates
from rowbank_trainer.data.cells.column import BadRows, Column, Values, as_numpy, failing, is_text, missing
from rowbank_trainer.data.cells.written_times import (
    EXPECTED,
    Parsed,
    parse_floats,
    parse_numbers,
    parse_whole,
    parse_written,
)
from rowbank_trainer.data.dataset import TICKS_PER_S, Ids
from rowbank_trainer.errors import DataError

_UNITS = ("s", "ms", "us", "ns")
_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", "date": "dates as numbers"}
_BOUNDS = np.array([10**11, 10**14, 10**17])
_BILLION = 10**9
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Times:
    """The times of a column.

    Attributes:
        ticks: [N] int64 since 1970; 0 in bad rows.
        unit: of a tick: "s", "ms", "us" or "ns".
        understood: what the column was taken for, in words.
    """

    ticks: Ids
    unit: str
    understood: str

    def in_unit(self, unit: str) -> Times:
        """The same in a finer unit; OverflowError if that does not fit."""
        factor = TICKS_PER_S[unit] // TICKS_PER_S[self.unit]
        if len(self.ticks) and factor > 1 and int(np.abs(self.ticks).max()) > _LARGEST // factor:
            raise OverflowError
        return replace(self, ticks=self.ticks * factor, unit=unit)


def read_times(column: Column, missing_words: Sequence[str], time_unit: str = "auto") -> tuple[Times, list[BadRows]]:
    """The times of a column of timestamps, dates, numbers or texts of these, and its bad rows.

    Raises:
        DataError: another type, or units are mixed.
    """
    quick = parse_whole(column.values)  # The usual case; whole numbers are no missing cells.
    absent = missing(column, missing_words) if quick is None else np.zeros(len(column.values), np.bool_)
    rows = np.flatnonzero(~absent).astype(np.int64)
    values = column.values.take(pyarrow.array(rows)) if absent.any() else column.values
    bad = []
    if absent.any():
        advice = "expected a time in every row; fill them in"
        bad.append(BadRows(column, "missing time", "missing times", np.flatnonzero(absent).astype(np.int64), advice))
    parsed = _parse(column, values) if quick is None else quick
    refused, wrong = parsed.refused, np.zeros(0, np.int64)
    if len(refused):
        kept = np.delete(np.arange(len(values)), refused)
        wrong, rows = rows[refused], rows[kept]
        parsed = parsed.take(kept)
    if parsed.unit is None:
        times, nodates = _numbers(column, parsed, rows, time_unit)
        wrong = np.sort(np.concatenate([wrong, rows[nodates]]))
    else:
        times = Times(parsed.whole, parsed.unit, parsed.understood)
    if len(wrong):
        bad.append(
            BadRows(column, "cell that is no time", "cells that are no times", wrong, f"expected {EXPECTED}; mend them")
        )
    ticks = np.zeros(len(absent), np.int64)
    ticks[rows] = times.ticks
    return replace(times, ticks=ticks), bad


def _parse(column: Column, values: Values) -> Parsed:
    kind = values.type
    if is_text(kind):
        return parse_written(column, values)
    if pyarrow.types.is_timestamp(kind):
        zone = f"in {kind.tz}" if kind.tz else "taken as UTC, as they have no time zone"
        ticks = as_numpy(values.cast(pyarrow.int64())).astype(np.int64)
        return Parsed(ticks, unit=kind.unit, understood=f"timestamps in {_WORDS[kind.unit]}, {zone}")
    if pyarrow.types.is_date(kind):
        seconds = values.cast(pyarrow.timestamp("s")).cast(pyarrow.int64())
        return Parsed(as_numpy(seconds).astype(np.int64), unit="s", understood="dates")
    if pyarrow.types.is_integer(kind):
        refused = failing(values, lambda piece: piece.cast(pyarrow.int64()))
        return Parsed(as_numpy(values.cast(pyarrow.int64(), safe=False)).astype(np.int64), refused=refused)
    if pyarrow.types.is_floating(kind):
        return parse_floats(as_numpy(values).astype(np.float64))
    if pyarrow.types.is_decimal(kind):
        return parse_numbers(values)
    if pyarrow.types.is_null(kind):
        return Parsed(np.zeros(0, np.int64))
    raise DataError(f"{column}: expected times as {EXPECTED}, got {kind}")


def _numbers(column: Column, parsed: Parsed, rows: Ids, time_unit: str) -> tuple[Times, Ids]:
    """Times of numbers, and the positions of those that are no dates although dates are meant."""
    whole = parsed.whole
    nothing = np.zeros(0, np.int64)
    if time_unit == "date" or (time_unit == "auto" and parsed.fraction is None and looks_like_dates(whole)):
        seconds, valid = seconds_of_dates(whole)
        return Times(seconds, "s", "dates written as numbers, such as 20240131"), np.flatnonzero(~valid).astype(
            np.int64
        )
    unit = _unit_by_size(column, whole, rows) if time_unit == "auto" else time_unit
    if parsed.fraction is None or not parsed.fraction.any():
        return Times(whole, unit, _WORDS[unit]), nothing
    per_tick = _BILLION // TICKS_PER_S[unit]
    too_far = np.abs(whole) > _LARGEST // per_tick - 1
    if too_far.any():
        raise DataError(
            f"{column}: expected fractions of {_WORDS[unit]} between the years 1678 and 2261, got "
            f"{column.at(int(rows[np.argmax(too_far)]))}; write times further away as whole numbers"
        )
    ticks = whole * per_tick + parsed.fraction * per_tick // _BILLION
    return Times(ticks, "ns", f"{_WORDS[unit]} with fractions"), nothing


def _unit_by_size(column: Column, whole: Ids, rows: Ids) -> str:
    """The unit of numbers; 0 and what is near it fits every unit only if nothing else says otherwise."""
    size = np.abs(whole)
    told = size > 0
    if not told.any():
        return "s"
    lowest, highest = size[told].min(), size.max()
    low, high = np.digitize([lowest, highest], _BOUNDS)
    if low != high:
        groups = np.digitize(size, _BOUNDS)
        _refuse_mixed(column, rows, told & (groups == low), _WORDS[_UNITS[low]], groups == high, _WORDS[_UNITS[high]])
    for digits in (DATE_DIGITS, TIME_DIGITS):
        if digits.first <= lowest <= digits.last < highest:
            dated = told & (size <= digits.last)
            others = size[told & ~dated]
            if others.min() >= _BILLION and seconds_of_dates(whole[dated])[1].all():
                _refuse_mixed(column, rows, dated, "a date", told & ~dated, _WORDS[_UNITS[high]])
    return _UNITS[low]


def _refuse_mixed(
    column: Column, rows: Ids, these: npt.NDArray[np.bool_], are: str, those: npt.NDArray[np.bool_], others: str
) -> None:
    first, other = column.at(int(rows[np.argmax(these)])), column.at(int(rows[np.argmax(those)]))
    raise DataError(
        f"{column}: expected times in one unit, got several: {first} is {are} by its size, {other} is {others}; "
        "convert them to one, or say what all are with --time-unit"
    )


def span(times: Times) -> str:
    """From when to when, for people; empty if that is no year of four digits."""
    if not len(times.ticks):
        return ""
    ends = [np.datetime64(int(tick), times.unit).astype("M8[s]") for tick in (times.ticks.min(), times.ticks.max())]
    texts = [str(end) for end in ends]
    return f"{texts[0]} to {texts[1]}" if all(len(text) == len("2024-01-31T00:00:00") for text in texts) else ""
