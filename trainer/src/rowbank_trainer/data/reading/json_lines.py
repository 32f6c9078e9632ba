"""Files with a JSON object in each line. Types of columns are those of the first rows; all rows must keep to them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.json

from rowbank_trainer.data.reading.source import BLOCK_BYTES, Source, unreadable
from rowbank_trainer.data.reading.text import not_utf8, open_bytes, read_head
from rowbank_trainer.errors import DataError

_SAMPLE_ROWS = 1000
_TYPES = {
    str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_(),
    type(None): pyarrow.string(),
}  # fmt: skip
_WORDS = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


class JsonLinesSource(Source):
    """A file of JSON lines; a column is a name that one of the first 1000 objects has."""

    def __init__(self, path: Path) -> None:
        self.path = path
        read_head(path, 1 << 16)
        self._kinds: dict[str, type] = {}
        self._elements: dict[str, type] = {}  # Of lists.
        for line, row in islice(self._rows(), _SAMPLE_ROWS):
            for name, value in row.items():
                self._kinds[name] = self._merged(line, name, self._kinds.get(name, type(None)), value)
                if isinstance(value, list):
                    self._elements[name] = self._merged_elements(line, name, value)
        self.columns = list(self._kinds)

    def read(self, columns: Sequence[str]) -> pyarrow.Table:
        schema = pyarrow.schema([(name, self._type(name)) for name in columns])
        try:
            with open_bytes(self.path) as stream:
                return pyarrow.json.read_json(
                    stream,
                    pyarrow.json.ReadOptions(block_size=BLOCK_BYTES),
                    pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
                ).select(list(columns))
        except (pyarrow.ArrowException, OSError) as error:
            raise self._described(error, columns) from None

    def places(self, rows: Sequence[int]) -> list[str]:
        wanted = set(rows)
        last = max(wanted)
        lines = enumerate(line for line, _ in islice(self._texts(), last + 1))
        return [f"line {line}" for row, line in lines if row in wanted]

    def _described(self, error: Exception, columns: Sequence[str]) -> DataError:
        if wrong := not_utf8(self.path):
            return wrong
        try:
            for line, row in self._rows():
                for name in columns:
                    value = row.get(name)
                    self._merged(line, name, self._kinds[name], value, settled=True)
                    if isinstance(value, list):
                        self._merged_elements(line, name, value, settled=True)
        except DataError as found:
            return found
        return unreadable(self.path, error)

    def _type(self, name: str) -> pyarrow.DataType:
        """Arrow's type of a column. Raises DataError if it is neither one value nor a list of such."""
        kind = self._kinds[name]
        listed = kind is list
        if listed:
            kind = self._elements[name]
        if kind not in _TYPES:
            raise DataError(
                f"{self.path}: column {name!r}: expected one value in each row, or a list of such, got "
                f"{'lists with ' if listed else ''}{_WORDS[kind]}; write single values"
            )
        return pyarrow.list_(_TYPES[kind]) if listed else _TYPES[kind]

    def _merged_elements(self, line: int, name: str, values: list[Any], *, settled: bool = False) -> type:
        """The kind of the elements of a column of lists that met another list."""
        kind = self._elements.get(name, type(None))
        for value in values:
            kind = self._merged(line, name, kind, value, settled=settled)
        return kind

    def _merged(self, line: int, name: str, kind: type, value: Any, *, settled: bool = False) -> type:
        """The kind of a column that had `kind` and then met `value`."""
        new = type(value)
        if new is int and not -(2**63) <= value < 2**63:
            raise DataError.at(
                self.path, line, f"column {name!r}: expected integers of 64 bits with a sign, from -2**63 to "
                f"2**63 - 1, got {value}; write such ids as text, in quotes"
            )  # fmt: skip
        if new is type(None) or new is kind or (kind is float and new is int):
            return kind
        if kind is type(None) and not settled:
            return new
        if kind is int and new is float and not settled:
            return float
        raise DataError.at(
            self.path, line, f"column {name!r}: expected {_WORDS[kind]} as in the rows before, got {_WORDS[new]} "
            f"({value!r}); write all values of a column alike"
        )  # fmt: skip

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for line, text in self._texts():
            try:
                row = json.loads(text)
            except ValueError as error:
                raise DataError.at(
                    self.path, line, f"expected a JSON object in the line, got {_short(text)}: {error}"
                ) from None
            if not isinstance(row, dict):
                raise DataError.at(self.path, line, f"expected a JSON object in each line, got {_short(text)}")
            yield line, row

    def _texts(self) -> Iterator[tuple[int, bytes]]:
        """Lines that are not blank, counted from 1."""
        with open_bytes(self.path) as stream:
            line, rest = 0, b""
            while piece := stream.read(1 << 20):
                *whole, rest = (rest + piece).split(b"\n")
                for text in whole:
                    line += 1
                    if text.strip():
                        yield line, text.removeprefix(b"\xef\xbb\xbf") if line == 1 else text
            if rest.strip():
                yield line + 1, rest


def _short(text: bytes) -> str:
    return repr(text.decode(errors="replace").strip()[:60])
