"""Checks of single numbers in a spec; each returns the number as the wire will carry it."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from rowbank.errors import InvalidSpec


def number(what: str, value: Any, expected: str, *, low: float = -math.inf, above: float = -math.inf,
           high: float = math.inf, below: float = math.inf) -> float:  # fmt: skip
    """A finite real in [low, high] and in (above, below), else `InvalidSpec` saying `expected`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (numbers.Real, np.number)):
        raise InvalidSpec(f"{what}: expected {expected}, got {value!r}")
    result = float(value)
    if not (math.isfinite(result) and low <= result <= high and above < result < below):
        raise InvalidSpec(f"{what}: expected {expected}, got {value!r}")
    return result


def float32(what: str, value: Any, expected: str, *, low: float = -math.inf, above: float = -math.inf,
            high: float = math.inf, below: float = math.inf) -> float:  # fmt: skip
    """Like `number`, rounded to the nearest float32 and given as the shortest decimal that names it.

    The wire carries float32. Rounding here makes a spec equal to itself after a round trip: 0.1 stays 0.1 instead of
    coming back as 0.10000000149.
    """
    checked = number(what, value, expected, low=low, above=above, high=high, below=below)
    with np.errstate(over="ignore"):
        rounded = float(str(np.float32(checked)))
    return number(what, rounded, f"{expected}, within float32", low=low, above=above, high=high, below=below)


def integer(what: str, value: Any, *, low: int, high: int) -> int:
    """An integer in [low, high], else `InvalidSpec`."""
    wrong_type = isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer))
    if wrong_type or not low <= int(value) <= high:
        raise InvalidSpec(f"{what}: expected an integer from {low} to {high}, got {value!r}")
    return int(value)


def flag(what: str, value: Any) -> bool:
    """A bool, else `InvalidSpec`."""
    if not isinstance(value, (bool, np.bool_)):
        raise InvalidSpec(f"{what}: expected True or False, got {value!r}")
    return bool(value)
