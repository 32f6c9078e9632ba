"""Tables to and from Parquet files, on a local disk or wherever fsspec reaches; needs `pip install 'rowbank[parquet]'`.

    from rowbank import Client, parquet

    with Client() as client:
        parquet.export_table(client.table("user"), "user.parquet")
        parquet.import_table(client, "s3://bucket/user.parquet", table="user_copy")

docs/snapshots.md describes the files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rowbank.errors import DimMismatch, InvalidFile, TableNotFound
from rowbank.files import places
from rowbank.files.table_file import Head, Slots, TableWriter, arrow, open_reader

if TYPE_CHECKING:
    from rowbank.client import Client
    from rowbank.rows import ExportChunk
    from rowbank.table import Table

# Called after each piece with the rows done so far and the rows there are, as far as is known.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class FileReport:
    """What was exported or imported.

    Attributes:
        path: local path or URL.
        bytes: size of the file; 0 for an import.
        created: whether the import created the table.
    """

    table: str
    path: str
    rows: int
    bytes: int
    created: bool = False


def export_table(table: Table, path: str, *, progress: Progress | None = None) -> FileReport:
    """Writes all rows with their optimizer state, frequency and last_used, while the table stays in use.

    Rows that change meanwhile appear as at some moment in between; see `Table.export`. The file appears whole or not at
    all. Memory stays at a few row groups of 16 MiB, however large the table is.

    Args:
        path: local path or URL; an existing file is replaced.
        progress: called after each piece.
    Raises:
        MissingPackage: pyarrow or fsspec is not installed.
        InvalidFile: the path names a folder, or the file cannot be written.
        TableNotFound: the table was dropped.
    """
    arrow()
    place = places.file_place(path)
    info = table._client.table_info(table.name)
    head = Head(info.spec, info.slots, info.step)
    with places.writing(place) as stream:
        with TableWriter(stream, head) as writer:
            for chunk in table.export(with_slots=bool(head.slots)):
                writer.add(chunk)
                if progress is not None:
                    progress(writer.rows, max(writer.rows, info.rows))
    return FileReport(table.name, path, writer.rows, stream.bytes)


def import_table(
    client: Client, path: str, table: str | None = None, *, progress: Progress | None = None
) -> FileReport:
    """Stores the rows of a file that `export_table` wrote, bit for bit, beside those that the table has.

    Rows that are in both become those of the file. Importing twice changes nothing.

    Args:
        path: local path or URL.
        table: into which table; None: the one that the file names. If it does not exist it is created from the spec in
            the file. Under another name, keys that have no row read other initial values, as these depend on the name.
        progress: called after each piece.
    Raises:
        MissingPackage: pyarrow or fsspec is not installed.
        InvalidFile: not a file of a table, or damaged.
        DimMismatch, InvalidFile: the table has another dim or another optimizer; nothing is imported.
    """
    place = places.place_of(path)
    with open_reader(place) as reader:
        target, created = open_table(client, str(place), reader.head, table or reader.head.spec.name)
        chunks = reported(reader.chunks(), reader.rows, progress)
        rows = target.import_rows(chunks, step=reader.head.step)
    return FileReport(target.name, path, rows, 0, created)


def open_table(client: Client, where: str, head: Head, name: str) -> tuple[Table, bool]:
    """The table that rows of a file fit into, and whether it had to be created.

    Raises:
        DimMismatch: it has another dim.
        InvalidFile: it has other slots.
    """
    try:
        info = client.table_info(name)
        created = False
    except TableNotFound:
        client.create_table(dataclasses.replace(head.spec, name=name))
        info = client.table_info(name)
        created = True
    if info.spec.dim != head.spec.dim:
        raise DimMismatch(
            f"{where}: table {name!r} has dim {info.spec.dim}, the file has rows of {head.spec.dim}",
            metadata={"table": name, "expected": str(info.spec.dim), "got": str(head.spec.dim)},
        )
    if head.slots and info.slots != head.slots:
        raise InvalidFile(
            f"{where}: table {name!r} has optimizer state {_slot_text(info.slots)}, the file has "
            f"{_slot_text(head.slots)}; import it into a table with the file's optimizer, {head.spec.optimizer.kind}"
        )
    return client.table(name), created


def reported(chunks: Iterable[ExportChunk], total: int, progress: Progress | None) -> Iterator[ExportChunk]:
    """The chunks; tells `progress` of each when the next one is asked for."""
    done = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk.keys)
        if progress is not None:
            progress(done, total)


def _slot_text(slots: Slots) -> str:
    return ", ".join(f"{name}[{width}]" for name, width in slots) or "none"
