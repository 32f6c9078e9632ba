"""Checks of single values in a schema. Each raises `SchemaError` at `where`, which names the part of the schema."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from rowbank.closest import did_you_mean
from rowbank_trainer.errors import SchemaError

_TABLE = re.compile(r"[A-Za-z0-9_\-]{1,64}")
_SHOWN = 60


def shown(value: Any) -> str:
    """A value as it is shown to people."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def one_of(where: str, key: str, value: Any, known: Sequence[str]) -> None:
    """`value` is one of the words in `known`."""
    if not isinstance(value, str) or value not in known:
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        raise SchemaError(where, f"{key}: expected one of {', '.join(known)}, got {shown(value)}{hint}")


def known_key(where: str, key: str, known: Sequence[str]) -> None:
    """`key` is one of those that may be given."""
    if key not in known:
        raise SchemaError(where, f"unknown key {key!r}, expected one of {', '.join(known)}{did_you_mean(key, known)}")


def integer(where: str, key: str, value: Any, low: int, high: int) -> None:
    """`value` is an integer from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SchemaError(where, f"{key}: expected an integer from {low} to {high}, got {shown(value)}")


def number(where: str, key: str, value: Any, expected: str, *, low: float = -math.inf, above: float = -math.inf,
           below: float = math.inf) -> None:  # fmt: skip
    """`value` is a finite number of at least `low`, above `above` and below `below`."""
    good = not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)
    if not (good and low <= value and above < value < below):
        raise SchemaError(where, f"{key}: expected {expected}, got {shown(value)}")


def flag(where: str, key: str, value: Any) -> None:
    """`value` is true or false."""
    if not isinstance(value, bool):
        raise SchemaError(where, f"{key}: expected true or false, got {shown(value)}")


def text(where: str, key: str, value: Any) -> None:
    """`value` is a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise SchemaError(where, f"{key}: expected a text that is not empty, got {shown(value)}")


def table_name(where: str, key: str, value: Any) -> None:
    """`value` can be the last part of a table's name on the server."""
    if not isinstance(value, str) or not _TABLE.fullmatch(value):
        raise SchemaError(
            where, f"{key}: expected 1 to 64 letters, digits, '_' or '-', got {shown(value)}; name a table"
        )
