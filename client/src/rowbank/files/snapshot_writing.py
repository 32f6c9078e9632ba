"""Taking and writing a snapshot: the picture of all shards at one moment, and its files."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rowbank.admin import merge_table_infos
from rowbank.calls import methods, verbs
from rowbank.calls.pictures import held_moment
from rowbank.errors import InvalidFile
from rowbank.files import places
from rowbank.files.manifest import ShardPoint, Snapshot, SnapshotFile, SnapshotTable
from rowbank.files.parquet import Progress
from rowbank.files.places import HashingFile, Place
from rowbank.files.snapshot_index import Index, IndexBuilder, read_index, write_index, write_keys
from rowbank.files.table_file import Head, TableWriter
from rowbank.rows import ExportChunk
from rowbank_protos.patience import let_others_first
from rowbank_protos.v1 import snapshots_pb2, tables_pb2

if TYPE_CHECKING:
    from rowbank.client import Client


@dataclass(frozen=True, slots=True)
class Picture:
    """What shards say of the moment they hold still at.

    Attributes:
        heads: of all tables, by name.
        names: tables of each shard; one that is new may not have got around.
    """

    snapshot_id: str
    points: tuple[ShardPoint, ...]
    heads: dict[str, Head]
    names: tuple[frozenset[str], ...]
    rows: int


@contextlib.contextmanager
def take_picture(client: Client) -> Iterator[Picture]:
    """Takes a picture of all shards at one moment and ends it afterwards.

    Model versions' read-only copies are left out: they belong to the registry, and are nothing without it.
    """
    with held_moment(client.calls.transport) as moment:
        by_shard = [[table for table in answer.tables if not table.spec.frozen] for answer in moment.answers]
        by_name: dict[str, list[tables_pb2.TableInfo]] = {}
        for table in itertools.chain.from_iterable(by_shard):
            by_name.setdefault(table.spec.name, []).append(table)
        infos = {name: merge_table_infos(messages) for name, messages in sorted(by_name.items())}
        yield Picture(
            moment.snapshot_id,
            tuple(ShardPoint(shard, answer.at_ms, answer.position) for shard, answer in enumerate(moment.answers)),
            {name: Head(info.spec, info.slots, info.step) for name, info in infos.items()},
            tuple(frozenset(table.spec.name for table in tables) for tables in by_shard),
            sum(info.rows for info in infos.values()),
        )


def write_all(
    client: Client, picture: Picture, folder: Place, base: Snapshot | None, progress: Progress | None
) -> tuple[SnapshotTable, ...]:
    """Writes a file per table and shard, all shards at once."""
    lock = threading.Lock()
    done = 0

    def add(rows: int) -> None:
        nonlocal done
        with lock:
            done += rows
            if progress is not None:
                progress(done, max(done, picture.rows))

    def write_shard(shard: int) -> dict[str, _Written]:
        return {
            name: _write_table(
                client,
                picture,
                shard,
                name,
                folder / f"table-{number}",
                None if name not in on_base else _base_index(on_base[name], base, shard),
                add,
            )
            for number, name in enumerate(picture.heads)
            if name in picture.names[shard]
        }

    on_base = {} if base is None else {table.name: table for table in base.tables if _fits(table, picture)}
    shards = range(len(picture.points))
    threads = min(8, len(shards))
    with concurrent.futures.ThreadPoolExecutor(threads, initializer=let_others_first) as workers:
        by_shard = list(workers.map(write_shard, shards))
    tables = []
    for name, head in picture.heads.items():
        parts = [written[name] for written in by_shard if name in written]
        tables.append(
            SnapshotTable(
                spec=head.spec,
                slots=head.slots,
                step=head.step,
                on_base=name in on_base,
                files=tuple(part.rows for part in parts),
                indexes=tuple(part.index for part in parts),
                removed=tuple(part.removed for part in parts if part.removed is not None),
            )
        )
    return tuple(tables)


@dataclass(frozen=True, slots=True)
class _Written:
    rows: SnapshotFile
    index: SnapshotFile
    removed: SnapshotFile | None


def _write_table(
    client: Client,
    picture: Picture,
    shard: int,
    name: str,
    folder: Place,
    base: Index | None,
    add: Callable[[int], None],
) -> _Written:
    """Writes the files of a table on a shard: rows, those that differ from `base` if there is one, index, removed."""
    head = picture.heads[name]
    with_slots = bool(head.slots)
    request = snapshots_pb2.ReadSnapshotRequest(snapshot_id=picture.snapshot_id, table=name, with_slots=with_slots)
    answers = client.calls.transport.stream(methods.READ_SNAPSHOT, shard, request, timeout_s=None)
    builder = IndexBuilder()
    with _part(folder, shard, "rows") as (stream, finish_rows):
        with TableWriter(stream, head) as writer:
            for answer in answers:
                chunk = verbs.exported_chunk(answer, head.spec, with_slots=with_slots)
                digests = builder.add(chunk)
                changed = None if base is None else base.differing(chunk.keys, digests)
                writer.add(chunk if changed is None else _selected(chunk, changed))
                add(len(chunk.keys))
    index = builder.build()
    with _part(folder, shard, "index") as (stream, finish_index):
        write_index(stream, index)
    removed = None
    if base is not None:
        gone = np.setdiff1d(base.keys, index.keys, assume_unique=True)
        with _part(folder, shard, "removed") as (stream, finish_removed):
            write_keys(stream, gone)
        removed = finish_removed(len(gone))
    return _Written(finish_rows(writer.rows), finish_index(len(index.keys)), removed)


@contextlib.contextmanager
def _part(folder: Place, shard: int, kind: str) -> Iterator[tuple[HashingFile, Callable[[int], SnapshotFile]]]:
    """A new file, and how to describe it once it is written, given its rows."""
    name = f"shard-{shard}.{kind}.parquet"
    path = f"{folder.path.rpartition('/')[2]}/{name}"
    with places.writing(folder / name) as stream:
        yield stream, lambda rows: SnapshotFile(path, shard, rows, stream.bytes, stream.sha256)


def _fits(table: SnapshotTable, picture: Picture) -> bool:
    """Whether rows of the picture can be told by what changed on a base's table."""
    head = picture.heads.get(table.name)
    same_shards = len(table.indexes) == len(picture.points) == sum(table.name in names for names in picture.names)
    return head is not None and same_shards and (head.spec.dim, head.slots) == (table.spec.dim, table.slots)


def _base_index(table: SnapshotTable, base: Snapshot | None, shard: int) -> Index:
    assert base is not None
    (file,) = (file for file in table.indexes if file.shard == shard)
    place = places.place_of(base.location) / file.path
    wrong = problem_of(place, file)
    if wrong:
        raise InvalidFile(wrong)
    return read_index(place)


def _selected(chunk: ExportChunk, places: npt.NDArray[np.bool_]) -> ExportChunk:
    return ExportChunk(
        keys=chunk.keys[places],
        values=chunk.values[places],
        frequency=chunk.frequency[places],
        last_used=chunk.last_used[places],
        slots=None if chunk.slots is None else chunk.slots[places],
    )


def problem_of(place: Place, file: SnapshotFile) -> str:
    """What is wrong with a file; empty: nothing."""
    try:
        size, digest = places.fingerprint(place)
    except InvalidFile as error:
        return error.message
    if size != file.bytes:
        return f"{place}: expected {file.bytes} bytes, got {size}"
    return "" if digest == file.sha256 else f"{place}: its SHA-256 is not the manifest's; it was changed"
