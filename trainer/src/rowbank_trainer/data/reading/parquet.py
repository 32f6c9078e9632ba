"""Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

from rowbank_trainer.data.reading.source import Source, unreadable
from rowbank_trainer.errors import DataError


class ParquetSource(Source):
    """A Parquet file, or a folder of parts of one table."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._dataset = pyarrow.parquet.ParquetDataset(path)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise unreadable(path, error) from None
        self.columns = list(self._dataset.schema.names)

    def read(self, columns: Sequence[str]) -> pyarrow.Table:
        twice = [name for name in columns if self.columns.count(name) > 1]
        if twice:
            raise DataError(f"{self.path}: {self.columns.count(twice[0])} columns are named {twice[0]!r}; rename one")
        try:
            return self._dataset.read(columns=list(columns)).select(list(columns))
        except (pyarrow.ArrowException, OSError, KeyError) as error:
            raise unreadable(self.path, error) from None

    def places(self, rows: Sequence[int]) -> list[str]:
        return [f"row {row + 1}" for row in rows]
