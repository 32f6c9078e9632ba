"""The manifest of a snapshot: what it holds, and the checksums of its files. JSON with a checksum of its own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from google.protobuf import json_format

from rowbank.errors import InvalidFile, InvalidSpec
from rowbank.files.places import Place, is_inner_path
from rowbank.files.table_file import Head, Slots, spec_json, spec_of
from rowbank.specs import TableSpec

FILE_NAME = "manifest.json"
FORMAT_VERSION = 1
_KINDS = ("files", "indexes", "removed")


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A Parquet file of one table on one shard. `path` is relative to the snapshot's folder."""

    path: str
    shard: int
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SnapshotTable:
    """A table of a snapshot.

    Attributes:
        step: the highest that had been pushed.
        on_base: whether its rows are those of the snapshot's base, changed as `files` and `removed` say.
        files: rows: all of them, or with `on_base` those that are new or changed.
        indexes: key and digest of every row, whether in `files` or not.
        removed: keys that the base has and this has not; only with `on_base`.
    """

    spec: TableSpec
    slots: Slots
    step: int
    on_base: bool
    files: tuple[SnapshotFile, ...]
    indexes: tuple[SnapshotFile, ...]
    removed: tuple[SnapshotFile, ...]

    @property
    def name(self) -> str:
        """The table's name."""
        return self.spec.name

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return sum(file.rows for file in self.indexes)

    @property
    def every_file(self) -> tuple[SnapshotFile, ...]:
        """Files of all kinds."""
        return self.files + self.indexes + self.removed

    @property
    def head(self) -> Head:
        """What its files say of the table."""
        return Head(self.spec, self.slots, self.step)


@dataclass(frozen=True, slots=True)
class ShardPoint:
    """Where a shard was: every mutation up to `position`, given out until `at_ms` (Unix milliseconds), is in."""

    shard: int
    at_ms: int
    position: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot, as its manifest describes it.

    Attributes:
        location: folder, as a local path or URL.
        rowbank: version of the servers.
        base: name of the snapshot, in the same folder, that this one builds on; empty: it stands alone.
        at_ms: Unix milliseconds of the latest shard's point.
    """

    location: str
    rowbank: str
    namespace: str
    base: str
    shards: tuple[ShardPoint, ...]
    tables: tuple[SnapshotTable, ...]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.location.rstrip("/").rpartition("/")[2]

    @property
    def at_ms(self) -> int:
        """When it was taken."""
        return max(point.at_ms for point in self.shards)

    @property
    def rows(self) -> int:
        """Rows in all tables."""
        return sum(table.rows for table in self.tables)

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for table in self.tables for file in table.every_file)


def write(folder: Place, snapshot: Snapshot) -> None:
    """Makes the files in `folder` a snapshot: until then they are none."""
    body: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "rowbank": snapshot.rowbank,
        "namespace": snapshot.namespace,
        "base": snapshot.base,
        "shards": [asdict(point) for point in snapshot.shards],
        "tables": [
            {
                "spec": spec_json(table.spec),
                "slots": [{"name": name, "width": width} for name, width in table.slots],
                "step": table.step,
                "on_base": table.on_base,
                **{kind: [asdict(file) for file in getattr(table, kind)] for kind in _KINDS},
            }
            for table in snapshot.tables
        ],
    }
    body["sha256"] = _checksum(body)
    (folder / FILE_NAME).write(json.dumps(body, indent=2).encode())


def read(folder: Place, location: str) -> Snapshot:
    """The snapshot in `folder`. Raises InvalidFile if there is none, or its manifest was changed."""
    place = folder / FILE_NAME
    if not place.exists():
        raise InvalidFile(f"{location}: no snapshot there; expected a folder with {FILE_NAME}")
    try:
        body = json.loads(place.read())
    except ValueError:  # Neither JSON nor even text.
        raise InvalidFile(f"{place}: is no JSON; it was not written by a snapshot, or is torn") from None
    try:
        version, checksum = body["format"], body.pop("sha256")
        if version != FORMAT_VERSION:
            raise InvalidFile(f"{place}: expected format {FORMAT_VERSION}, got {version!r}")
        if checksum != _checksum(body):
            raise InvalidFile(f"{place}: its checksum does not match; it was changed")
        _require_inside(place, body)
        return Snapshot(
            location=location,
            rowbank=body["rowbank"],
            namespace=body["namespace"],
            base=body["base"],
            shards=tuple(ShardPoint(**point) for point in body["shards"]),
            tables=tuple(_table(table) for table in body["tables"]),
        )
    except InvalidFile:
        raise
    except KeyError as error:
        raise InvalidFile(f"{place}: is no manifest of a snapshot: it lacks {error.args[0]!r}") from None
    except InvalidSpec as error:
        raise InvalidFile(f"{place}: describes a table that cannot be: {error}") from None
    except (AttributeError, TypeError, ValueError, json_format.ParseError):
        text = "is no manifest of a snapshot: what it holds is of another form"
        raise InvalidFile(f"{place}: {text}") from None


def _require_inside(place: Place, body: dict[str, Any]) -> None:
    """What a manifest names lies in its folder, or beside it: nothing else is read on its word."""
    files = [file["path"] for table in body["tables"] for kind in _KINDS for file in table[kind]]
    if not all(is_inner_path(path) for path in files) or "/" in body["base"] or body["base"] in (".", ".."):
        raise InvalidFile(f"{place}: names files outside of its folder; it was not written by a snapshot")


def _table(body: dict[str, Any]) -> SnapshotTable:
    return SnapshotTable(
        spec=spec_of(body["spec"]),
        slots=tuple((slot["name"], slot["width"]) for slot in body["slots"]),
        step=body["step"],
        on_base=body["on_base"],
        **{kind: tuple(SnapshotFile(**file) for file in body[kind]) for kind in _KINDS},
    )


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
