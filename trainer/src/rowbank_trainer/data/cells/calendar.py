"""Dates written as numbers: 20240131, or with the time of day 20240131235959."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowbank_trainer.data.dataset import Ids

_CLOCK = 10**6  # Of the last six digits, hours, minutes and seconds.


@dataclass(frozen=True, slots=True)
class _Digits:
    """Numbers that may be dates: years 1900 to 2199."""

    first: int
    last: int


DATE_DIGITS = _Digits(1900_01_01, 2199_12_31)
TIME_DIGITS = _Digits(1900_01_01_000000, 2199_12_31_235959)


def looks_like_dates(numbers: Ids) -> bool:
    """Whether all of [N] numbers have the size of a date and most of them are one.

    Seconds of that size are of August 1970, milliseconds of the years after 2571.
    """
    if not len(numbers):
        return False
    lowest, highest = int(numbers.min()), int(numbers.max())
    if not any(digits.first <= lowest and highest <= digits.last for digits in (DATE_DIGITS, TIME_DIGITS)):
        return False
    return bool(seconds_of_dates(numbers)[1].mean() > 0.5)


def seconds_of_dates(numbers: Ids) -> tuple[Ids, npt.NDArray[np.bool_]]:
    """Unix seconds of [N] dates as numbers, and which of them are dates; 0 for the others."""
    timed = numbers >= TIME_DIGITS.first
    days = np.where(timed, numbers // _CLOCK, numbers)
    clock = np.where(timed, numbers % _CLOCK, 0)
    year, month, day = days // 10_000, days // 100 % 100, days % 100
    hour, minute, second = clock // 10_000, clock // 100 % 100, clock % 100
    valid = (days >= DATE_DIGITS.first) & (days <= DATE_DIGITS.last) & (month >= 1) & (month <= 12) & (day >= 1)
    months = np.where(valid, (year - 1970) * 12 + month - 1, 0).astype("M8[M]")
    dates = months.astype("M8[D]") + np.where(valid, day - 1, 0)
    valid &= (dates.astype("M8[M]") == months) & (hour < 24) & (minute < 60) & (second < 60)
    seconds = dates.astype("M8[s]").astype(np.int64) + hour * 3600 + minute * 60 + second
    return np.where(valid, seconds, 0).astype(np.int64), valid
