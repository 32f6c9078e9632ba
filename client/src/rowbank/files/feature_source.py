"""Rows of features in files of other programs: Parquet, CSV and JSON lines, read in batches of bounded size."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rowbank.closest import did_you_mean, listed
from rowbank.errors import InvalidFile
from rowbank.files import places
from rowbank.files.places import Place
from rowbank.files.table_file import arrow

BATCH_ROWS = 8192
BATCH_BYTES = 8 << 20  # Of the rows that are handled, and sent, at a time, as far as single rows allow it.
# A row of CSV has to fit into a block, of which Arrow reads some dozens ahead: small ones, unless lines are long.
_CSV_BLOCK_BYTES = (1 << 20, 64 << 20)
_CSV_LINES = 4  # What a block holds of the longest line at least, as texts in quotes go over several.
_FORMATS = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
FORMATS = ("parquet", "csv", "tsv", "jsonl")


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of a file.

    Attributes:
        first: how many rows of the file are before them.
        columns: name -> cells: an Arrow array, as text where the file has no types; of JSON a list of Python values.
    """

    first: int
    rows: int
    columns: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """A file of rows.

    Attributes:
        format: one of `FORMATS`.
        packed: how its bytes are compressed as a whole: "gzip", or "" for not at all.
        names: its columns, in order; of JSON lines those of all rows.
        types: of a Parquet file, name -> Arrow type.
        rows: how many there are; -1: known once they were read.
        block_bytes: of CSV, read at a time.
    """

    place: Place
    format: str
    packed: str
    names: tuple[str, ...]
    types: dict[str, Any]
    rows: int
    block_bytes: int = _CSV_BLOCK_BYTES[0]

    def require(self, name: str, use: str) -> None:
        """Raises InvalidFile unless the file has a column of that name."""
        if name not in self.names:
            raise InvalidFile(
                f"{self.place}: expected a column {name!r} {use}, and there is none{did_you_mean(name, self.names)}; "
                f"it has: {listed(self.names)}"
            )

    def batches(self, names: Sequence[str]) -> Iterator[Batch]:
        """The rows, with some of the columns. Raises InvalidFile: damaged, or no such file any more."""
        read = {"parquet": _parquet_batches, "jsonl": _json_batches}.get(self.format, _csv_batches)
        first = 0
        for rows, columns in read(self, list(dict.fromkeys(names))):
            yield Batch(first, rows, columns)
            first += rows


def open_source(path: str, file_format: str = "") -> Source:
    """The file at a path or URL.

    Args:
        file_format: of `FORMATS`; "": as the name ends.
    Raises:
        MissingPackage: pyarrow or fsspec is not installed.
        InvalidFile: no such file, of no known format, or damaged.
    """
    arrow()
    place = places.place_of(path)
    name = place.path.rpartition("/")[2].lower()
    packed = "gzip" if name.endswith(".gz") else ""
    ending = "." + name.removesuffix(".gz").rpartition(".")[2]
    found = file_format or _FORMATS.get(ending, "")
    if found not in FORMATS:
        raise InvalidFile(
            f"{place}: expected a file whose name ends in {', '.join(_FORMATS)}, also with .gz, got "
            f"{file_format or ending!r}; say what it is with the format: {', '.join(FORMATS)}"
        )
    source = Source(place, found, packed, (), {}, -1)
    if found == "parquet":
        with _parquet(source) as file:
            schema = file.schema_arrow
            names, rows = tuple(schema.names), int(file.metadata.num_rows)
            source = Source(place, found, "", names, {field.name: field.type for field in schema}, rows)
    elif found == "jsonl":
        known: dict[str, None] = {}
        rows = 0
        for _, record in _json_lines(source):
            known.update(dict.fromkeys(record))
            rows += 1
        source = Source(place, found, packed, tuple(known), {}, rows)
    else:
        source = dataclasses.replace(source, block_bytes=_block_bytes(source))
        with _csv(source, {}) as reader:
            source = dataclasses.replace(source, names=tuple(reader.schema.names))
    repeated = sorted({one for one in source.names if source.names.count(one) > 1})
    if repeated:
        raise InvalidFile(f"{place}: column {repeated[0]!r} is there twice; rename one of them")
    return source


@contextlib.contextmanager
def _parquet(source: Source) -> Iterator[Any]:
    pa, parquet = arrow()
    with places.reading(source.place) as stream:
        try:
            yield parquet.ParquetFile(stream, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise InvalidFile(f"{source.place}: not a whole Parquet file: {_first_line(error)}") from None


def _parquet_batches(source: Source, names: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    with _parquet(source) as file:
        metadata = file.metadata
        for group in range(metadata.num_row_groups):
            described = metadata.row_group(group)
            row_bytes = described.total_byte_size // max(described.num_rows, 1) + 1
            size = max(1, min(BATCH_ROWS, BATCH_BYTES // row_bytes))
            for batch in file.iter_batches(size, row_groups=[group], columns=names, use_threads=False):
                yield batch.num_rows, dict(zip(batch.schema.names, batch.columns, strict=True))


@contextlib.contextmanager
def _csv(source: Source, types: dict[str, Any]) -> Iterator[Any]:
    """A reader of text cells; an empty one without quotes is null."""
    pa, _ = arrow()
    from pyarrow import csv

    with _plain_stream(source) as stream:
        try:
            yield csv.open_csv(
                stream,
                read_options=csv.ReadOptions(use_threads=False, block_size=source.block_bytes),
                parse_options=csv.ParseOptions(
                    delimiter="\t" if source.format == "tsv" else ",", newlines_in_values=True
                ),
                convert_options=csv.ConvertOptions(
                    check_utf8=False,
                    column_types=types,
                    include_columns=list(types),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
        except (pa.ArrowException, OSError, EOFError) as error:
            text = _first_line(error)
            if "straddl" in text:
                text = f"a row has more than {source.block_bytes >> 20} MiB, or many lines; write the file as Parquet"
            raise InvalidFile(f"{source.place}: {text}") from None


def _block_bytes(source: Source) -> int:
    with _plain_stream(source) as stream:
        try:
            longest = max(map(len, stream), default=0)
        except (OSError, EOFError) as error:
            raise InvalidFile(f"{source.place}: cannot be read: {_first_line(error)}") from None
    low, high = _CSV_BLOCK_BYTES
    return min(max(low, _CSV_LINES * longest), high)


def _csv_batches(source: Source, names: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    pa, _ = arrow()
    with _csv(source, {name: pa.binary() for name in names}) as reader:
        for block in reader:
            size = max(1, min(BATCH_ROWS, BATCH_BYTES // (block.nbytes // max(block.num_rows, 1) + 1)))
            for start in range(0, block.num_rows, size):
                batch = block.slice(start, size)
                yield batch.num_rows, dict(zip(batch.schema.names, batch.columns, strict=True))


def _json_batches(source: Source, names: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    records: list[dict[str, Any]] = []
    size = 0
    for length, record in _json_lines(source):
        records.append(record)
        size += length
        if len(records) == BATCH_ROWS or size >= BATCH_BYTES:
            yield len(records), {name: [one.get(name) for one in records] for name in names}
            records, size = [], 0
    if records:
        yield len(records), {name: [one.get(name) for one in records] for name in names}


def _json_lines(source: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row with the length of its line."""
    with _plain_stream(source) as stream:
        try:
            for number, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except ValueError as error:
                    raise InvalidFile(f"{source.place}: line {number}: expected a JSON object, got {error}") from None
                if not isinstance(record, dict):
                    kind = type(record).__name__
                    raise InvalidFile(f"{source.place}: line {number}: expected a JSON object, got a {kind}")
                yield len(line), record
        except (OSError, EOFError) as error:
            raise InvalidFile(f"{source.place}: cannot be read: {_first_line(error)}") from None


@contextlib.contextmanager
def _plain_stream(source: Source) -> Iterator[Any]:
    with places.reading(source.place) as stream:
        if not source.packed:
            yield stream
            return
        import gzip

        with gzip.open(stream) as plain:
            yield plain


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
