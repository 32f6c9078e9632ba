"""Snapshots: all tables of all shards at one moment, as Parquet files in a folder; needs `rowbank[parquet]`.

    from rowbank import Client, snapshots

    with Client() as client:
        saved = snapshots.save(client, "s3://bucket/snapshots")
        snapshots.restore(client, saved.location, replace=True)

docs/snapshots.md says what is guaranteed and what the files are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rowbank.errors import InvalidFile, InvalidRequest, TableExists, TableHeld
from rowbank.files import manifest, places
from rowbank.files.manifest import ShardPoint, Snapshot, SnapshotFile, SnapshotTable
from rowbank.files.parquet import Progress, open_table, reported
from rowbank.files.places import Place
from rowbank.files.snapshot_index import read_keys
from rowbank.files.snapshot_writing import problem_of, take_picture, write_all
from rowbank.files.table_file import arrow, open_reader

if TYPE_CHECKING:
    from rowbank.client import Client
    from rowbank.table import Table

__all__ = ["ShardPoint", "Snapshot", "SnapshotFile", "SnapshotTable", "find", "restore", "save", "verify"]

_MAX_NAMED = 10
_REMOVE_ROWS = 1 << 18  # Keys of a call.


def save(
    client: Client,
    location: str,
    *,
    name: str | None = None,
    base: str | None = None,
    progress: Progress | None = None,
) -> Snapshot:
    """Saves all tables of all shards as they are at one moment, while they stay in use.

    Mutations are held back for a few milliseconds, reads never. Every mutation that was acknowledged before the call
    is in; one that is sent to one shard is in wholly or not at all. The manifest is written last: before that, or after
    an error, there is no snapshot.

    Args:
        location: folder for snapshots, a local path or URL.
        name: of the folder in it that this one becomes; None: the time. It must not exist.
        base: name of a snapshot in the folder: only rows that are new or changed since are written. A table that the
            base has not, or with other rows or another number of shards, is written whole.
        progress: called with rows so far and rows there are.
    Raises:
        InvalidRequest: `name` or `base` is no plain name of a folder.
        InvalidFile: there is no such base, the folder exists or cannot be written.
        NotReady: another snapshot is being saved, or the shards could not be held still at once.
        SnapshotNotFound: a shard was restarted, or writing stalled for a minute.
    """
    arrow()
    moment = f"{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:4]}"
    folder_name = moment if name is None else name
    places.require_folder_name("name", folder_name)
    if base is not None:
        places.require_folder_name("base", base)
    folder = places.place_of(location) / folder_name
    full = f"{location.rstrip('/')}/{folder_name}"
    earlier = None if base is None else manifest.read(places.place_of(location) / base, _sibling(full, base))
    if folder.exists():
        raise InvalidFile(f"{full}: exists; expected a new name")
    try:
        with take_picture(client) as picture:
            tables = write_all(client, picture, folder, earlier, progress)
            server = client.server_info()[0]
            snapshot = Snapshot(full, server.version, server.namespace, base or "", picture.points, tables)
        manifest.write(folder, snapshot)
    except BaseException:
        with contextlib.suppress(Exception):
            folder.fs.rm(folder.path, recursive=True)
        raise
    return snapshot


def find(location: str) -> list[Snapshot]:
    """The snapshots in a folder, oldest first; folders without a manifest are none."""
    place = places.place_of(location)
    if not place.exists():
        raise InvalidFile(f"{location}: no such folder")
    if not place.fs.isdir(place.path):
        raise InvalidFile(f"{location}: expected a folder with snapshots in it, got a file")
    folders = [entry["name"] for entry in place.fs.ls(place.path, detail=True) if entry["type"] == "directory"]
    names = [folder.rstrip("/").rpartition("/")[2] for folder in folders]
    found = [
        manifest.read(place / name, f"{location.rstrip('/')}/{name}")
        for name in names
        if (place / name / manifest.FILE_NAME).exists()
    ]
    return sorted(found, key=lambda snapshot: (snapshot.at_ms, snapshot.name))


def verify(location: str) -> Snapshot:
    """Reads every file of a snapshot, and of those it builds on, and compares size and SHA-256 with the manifests.

    Raises:
        InvalidFile: files are missing, torn or changed; the message names them.
    """
    chain = _chain(location)
    _check((places.place_of(part.location), part.tables) for part in chain)
    return chain[-1]


def restore(
    client: Client,
    location: str,
    *,
    tables: Sequence[str] | None = None,
    replace: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Snapshot:
    """Brings tables back as the snapshot has them, onto any number of shards.

    All files are verified before anything is changed. If it fails later, restore again with `replace`.

    Args:
        location: the snapshot's folder.
        tables: which; None: all of the snapshot.
        replace: drop tables of these names first; otherwise ones that have rows are an error.
        force: with `replace`: also those that a stored model version or a running job holds.
        progress: called with rows so far and rows there are.
    Returns:
        The snapshot, with the tables that were restored.
    Raises:
        InvalidFile: no snapshot, a file is missing, torn or changed, or a table has another optimizer.
        InvalidRequest: the snapshot has no such table.
        TableExists: a table has rows, and not `replace`.
        TableHeld: somebody holds a table that would be replaced, and not `force`; nothing was changed.
    """
    chain = _chain(location)
    snapshot = chain[-1]
    chosen = _chosen(snapshot, tables)
    layers = {table.name: _layers(chain, table.name) for table in chosen}
    _check((folder, [layer]) for parts in layers.values() for folder, layer in parts)
    if not replace:
        _require_empty(client, chosen)
    elif not force:
        _require_free(client, chosen)
    total = sum(file.rows for parts in layers.values() for _, layer in parts for file in layer.files)
    done = 0
    for table in chosen:
        if replace:
            client.drop_table(table.name, missing_ok=True, force=force)
        target, _ = open_table(client, location, table.head, table.name)
        for folder, layer in layers[table.name]:
            for file in layer.files:
                before = done
                tell = None if progress is None else lambda rows, _, start=before: progress(start + rows, total)
                done += _import_file(target, folder / file.path, file.rows, tell)
            for file in layer.removed:
                _remove(target, folder / file.path)
        target.import_rows([], step=table.step)
    return dataclasses.replace(snapshot, tables=chosen)


def _sibling(location: str, name: str) -> str:
    folder, slash, _ = location.rstrip("/").rpartition("/")
    return f"{folder}{slash}{name}"


def _chain(location: str) -> list[Snapshot]:
    """The snapshots that one builds on, oldest first, itself last."""
    chain = [manifest.read(places.place_of(location), location)]
    while chain[0].base:
        below = _sibling(chain[0].location, chain[0].base)
        if any(part.location == below for part in chain):
            raise InvalidFile(f"{location}: builds on itself")
        chain.insert(0, manifest.read(places.place_of(below), below))
    return chain


def _layers(chain: Sequence[Snapshot], name: str) -> list[tuple[Place, SnapshotTable]]:
    """What to import one after the other to get a table of the last snapshot, with their folders."""
    layers: list[tuple[Place, SnapshotTable]] = []
    for snapshot in reversed(chain):
        (table,) = (table for table in snapshot.tables if table.name == name)
        layers.insert(0, (places.place_of(snapshot.location), table))
        if not table.on_base:
            break
    return layers


def _remove(table: Table, place: Place) -> None:
    keys = read_keys(place)
    for start in range(0, len(keys), _REMOVE_ROWS):
        table.remove(keys[start : start + _REMOVE_ROWS])


def _import_file(table: Table, place: Place, rows: int, progress: Progress | None) -> int:
    with open_reader(place) as reader:
        return table.import_rows(reported(reader.chunks(), rows, progress))


def _chosen(snapshot: Snapshot, names: Sequence[str] | None) -> tuple[SnapshotTable, ...]:
    by_name = {table.name: table for table in snapshot.tables}
    unknown = sorted(set(names or ()) - by_name.keys())
    if unknown:
        raise InvalidRequest(f"{snapshot.location}: no table {unknown[0]!r}; it has: {', '.join(by_name) or 'none'}")
    return snapshot.tables if names is None else tuple(by_name[name] for name in dict.fromkeys(names))


def _check(parts: Iterable[tuple[Place, Sequence[SnapshotTable]]]) -> None:
    problems = [
        problem
        for folder, tables in parts
        for table in tables
        for file in table.every_file
        if (problem := problem_of(folder / file.path, file))
    ]
    if problems:
        more = f"; and {len(problems) - _MAX_NAMED} more" if len(problems) > _MAX_NAMED else ""
        raise InvalidFile("; ".join(problems[:_MAX_NAMED]) + more)


def _require_free(client: Client, tables: Sequence[SnapshotTable]) -> None:
    present = {info.spec.name for info in client.list_tables()}
    for table in tables:
        holders = client.holders(table.name) if table.name in present else []
        if holders:
            raise TableHeld(
                f"table {table.name!r} is held by {', '.join(holders)}; nothing was restored; replace it all the same "
                "(--force), or restore other tables only (--table)",
                metadata={"table": table.name, "holders": ", ".join(holders)},
            )


def _require_empty(client: Client, tables: Sequence[SnapshotTable]) -> None:
    rows = {info.spec.name: info.rows for info in client.list_tables()}
    for table in tables:
        if rows.get(table.name):
            raise TableExists(
                f"table {table.name!r} exists and has {rows[table.name]} rows; nothing was restored; replace it "
                "(--replace), or restore other tables only (--table)",
                metadata={"table": table.name},
            )
