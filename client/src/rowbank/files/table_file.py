"""A table's rows as a Parquet file: columns, metadata, writing and reading by row groups.

Columns: `key` int64, `values` fixed-size list of float32, `frequency` and `last_used` uint32, and `slot_<name>`, a
fixed-size list of float32 per part of the optimizer state. The file's metadata says which table it is of.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import json_format

from rowbank.errors import InvalidFile, InvalidSpec
from rowbank.files import places
from rowbank.files.places import HashingFile, Place
from rowbank.rows import ExportChunk
from rowbank.specs import TableSpec
from rowbank_protos.v1 import tables_pb2

FORMAT_VERSION = 1
_GROUP_BYTES = 16 << 20  # Of a row group, before compression: what writer and reader hold at a time.
_MAX_GROUP_ROWS = 1 << 18
_FORMAT, _SPEC, _SLOTS, _STEP = b"rowbank.format", b"rowbank.spec", b"rowbank.slots", b"rowbank.step"
_COLUMN_ORDER = ("key", "values", "frequency", "last_used")

Slots = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Head:
    """What a file says of its table.

    Attributes:
        slots: name and width of each part of a row's optimizer state; empty: the file has none.
        step: the highest step that the table had been pushed.
    """

    spec: TableSpec
    slots: Slots
    step: int

    @property
    def slot_width(self) -> int:
        """Floats of optimizer state per row."""
        return sum(width for _, width in self.slots)

    @property
    def group_rows(self) -> int:
        """Rows per row group."""
        row_bytes = 16 + 4 * (self.spec.dim + self.slot_width)
        return max(1, min(_MAX_GROUP_ROWS, _GROUP_BYTES // row_bytes))


def arrow() -> tuple[Any, Any]:
    """The modules (pyarrow, pyarrow.parquet). Raises MissingPackage."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise places.missing_parquet("pyarrow") from None
    return pyarrow, pyarrow.parquet


class TableWriter:
    """Writes chunks of rows to a file, a row group at a time. Use it in a `with`."""

    def __init__(self, stream: HashingFile, head: Head) -> None:
        self._arrow, parquet = arrow()
        self._head = head
        self._schema = _schema(self._arrow, head)
        self._waiting: list[ExportChunk] = []
        self._waiting_rows = 0
        self._file = parquet.ParquetWriter(
            stream, self._schema, compression="snappy", use_dictionary=False, write_page_checksum=True
        )
        self.rows = 0

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush(self._waiting_rows)
        self._file.close()

    def add(self, chunk: ExportChunk) -> None:
        """Adds rows, with slots if the head has any."""
        self._waiting.append(chunk)
        self._waiting_rows += len(chunk.keys)
        self.rows += len(chunk.keys)
        while self._waiting_rows >= self._head.group_rows:
            self._flush(self._head.group_rows)

    def _flush(self, rows: int) -> None:
        if rows == 0:
            return
        whole = _joined(self._waiting)
        part, rest = _slice(whole, 0, rows), _slice(whole, rows, len(whole.keys))
        self._file.write_table(self._table(part), row_group_size=rows)
        self._waiting, self._waiting_rows = ([rest] if len(rest.keys) else []), len(rest.keys)

    def _table(self, chunk: ExportChunk) -> Any:
        def lists(numbers: Any) -> Any:
            flat = self._arrow.array(np.ascontiguousarray(numbers).reshape(-1), self._arrow.float32())
            return self._arrow.FixedSizeListArray.from_arrays(flat, numbers.shape[1])

        columns = [
            self._arrow.array(chunk.keys),
            lists(chunk.values),
            self._arrow.array(chunk.frequency),
            self._arrow.array(chunk.last_used),
        ]
        start = 0
        for _, width in self._head.slots:
            assert chunk.slots is not None
            columns.append(lists(chunk.slots[:, start : start + width]))
            start += width
        return self._arrow.Table.from_arrays(columns, schema=self._schema)


class TableReader:
    """An open file of a table.

    Attributes:
        head: what it says of its table.
        rows: how many it holds.
    """

    def __init__(self, place: Place, stream: Any) -> None:
        arrow_, parquet = arrow()
        self._place = place
        self._errors = (arrow_.ArrowException, OSError, ValueError)
        with self._described():
            self._file = parquet.ParquetFile(stream, page_checksum_verification=True)
            self._schema = self._file.schema_arrow
            self.rows = int(self._file.metadata.num_rows)
        self.head = self._read_head()
        expected = _schema(arrow_, self.head)
        if not self._schema.equals(expected):
            raise InvalidFile(
                f"{place}: expected columns {_column_text(expected)} as its metadata says, "
                f"got {_column_text(self._schema)}"
            )

    def chunks(self) -> Iterator[ExportChunk]:
        """All rows, a row group's worth at a time. Raises InvalidFile for a damaged file."""
        seen = 0
        with self._described():
            for batch in self._file.iter_batches(batch_size=self.head.group_rows):
                seen += batch.num_rows
                yield self._chunk(batch)
        if seen != self.rows:
            raise InvalidFile(f"{self._place}: expected {self.rows} rows, got {seen}")

    def _chunk(self, batch: Any) -> ExportChunk:
        def lists(name: str) -> Any:
            column = batch.column(name)
            numbers = column.flatten().to_numpy(zero_copy_only=True)
            return numbers.reshape(batch.num_rows, column.type.list_size)

        if any(batch.column(name).null_count for name in batch.schema.names):
            raise InvalidFile(f"{self._place}: expected no missing values, got some")
        slots = [lists(f"slot_{name}") for name, _ in self.head.slots]
        key, frequency, last_used = (batch.column(name).to_numpy() for name in ("key", "frequency", "last_used"))
        return ExportChunk(
            keys=key,
            values=lists("values"),
            frequency=frequency,
            last_used=last_used,
            slots=np.concatenate(slots, axis=1) if slots else None,
        )

    def _read_head(self) -> Head:
        metadata = self._schema.metadata or {}
        version = metadata.get(_FORMAT, b"").decode(errors="replace")
        if version != str(FORMAT_VERSION):
            raise InvalidFile(
                f"{self._place}: expected a table that Rowbank exported (metadata rowbank.format {FORMAT_VERSION}), "
                f"got {version or 'none'}"
            )
        try:
            slots = tuple((str(slot["name"]), int(slot["width"])) for slot in json.loads(metadata[_SLOTS]))
            return Head(spec_of(json.loads(metadata[_SPEC])), slots, int(metadata[_STEP]))
        except KeyError as error:
            missing = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
            raise InvalidFile(f"{self._place}: its metadata lacks {missing!r}") from None
        except InvalidSpec as error:
            raise InvalidFile(f"{self._place}: its metadata describe a table that cannot be: {error}") from None
        except (TypeError, ValueError, json_format.ParseError):
            raise InvalidFile(f"{self._place}: its metadata are of another form than an export writes") from None

    @contextlib.contextmanager
    def _described(self) -> Iterator[None]:
        """Turns what the Parquet library raises for damaged files into InvalidFile."""
        try:
            yield
        except InvalidFile:
            raise
        except self._errors as error:
            text = "not a whole Parquet file: it is torn, damaged or of another kind"
            raise InvalidFile(f"{self._place}: {text}") from error


@contextlib.contextmanager
def open_reader(place: Place) -> Iterator[TableReader]:
    """Opens a file. Raises InvalidFile if it is not a whole file of a table."""
    arrow()
    with places.reading(place) as stream:
        yield TableReader(place, stream)


def spec_json(spec: TableSpec) -> dict[str, Any]:
    """The spec's message as JSON."""
    message: dict[str, Any] = json_format.MessageToDict(spec.to_proto())
    return message


def spec_of(message: dict[str, Any]) -> TableSpec:
    """The spec that `spec_json` wrote. Raises ParseError or InvalidSpec, which is a ValueError."""
    if not isinstance(message, dict):
        raise InvalidSpec(f"spec: expected an object, got {message!r}")
    return TableSpec.from_proto(json_format.ParseDict(message, tables_pb2.TableSpec()))


def _schema(arrow_: Any, head: Head) -> Any:
    def lists(name: str, width: int) -> Any:
        return arrow_.field(name, arrow_.list_(arrow_.field("element", arrow_.float32(), False), width), False)

    fields = [
        arrow_.field("key", arrow_.int64(), False),
        lists("values", head.spec.dim),
        arrow_.field("frequency", arrow_.uint32(), False),
        arrow_.field("last_used", arrow_.uint32(), False),
        *(lists(f"slot_{name}", width) for name, width in head.slots),
    ]
    metadata = {
        _FORMAT: str(FORMAT_VERSION).encode(),
        _SPEC: json.dumps(spec_json(head.spec)).encode(),
        _SLOTS: json.dumps([{"name": name, "width": width} for name, width in head.slots]).encode(),
        _STEP: str(head.step).encode(),
    }
    return arrow_.schema(fields, metadata=metadata)


def _column_text(schema: Any) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def _joined(chunks: Sequence[ExportChunk]) -> ExportChunk:
    if len(chunks) == 1:
        return chunks[0]
    slots = [chunk.slots for chunk in chunks if chunk.slots is not None]
    return ExportChunk(
        keys=np.concatenate([chunk.keys for chunk in chunks]),
        values=np.concatenate([chunk.values for chunk in chunks]),
        frequency=np.concatenate([chunk.frequency for chunk in chunks]),
        last_used=np.concatenate([chunk.last_used for chunk in chunks]),
        slots=np.concatenate(slots) if slots else None,
    )


def _slice(chunk: ExportChunk, start: int, stop: int) -> ExportChunk:
    part = slice(start, stop)
    slots = None if chunk.slots is None else chunk.slots[part]
    return ExportChunk(chunk.keys[part], chunk.values[part], chunk.frequency[part], chunk.last_used[part], slots)
