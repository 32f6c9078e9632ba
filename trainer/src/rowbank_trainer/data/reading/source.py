"""What every kind of file offers."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from pathlib import Path

import pyarrow

from rowbank_trainer.errors import DataError

BLOCK_BYTES = 16 << 20  # Read at a time; a row of a text file cannot be longer.


class Source(abc.ABC):
    """A file of a table.

    Attributes:
        path: of the file.
        columns: names, in order.
        understood: what was guessed about the file, in words; empty: nothing.
        malformed: rows that could not be told apart into cells and were left out, in words for each of the first.
        malformed_count: how many those are.
    """

    path: Path
    columns: list[str]
    understood: str = ""
    malformed: Sequence[str] = ()
    malformed_count: int = 0

    @abc.abstractmethod
    def read(self, columns: Sequence[str]) -> pyarrow.Table:
        """The columns of these names, with those names.

        Raises:
            DataError: the file is malformed, or a column is there twice.
        """

    @abc.abstractmethod
    def places(self, rows: Sequence[int]) -> list[str]:
        """Where rows (counted from 0, ascending) are: "line 17" of a text file, else "row 17", counted from 1."""

    def place(self, row: int) -> str:
        """Where one row is."""
        return self.places([row])[0]

    def hint(self) -> str:
        """What may be wrong if no column is as expected; empty, or begins with "; "."""
        return ""


def unreadable(path: Path, error: Exception) -> DataError:
    """For what the file system or Arrow says of a file."""
    problem = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return DataError(f"{path}: cannot be read: {problem}")
