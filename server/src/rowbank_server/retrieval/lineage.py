"""Whether the tables that a version reads are still the ones that it was published with.

A table's name says nothing of that: it may have been dropped and made anew, cleared, restored from a snapshot, or
trained by another run. What says it stands in the parameter server's catalog in Redis: the id that no second table
ever gets, a count of clears and imports, and the run that trained the table last. One request reads all of it.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator, Mapping
from typing import Any

import redis

from rowbank.errors import InternalError
from rowbank_protos.v1 import models_pb2
from rowbank_server.features.redis_errors import translated
from rowbank_server.storage.layout import Layout


class Loss(str, enum.Enum):
    """Why a table's rows are not the version's."""

    DROPPED = "table_dropped"  # Whether or not another was made under its name.
    CHANGED = "table_changed"  # It was cleared, or rows were restored or imported into it.
    OTHER_RUN = "trained_by_another_run"  # Only where rows are live: a frozen table is not trained.


_WORDS = {
    Loss.DROPPED: "was dropped",
    Loss.CHANGED: "was cleared, restored or imported into",
    Loss.OTHER_RUN: "was trained by another run",
}


class Lineage:
    """Reads the present identity of tables. Thread-safe, as its Redis client is.

    Args:
        client: must answer bytes (`decode_responses=False`).
        namespace: of the parameter server.
    """

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._redis: Any = client
        self._catalog = Layout(namespace).catalog

    def lost(self, manifest: models_pb2.ModelManifest) -> Mapping[str, Loss]:
        """The version's tables whose rows are not its own any more, by name.

        Nothing is known of versions that were published without saying what their tables are; none of theirs is lost.
        """
        tables = list(manifest.tables)
        if manifest.rows == models_pb2.ROWS_MODE_UNSPECIFIED or not tables:
            return {}
        fields = [field for table in tables for field in _fields(table)]
        with translated("identity of tables"):
            values = iter(self._redis.hmget(self._catalog, fields))
        live = manifest.rows == models_pb2.ROWS_MODE_LIVE
        return dict(_losses(tables, values, live=live))


def describe(manifest: models_pb2.ModelManifest, lost: Mapping[str, Loss]) -> str:
    """What happened and what to do, for operators."""
    what = "; ".join(f"table {name!r} {_WORDS[loss]}" for name, loss in sorted(lost.items()))
    return (
        f"version {manifest.version}: {what} since it was published, so its rows are not read: the index stays as it "
        "was and answers fall back; publish the model anew or activate another version"
    )


def _fields(table: models_pb2.VersionTable) -> tuple[str, str, str]:
    return table.name, f"#lineage:{table.table_id}", f"#trained_by:{table.table_id}"


def _losses(
    tables: list[models_pb2.VersionTable], values: Iterator[bytes | None], *, live: bool
) -> Iterator[tuple[str, Loss]]:
    for table in tables:
        entry, lineage, trained_by = next(values), next(values), next(values)
        if entry is None or _table_id(entry) != table.table_id:
            yield table.name, Loss.DROPPED
        elif int(lineage or 0) != table.lineage:
            yield table.name, Loss.CHANGED
        elif live and (trained_by or b"").decode() != table.trained_by:
            yield table.name, Loss.OTHER_RUN


def _table_id(entry: bytes) -> int:
    try:
        return int(json.loads(entry)["id"])
    except (ValueError, KeyError, TypeError) as error:
        raise InternalError(f"the catalog holds an entry that cannot be read: {entry!r}") from error
