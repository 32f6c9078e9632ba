"""A table that a program holds, read as a file is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow

from rowbank_trainer.data.reading import Source


class MemorySource(Source):
    """Columns with the place of each row in the file that they come from.

    Args:
        path: what errors call it.
        lines: of each row, counted from 1; None: rows are counted instead.
    """

    def __init__(self, path: Path, table: pyarrow.Table, lines: Sequence[int] | None = None) -> None:
        self.path = path
        self.columns = list(table.column_names)
        self._table = table
        self._lines = lines

    def read(self, columns: Sequence[str]) -> pyarrow.Table:
        return self._table.select(list(columns))

    def places(self, rows: Sequence[int]) -> list[str]:
        if self._lines is None:
            return [f"row {row + 1}" for row in rows]
        return [f"line {self._lines[row]}" for row in rows]
