"""Snapshots: all tables of all shards at one moment, as Parquet files in a folder; needs `rowbank[parquet]`.

    from rowbank import Client, snapshots

    with Client() as client:
        saved = snapshots.save(client, "s3://bucket/snapshots")
        snapshots.restore(client, saved.location, replace=True)

docs/snapshots.md says what is guaranteed and what the files are.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rowbank import _files, _manifest, _methods, _verbs
from rowbank._files import Place
from rowbank._manifest import ShardPoint, Snapshot, SnapshotFile, SnapshotTable
from rowbank._table_file import Head, TableWriter, arrow, open_reader
from rowbank.admin import merge_table_infos
from rowbank.errors import InvalidFile, InvalidRequest, NotReady, TableExists
from rowbank.parquet import Progress, open_table, reported
from rowbank_protos.v1 import snapshots_pb2, tables_pb2

if TYPE_CHECKING:
    from rowbank.client import Client
    from rowbank.table import Table

__all__ = ["ShardPoint", "Snapshot", "SnapshotFile", "SnapshotTable", "find", "restore", "save", "verify"]

_HOLD_MS = 2000
_MAX_NAMED = 10


def save(client: Client, location: str, *, name: str | None = None, progress: Progress | None = None) -> Snapshot:
    """Saves all tables of all shards as they are at one moment, while they stay in use.

    Mutations are held back for a few milliseconds, reads never. Every mutation that was acknowledged before the call
    is in; one that is sent to one shard is in wholly or not at all. The manifest is written last: before that, or after
    an error, there is no snapshot.

    Args:
        location: folder for snapshots, a local path or URL.
        name: of the folder in it that this one becomes; None: the time. It must not exist.
        progress: called with rows so far and rows there are.
    Raises:
        InvalidFile: the folder exists or cannot be written.
        NotReady: another snapshot is being saved, or the shards could not be held still at once.
        SnapshotNotFound: a shard was restarted, or writing stalled for a minute.
    """
    arrow()
    folder_name = name or f"{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:4]}"
    if "/" in folder_name:
        raise InvalidRequest(f"name: expected the name of a folder, got {folder_name!r}")
    folder = _files.place_of(location) / folder_name
    full = f"{location.rstrip('/')}/{folder_name}"
    if folder.exists():
        raise InvalidFile(f"{full}: exists; expected a new name")
    try:
        with _picture(client) as picture:
            tables = _write_all(client, picture, folder, progress)
            server = client.server_info()[0]
            snapshot = Snapshot(full, server.version, server.namespace, picture.points, tables)
        _manifest.write(folder, snapshot)
    except BaseException:
        with contextlib.suppress(Exception):
            folder.fs.rm(folder.path, recursive=True)
        raise
    return snapshot


def find(location: str) -> list[Snapshot]:
    """The snapshots in a folder, oldest first; folders without a manifest are none."""
    place = _files.place_of(location)
    if not place.exists():
        raise InvalidFile(f"{location}: no such folder")
    folders = [entry["name"] for entry in place.fs.ls(place.path, detail=True) if entry["type"] == "directory"]
    names = [folder.rstrip("/").rpartition("/")[2] for folder in folders]
    found = [
        _manifest.read(place / name, f"{location.rstrip('/')}/{name}")
        for name in names
        if (place / name / _manifest.FILE_NAME).exists()
    ]
    return sorted(found, key=lambda snapshot: (snapshot.at_ms, snapshot.name))


def verify(location: str) -> Snapshot:
    """Reads every file of a snapshot and compares size and SHA-256 with the manifest.

    Raises:
        InvalidFile: files are missing, torn or changed; the message names them.
    """
    folder = _files.place_of(location)
    snapshot = _manifest.read(folder, location)
    _check(folder, snapshot.tables)
    return snapshot


def restore(
    client: Client,
    location: str,
    *,
    tables: Sequence[str] | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> Snapshot:
    """Brings tables back as the snapshot has them, onto any number of shards.

    All files are verified before anything is changed. If it fails later, restore again with `replace`.

    Args:
        location: the snapshot's folder.
        tables: which; None: all of the snapshot.
        replace: drop tables of these names first; otherwise ones that have rows are an error.
        progress: called with rows so far and rows there are.
    Returns:
        The snapshot, with the tables that were restored.
    Raises:
        InvalidFile: no snapshot, a file is missing, torn or changed, or a table has another optimizer.
        InvalidRequest: the snapshot has no such table.
        TableExists: a table has rows, and not `replace`.
    """
    folder = _files.place_of(location)
    snapshot = _manifest.read(folder, location)
    chosen = _chosen(snapshot, tables)
    _check(folder, chosen)
    if not replace:
        _require_empty(client, chosen)
    total, done = sum(table.rows for table in chosen), 0
    for table in chosen:
        if replace:
            client.drop_table(table.name, missing_ok=True)
        target, _ = open_table(client, location, table.head, table.name)
        for file in table.files:
            before = done
            tell = None if progress is None else lambda rows, _, start=before: progress(start + rows, total)
            done += _import_file(target, folder / file.path, file.rows, tell)
        target.import_rows([], step=table.step)
    return Snapshot(location, snapshot.rowbank, snapshot.namespace, snapshot.shards, chosen)


@dataclass(frozen=True, slots=True)
class _Picture:
    snapshot_id: str
    points: tuple[ShardPoint, ...]
    heads: dict[str, Head]
    names: tuple[frozenset[str], ...]  # Tables of each shard; one that is new may not have got around.
    rows: int


@contextlib.contextmanager
def _picture(client: Client) -> Iterator[_Picture]:
    """Takes a picture of all shards at one moment and ends it afterwards."""
    transport = client.calls.transport
    snapshot_id = uuid.uuid4().hex
    try:
        begin = snapshots_pb2.BeginSnapshotRequest(snapshot_id=snapshot_id, hold_ms=_HOLD_MS)
        answers = transport.each(_methods.BEGIN_SNAPSHOT, begin, retry=False)
        resume = snapshots_pb2.ResumeMutationsRequest(snapshot_id=snapshot_id)
        resumed = transport.each(_methods.RESUME_MUTATIONS, resume, retry=False)
        if not all(answer.held for answer in resumed):
            raise NotReady(f"the shards could not be held still at once within {_HOLD_MS} ms; try again")
        by_name: dict[str, list[tables_pb2.TableInfo]] = {}
        for answer in answers:
            for table in answer.tables:
                by_name.setdefault(table.spec.name, []).append(table)
        infos = {name: merge_table_infos(messages) for name, messages in sorted(by_name.items())}
        yield _Picture(
            snapshot_id,
            tuple(ShardPoint(shard, answer.at_ms, answer.position) for shard, answer in enumerate(answers)),
            {name: Head(info.spec, info.slots, info.step) for name, info in infos.items()},
            tuple(frozenset(table.spec.name for table in answer.tables) for answer in answers),
            sum(info.rows for info in infos.values()),
        )
    finally:
        for shard in range(len(transport.shards)):
            with contextlib.suppress(Exception):  # It ends by itself if this does not reach the shard.
                transport.one(
                    _methods.END_SNAPSHOT, shard, snapshots_pb2.EndSnapshotRequest(snapshot_id=snapshot_id), retry=False
                )


def _write_all(
    client: Client, picture: _Picture, folder: Place, progress: Progress | None
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

    def write_shard(shard: int) -> dict[str, SnapshotFile]:
        files = {}
        for number, (name, head) in enumerate(picture.heads.items()):
            if name not in picture.names[shard]:
                continue
            request = snapshots_pb2.ReadSnapshotRequest(
                snapshot_id=picture.snapshot_id, table=name, with_slots=bool(head.slots)
            )
            answers = client.calls.transport.stream(_methods.READ_SNAPSHOT, shard, request, timeout_s=None)
            path = f"table-{number}/shard-{shard}.parquet"
            with _files.writing(folder / path) as stream, TableWriter(stream, head) as writer:
                for answer in answers:
                    writer.add(_verbs.exported_chunk(answer, head.spec, with_slots=bool(head.slots)))
                    add(len(answer.keys) // 8)
            files[name] = SnapshotFile(path, shard, writer.rows, stream.bytes, stream.sha256)
        return files

    shards = range(len(picture.points))
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(8, len(shards))) as workers:
        by_shard = list(workers.map(write_shard, shards))
    return tuple(
        SnapshotTable(head.spec, head.slots, head.step, tuple(files[name] for files in by_shard if name in files))
        for name, head in picture.heads.items()
    )


def _import_file(table: Table, place: Place, rows: int, progress: Progress | None) -> int:
    with open_reader(place) as reader:
        return table.import_rows(reported(reader.chunks(), rows, progress))


def _chosen(snapshot: Snapshot, names: Sequence[str] | None) -> tuple[SnapshotTable, ...]:
    by_name = {table.name: table for table in snapshot.tables}
    unknown = sorted(set(names or ()) - by_name.keys())
    if unknown:
        raise InvalidRequest(f"{snapshot.location}: no table {unknown[0]!r}; it has: {', '.join(by_name) or 'none'}")
    return snapshot.tables if names is None else tuple(by_name[name] for name in dict.fromkeys(names))


def _check(folder: Place, tables: Sequence[SnapshotTable]) -> None:
    problems = []
    for file in (file for table in tables for file in table.files):
        try:
            size, digest = _files.fingerprint(folder / file.path)
        except InvalidFile as error:
            problems.append(error.message)
            continue
        if size != file.bytes:
            problems.append(f"{folder / file.path}: expected {file.bytes} bytes, got {size}")
        elif digest != file.sha256:
            problems.append(f"{folder / file.path}: its SHA-256 is not the manifest's; it was changed")
    if problems:
        more = f"; and {len(problems) - _MAX_NAMED} more" if len(problems) > _MAX_NAMED else ""
        raise InvalidFile("; ".join(problems[:_MAX_NAMED]) + more)


def _require_empty(client: Client, tables: Sequence[SnapshotTable]) -> None:
    rows = {info.spec.name: info.rows for info in client.list_tables()}
    for table in tables:
        if rows.get(table.name):
            raise TableExists(
                f"table {table.name!r} exists and has {rows[table.name]} rows; nothing was restored; replace it "
                "(--replace), or restore other tables only (--table)",
                metadata={"table": table.name},
            )
