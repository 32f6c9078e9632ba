"""Checks of single numbers in specs and calls; each returns the number as the wire will carry it."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from rowbank.errors import InvalidRequest, InvalidSpec, RequestError, shown

# Longer than any process lives, and short enough for every clock.
_LONGEST_S = 1e9

Kind = type[RequestError]


def number(what: str, value: Any, expected: str, *, low: float = -math.inf, above: float = -math.inf,
           high: float = math.inf, below: float = math.inf, error: Kind = InvalidSpec) -> float:  # fmt: skip
    """A finite real in [low, high] and in (above, below), else `error` saying `expected`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (numbers.Real, np.number)):
        raise error(f"{what}: expected {expected}, got {shown(value)}")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not (math.isfinite(result) and low <= result <= high and above < result < below):
        raise error(f"{what}: expected {expected}, got {shown(value)}")
    return result


def float32(what: str, value: Any, expected: str, *, low: float = -math.inf, above: float = -math.inf,
            high: float = math.inf, below: float = math.inf, error: Kind = InvalidSpec) -> float:  # fmt: skip
    """Like `number`, rounded to the nearest float32 and given as the shortest decimal that names it.

    The wire carries float32. Rounding here makes a spec equal to itself after a round trip: 0.1 stays 0.1 instead of
    coming back as 0.10000000149.
    """
    checked = number(what, value, expected, low=low, above=above, high=high, below=below, error=error)
    with np.errstate(over="ignore"):
        rounded = float(str(np.float32(checked)))
    if not (math.isfinite(rounded) and low <= rounded <= high and above < rounded < below):
        raise error(f"{what}: expected {expected}, within float32, got {shown(value)}")
    return rounded


def integer(what: str, value: Any, *, low: int, high: int) -> int:
    """An integer in [low, high], else `InvalidSpec`."""
    wrong_type = isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer))
    if wrong_type or not low <= int(value) <= high:
        raise InvalidSpec(f"{what}: expected an integer from {low} to {high}, got {shown(value)}")
    return int(value)


def at_least(what: str, value: Any, low: int, *, bits: int = 63, also: str = "") -> int:
    """An integer argument of a call, from `low` to 2**bits - 1, else `InvalidRequest`.

    Args:
        also: what else would have been taken: ", or None".
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < low:
        raise InvalidRequest(f"{what}: expected an integer of at least {low}{also}, got {shown(value)}")
    if int(value) >= 1 << bits:
        raise InvalidRequest(f"{what}: expected an integer of at most 2**{bits} - 1{also}, got {shown(value)}")
    return int(value)


def seconds(what: str, value: Any) -> float:
    """Seconds above 0 that a call may take, else `InvalidRequest`."""
    checked = number(what, value, "seconds above 0", above=0.0, error=InvalidRequest)
    if checked > _LONGEST_S:
        raise InvalidRequest(f"{what}: expected at most {_LONGEST_S:.0f} seconds, got {shown(value)}")
    return checked


def staleness(value: Any) -> float:
    """Seconds that rows may be old, 0 or more, else `InvalidRequest`."""
    expected = "seconds of at least 0"
    return number("max_staleness_s", value, expected, low=0.0, high=_LONGEST_S, error=InvalidRequest)


def flag(what: str, value: Any) -> bool:
    """A bool, else `InvalidSpec`."""
    if not isinstance(value, (bool, np.bool_)):
        raise InvalidSpec(f"{what}: expected True or False, got {shown(value)}")
    return bool(value)
