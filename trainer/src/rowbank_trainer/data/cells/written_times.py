"""Times as text: whole and fractional numbers, and ISO 8601, parsed a column at a time without losing digits."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute

from rowbank_trainer.data.cells.column import NUMBER_SHAPE, Column, Values, as_numpy, failing, is_text
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.errors import DataError

EXPECTED = (
    "numbers since 1970, dates such as 2024-01-31 or 20240131, or timestamps such as 2024-01-31 12:00:00 "
    "or 2024-01-31T12:00:00.5+02:00"
)
_NUMBER = re.compile(NUMBER_SHAPE)
_ISO_SHAPE = r"^\d{4}-\d{2}-\d{2}([ T][\d:.]+(Z|[+-][\d:]+)?)?$"
_ISO = re.compile(_ISO_SHAPE)
_LOOKED_AT = 1000  # Cells among which is one that tells what they all are.
_ZONE = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}.*(Z|[+-]\d{2}(:?\d{2})?)", re.DOTALL)
_TICKS = ("s", "ms", "us", "ns")
_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_DECIMAL = pyarrow.decimal128(30, 9)  # Room for the digit that a difference may have more.
_BILLION = 10**9
_NS_YEARS = (1678, 2261)  # Whole years that fit into int64 nanoseconds.


def _none() -> Ids:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Parsed:
    """Numbers or ticks of a column.

    Attributes:
        whole: [N] int64; anything where refused.
        fraction: [N] int64 billionths to be added; None: there are none.
        refused: ascending positions of what could not be parsed.
        unit: of ticks; None: `whole` is numbers whose unit is not known yet.
        understood: what they are, in words, if the unit is known.
    """

    whole: Ids
    fraction: Ids | None = None
    refused: Ids = field(default_factory=_none)
    unit: str | None = None
    understood: str = ""

    def take(self, rows: Ids) -> Parsed:
        """Some of them, none refused."""
        fraction = None if self.fraction is None else self.fraction[rows]
        return Parsed(self.whole[rows], fraction, _none(), self.unit, self.understood)


def parse_written(column: Column, values: Values) -> Parsed:
    """Texts; what they all are is told by the first that is a number or a timestamp.

    Raises:
        DataError: neither is, or some timestamps have a time zone and some have none.
    """
    if not len(values):
        return Parsed(_none())
    values = pyarrow.compute.utf8_trim_whitespace(values)
    first = next((text for text in values[:_LOOKED_AT].to_pylist() if _NUMBER.match(text) or _ISO.match(text)), "")
    if not _ISO.match(first):
        return parse_numbers(values)
    parsed = _parse_iso(values, "UTC" if _ZONE.fullmatch(first) else None)
    if len(parsed.refused):
        _refuse_mixed_zones(column, values.take(pyarrow.array(parsed.refused)), first)
    return parsed


def parse_whole(values: Values) -> Parsed | None:
    """Texts that all are whole numbers without blanks around them, in one pass; None: something else."""
    if not is_text(values.type) or values.null_count:
        return None
    try:
        return _whole(values)
    except pyarrow.ArrowInvalid:
        return None


def parse_numbers(values: Values) -> Parsed:
    """Whole numbers, else decimal fractions of up to nine digits, else any fractions, of texts or decimals."""
    with contextlib.suppress(pyarrow.ArrowInvalid):
        return _whole(values)
    with contextlib.suppress(pyarrow.ArrowInvalid):
        return _decimals(values)
    return _with_refused(values, _floats, NUMBER_SHAPE)


def parse_floats(numbers: npt.NDArray[np.float64]) -> Parsed:
    """Float64 numbers; those that are not finite or do not fit into int64 are refused."""
    wrong = ~(np.abs(numbers) < 2.0**63)  # Of NaN, too.
    numbers = np.where(wrong, 0.0, numbers)
    whole = np.floor(numbers)
    fraction = np.rint((numbers - whole) * _BILLION).astype(np.int64)
    return Parsed(whole.astype(np.int64), fraction if fraction.any() else None, np.flatnonzero(wrong).astype(np.int64))


def _whole(values: Values) -> Parsed:
    numbers = values.cast(pyarrow.int64())
    if is_text(values.type) and _has_x(values):
        raise pyarrow.ArrowInvalid("hexadecimal")  # 0x1F, which the cast takes for a number.
    return Parsed(as_numpy(numbers).astype(np.int64, copy=False))


def _has_x(values: Values) -> bool:
    found = (pyarrow.compute.match_substring(values, letter) for letter in ("x", "X"))
    return any(pyarrow.compute.any(one).as_py() for one in found)


def _decimals(values: Values) -> Parsed:
    numbers = values.cast(_DECIMAL)
    whole = pyarrow.compute.floor(numbers)
    below_one = as_numpy(pyarrow.compute.subtract(numbers, whole).cast(pyarrow.float64())).astype(np.float64)
    fraction = np.rint(below_one * _BILLION).astype(np.int64)  # Exact: below one, nine digits are few for a float.
    return Parsed(as_numpy(whole.cast(pyarrow.int64())).astype(np.int64), fraction)


def _floats(values: Values) -> Parsed:
    return parse_floats(as_numpy(values.cast(pyarrow.float64(), safe=False)).astype(np.float64))


def _with_refused(values: Values, parse: Callable[[Values], Parsed], shape: str) -> Parsed:
    """Parses what can be parsed; the rest is refused."""
    refused = failing(values, parse, shape)
    if not len(refused):
        return parse(values)
    kept = np.delete(np.arange(len(values)), refused)
    if not len(kept):
        return Parsed(np.zeros(len(values), np.int64), refused=refused)
    good = values.take(pyarrow.array(kept))
    some = parse_numbers(good) if parse is _floats else parse(good)  # Which may be whole, after all.
    whole = np.zeros(len(values), np.int64)
    whole[kept] = some.whole
    fraction = None
    if some.fraction is not None:
        fraction = np.zeros(len(values), np.int64)
        fraction[kept] = some.fraction
    refused = np.sort(np.concatenate([refused, kept[some.refused]]))
    return Parsed(whole, fraction, refused, some.unit, some.understood)


def _parse_iso(values: Values, zone: str | None) -> Parsed:
    """Timestamps of ISO 8601, all with a time zone or all without, in the coarsest unit that keeps every digit."""

    def parse(piece: Values, units: tuple[str, ...] = _TICKS) -> Parsed:
        for unit in units:
            try:
                stamps = piece.cast(pyarrow.timestamp(unit, zone))
            except pyarrow.ArrowInvalid:
                if unit == units[-1]:
                    raise
                continue
            if unit == "ns":
                _require_years(piece)
            taken = "" if zone else ", taken as UTC, as they have no time zone"
            return Parsed(
                as_numpy(stamps.cast(pyarrow.int64())).astype(np.int64),
                unit=unit,
                understood=f"written timestamps in {_WORDS[unit]}{taken}",
            )
        raise AssertionError(units)

    try:
        return _with_refused(values, parse, _ISO_SHAPE)
    except pyarrow.ArrowInvalid:  # Each can be parsed, but not all in one unit: some are too far away for nanoseconds.
        return _with_refused(values, lambda piece: parse(piece, ("ns",)), _ISO_SHAPE)


def _require_years(values: Values) -> None:
    """Raises ArrowInvalid for years in which nanoseconds overflow: the cast to nanoseconds does so silently."""
    years = as_numpy(pyarrow.compute.utf8_slice_codeunits(values, 0, 4).cast(pyarrow.int64()))
    if len(years) and (years.min() < _NS_YEARS[0] or years.max() > _NS_YEARS[1]):
        raise pyarrow.ArrowInvalid("beyond nanoseconds")


def _refuse_mixed_zones(column: Column, refused: Values, first: str) -> None:
    """If the refused ones would be timestamps but for their zones, says so."""
    zoned = bool(_ZONE.fullmatch(first))
    other = None if zoned else "UTC"
    text = str(refused[0])
    try:
        pyarrow.scalar(text).cast(pyarrow.timestamp("ns", other))
    except pyarrow.ArrowInvalid:
        return
    with_zone, without = (first, text) if zoned else (text, first)
    raise DataError(
        f"{column}: expected all timestamps with a time zone, or none, got {with_zone!r} and {without!r}; "
        "write them alike"
    )
