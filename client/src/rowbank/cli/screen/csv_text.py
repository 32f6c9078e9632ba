"""CSV that a spreadsheet does not take for formulas.

A spreadsheet runs a cell that begins with one of a few characters, and a title may have been written by anybody. Such a
text gets an apostrophe before it. Numbers, and texts that are numbers or lists of them, stay as they are.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_RUN = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class CsvWriter:
    """Writes records to stdout, with a heading where their fields are others than before."""

    def __init__(self) -> None:
        self._fields: list[str] = []

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Writes a line for each record. All have the same fields."""
        if not records:
            return
        writer = csv.DictWriter(sys.stdout, list(records[0]), lineterminator="\n")
        if list(records[0]) != self._fields:
            self._fields = list(records[0])
            writer.writeheader()
        writer.writerows({field: _cell(value) for field, value in record.items()} for record in records)
        sys.stdout.flush()


def _cell(value: Any) -> Any:
    """As CSV has it: lists and objects as JSON, texts so that nothing runs them."""
    if isinstance(value, list | tuple | dict):
        value = json.dumps(value)
    return harmless(value) if isinstance(value, str) else value


def harmless(text: str) -> str:
    """`text`, with an apostrophe before it where a spreadsheet would run it."""
    return f"'{text}" if text.lstrip(" ").startswith(_RUN) and not _are_numbers(text) else text


def _are_numbers(text: str) -> bool:
    words = text.split(" ")
    try:
        for word in words:
            float(word)
    except ValueError:
        return False
    return "_" not in text and text == text.strip()
