"""Text files with a header line and delimited cells (CSV and the like). Every cell is read as the text that it is.

Arrow reads the cells, in parallel and by blocks. It does not say in which line a row stands, and quoted cells may hold
line breaks, so a line is found by a second, slower reading, which happens only on the way to an error or a notice.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.csv

from rowbank_trainer.data.reading.source import BLOCK_BYTES, Source, unreadable
from rowbank_trainer.data.reading.text import not_utf8, open_bytes, read_head
from rowbank_trainer.errors import DataError, ReadingError

_SNIFFED = (",", ";", "\t", "|")
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_HEAD_BYTES = 1 << 18
_HEAD_ROWS = 100
_SHOWN = 3


class DelimitedSource(Source):
    """A file of delimited text.

    Args:
        delimiter: one character; None: the one that divides the header and the first rows alike.
        usual: what to take where several do.
    """

    def __init__(self, path: Path, *, delimiter: str | None, usual: str, skip_malformed: bool) -> None:
        self.path = path
        self._skip_malformed = skip_malformed
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n' or ord(delimiter) > 127):
            raise ReadingError(f"--delimiter: expected one character such as ';' or 'tab', got {delimiter!r}")
        raw = read_head(path, _HEAD_BYTES)
        head = raw.decode("utf-8-sig", errors="replace")
        if len(raw) == _HEAD_BYTES:
            head = head[: head.rfind("\n") + 1] or head
        self._delimiter = delimiter or _sniff(head, usual)
        reader = csv.reader(io.StringIO(head, newline=""), delimiter=self._delimiter)
        header = next(row for row in reader if row)
        self._header_lines = reader.line_num
        self.columns = [name.strip() for name in header]
        if any("\ufffd" in name for name in header) and (error := not_utf8(path)):
            raise error
        if self._delimiter != usual and delimiter is None:
            self.understood = f"columns are divided by {_NAMES[self._delimiter]}"

    def hint(self) -> str:
        if any(not name or name.lstrip("-").replace(".", "").isdigit() for name in self.columns):
            return "; its first line looks like a row, not like names of columns: add a header line"
        if len(self.columns) == 1:
            return "; if other characters divide its columns, name them: --delimiter ';'"
        return ""

    def read(self, columns: Sequence[str]) -> pyarrow.Table:
        for name in columns:
            at = [str(index + 1) for index, other in enumerate(self.columns) if other == name]
            if len(at) > 1:
                raise DataError(f"{self.path}: columns {' and '.join(at)} are both named {name!r}; rename one")
        inner = [f"c{self.columns.index(name)}" for name in columns]
        quotes = _Quotes(open_bytes(self.path))
        skipped = _Skipped(self._skip_malformed)
        try:
            table = pyarrow.csv.read_csv(
                quotes,
                pyarrow.csv.ReadOptions(
                    column_names=[f"c{index}" for index in range(len(self.columns))],
                    skip_rows=self._header_lines,
                    block_size=BLOCK_BYTES,
                ),
                pyarrow.csv.ParseOptions(
                    delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=skipped
                ),
                pyarrow.csv.ConvertOptions(
                    include_columns=inner,
                    column_types=dict.fromkeys(inner, pyarrow.string()),
                    strings_can_be_null=False,
                ),
            )
        except (pyarrow.ArrowException, OSError) as error:
            raise self._described(error) from None
        finally:
            quotes.close()
        if quotes.count % 2:
            self._require_closed_quotes()
        self.malformed_count = skipped.count
        if skipped.count:
            self.malformed = list(self._malformed())
        return table.rename_columns(list(columns))

    def places(self, rows: Sequence[int]) -> list[str]:
        wanted = iter(rows)
        found: list[str] = []
        row = next(wanted, None)
        good = (line for line, cells in self._rows() if len(cells) == len(self.columns))
        for number, line in enumerate(good):
            if number == row:
                found.append(f"line {line}")
                row = next(wanted, None)
            if row is None:
                break
        return found

    def _described(self, error: Exception) -> DataError:
        said = str(error)
        if "Empty CSV file" in said or "Could not skip initial" in said:
            return DataError(f"{self.path}: the file has no rows below its header; expected at least one")
        if "straddling" in said:
            return DataError(
                f"{self.path}: a row is longer than {BLOCK_BYTES >> 20} MB; is the end of a quoted cell missing?"
            )
        if "UTF8" in said and (wrong := not_utf8(self.path)):
            return wrong
        problem = next(self._malformed(), None)
        return unreadable(self.path, error) if problem is None else DataError(f"{self.path}: {problem}")

    def _malformed(self) -> Iterator[str]:
        """The first rows with too few or too many cells, in words."""
        expected = len(self.columns)
        bad = ((line, cells) for line, cells in self._rows() if len(cells) != expected)
        for (line, cells), _ in zip(bad, range(_SHOWN), strict=False):
            shown = self._delimiter.join(cells)
            yield (
                f"line {line}: expected {expected} cells as in the header, got {len(cells)}: {shown[:60]!r}; "
                "mend it, put quotes around a cell that holds the delimiter, or leave such rows out "
                "with --skip-bad-rows"
            )

    def _require_closed_quotes(self) -> None:
        last = self._header_lines
        try:
            for line, _ in self._rows(strict=True):
                last = line
        except csv.Error as error:
            if "end of data" in str(error):
                raise DataError(
                    f"{self.path}: a quoted cell begins after line {last} and never ends; add the closing quote"
                ) from None

    def _rows(self, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
        """Rows below the header with the lines (counted from 1) that they begin in."""
        with _long_cells(), open_bytes(self.path) as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
            reader = csv.reader(text, delimiter=self._delimiter, strict=strict)
            line = 1
            for cells in reader:
                if cells and reader.line_num > self._header_lines:
                    yield line, cells
                line = reader.line_num + 1


class _Skipped:
    """Counts rows that Arrow could not tell apart into cells, and leaves them out if they may be."""

    def __init__(self, allowed: bool) -> None:
        self._answer = "skip" if allowed else "error"
        self.count = 0

    def __call__(self, _: Any) -> str:
        self.count += 1
        return self._answer


class _Quotes:
    """A stream that counts the quotes in what is read from it: an odd number means that one is never closed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.count = 0
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read(size if size >= 0 else None)
        self.count += data.count(b'"')
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True
        self._stream.close()


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(1 << 30)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _sniff(head: str, usual: str) -> str:
    """The delimiter that divides the header into several cells and the first rows into as many."""
    divided: list[str] = []
    alike: list[str] = []
    for delimiter in (usual, *(other for other in _SNIFFED if other != usual)):
        counts = []
        with _long_cells():
            for cells in csv.reader(io.StringIO(head, newline=""), delimiter=delimiter):
                if cells:
                    counts.append(len(cells))
                if len(counts) > _HEAD_ROWS:
                    break
        if counts and counts[0] > 1:
            divided.append(delimiter)
            if Counter(counts).most_common(1)[0][0] == counts[0]:
                alike.append(delimiter)
    return (alike or divided or [usual])[0]
