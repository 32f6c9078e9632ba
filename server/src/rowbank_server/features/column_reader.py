"""Reads many entities' features in columns.

A catalogue of a million items is read whole when a version is loaded and again at each refresh. Entity by entity, with
a Python object for each value, that is 10,000 items a second; in columns, with commands packed and values decoded by
the core, it is about twenty times as many. What has another form than almost everything has is left to the reader of
single entities: hashes under other kinds of keys than ours, values in unusual encodings, and whatever cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank_server._core import decode_feature_values
from rowbank_server.features import layout
from rowbank_server.features.columns import entity_keys
from rowbank_server.features.reading import Plan
from rowbank_server.features.values import FeatureType
from rowbank_server.storage.connection import Redis, is_cluster
from rowbank_server.storage.node import NodeConnection, packed

_CHUNK = 1000  # Entities per round trip.
_TIME = 7
_KINDS = {kind: number for number, kind in enumerate(FeatureType)}
_MISSING, _THERE, _ODD = 0, 1, 2
_NUMBERS = {
    FeatureType.INT64: "integers",
    FeatureType.DOUBLE: "doubles",
    FeatureType.BOOL: "bools",
    FeatureType.INT64_LIST: "integers",
    FeatureType.FLOAT_LIST: "floats",
}

assert list(_KINDS) == [
    FeatureType.INT64,
    FeatureType.DOUBLE,
    FeatureType.STRING,
    FeatureType.BOOL,
    FeatureType.INT64_LIST,
    FeatureType.FLOAT_LIST,
    FeatureType.STRING_LIST,
]  # As the core numbers them.


@dataclass(frozen=True, slots=True, eq=False)
class StoredColumn:
    """One feature of N entities as it is stored.

    Attributes:
        there: [N] bool: there is a value.
        digests: [N] uint64: of the stored bytes; 0 where there is none.
        numbers: [N] of a number, or the elements of all lists; of texts none.
        text, text_ends: of texts: the bytes of all of them, and where each ends.
        ends: of lists [N] int64: where the elements of each end; otherwise none.
    """

    type: FeatureType
    there: npt.NDArray[np.bool_]
    digests: npt.NDArray[np.uint64]
    numbers: npt.NDArray[Any]
    text: npt.NDArray[np.uint8]
    text_ends: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class StoredColumns:
    """What one view holds of N entities.

    Attributes:
        columns: by the names of the features.
        any: [N] bool: something of the view is there.
        times_s: [N] float64: Unix time of the last write; 0 where there is none.
    """

    columns: dict[str, StoredColumn]
    any: npt.NDArray[np.bool_]
    times_s: npt.NDArray[np.float64]


class ColumnReader:
    """Thread-safe, as its Redis client is. Raises what redis-py raises."""

    def __init__(self, client: Any, namespace: str) -> None:
        self._redis: Redis = client
        self._namespace = namespace

    def read(
        self, plans: Sequence[Plan], entities: npt.NDArray[np.int64]
    ) -> tuple[list[StoredColumns], npt.NDArray[np.bool_]]:
        """What several views of the same kind of entity hold under our own keys.

        Returns:
            Columns of each view, and [N] bool: entities that have to be read one by one, of which nothing else counts.
        """
        fields = [field for plan in plans for field in plan.hash_fields]
        values: list[list[bytes | None]] = [[] for _ in fields]
        odd = np.zeros(len(entities), np.bool_)
        nothing = [None] * len(fields)
        for start, replies in self._replies(plans[0].view.entity, fields, entities):
            for place, reply in enumerate(replies):
                if not isinstance(reply, list):
                    odd[start + place] = True
                    replies[place] = nothing
            for column, more in zip(values, zip(*replies, strict=True), strict=True):
                column.extend(more)
        decoded, first = [], 0
        for plan in plans:
            decoded.append(_decoded(plan, values[first : first + len(plan.hash_fields)], odd))
            first += len(plan.hash_fields)
        return decoded, odd

    def _replies(
        self, join_key: str, fields: Sequence[bytes], entities: npt.NDArray[np.int64]
    ) -> Iterator[tuple[int, list[Any]]]:
        """Answers to HMGET for each entity, a chunk at a time, and where the chunk begins; errors are among them."""
        if is_cluster(self._redis):
            for start in range(0, len(entities), _CHUNK):
                keys = entity_keys(join_key, entities[start : start + _CHUNK], self._namespace)
                with self._redis.pipeline(transaction=False) as pipe:
                    for key in keys:
                        pipe.hmget(key, list(fields))
                    yield start, pipe.execute(raise_on_error=False)
            return
        node = NodeConnection(self._redis, "")
        try:
            for start in range(0, len(entities), _CHUNK):
                chunk = entities[start : start + _CHUNK]
                commands = _commands(join_key, chunk, self._namespace, fields)
                yield start, node.exchange([commands], len(chunk))
        finally:
            node.release()


def _commands(join_key: str, entities: npt.NDArray[np.int64], project: str, fields: Sequence[bytes]) -> bytes:
    """HMGET of each entity, all of which have the same length, in Redis's protocol."""
    key = layout.entity_key(join_key, 0, project)
    sample = packed("HMGET", key, *fields)
    made = np.tile(np.frombuffer(sample, np.uint8), (len(entities), 1))
    start = sample.index(key) + len(layout.entity_prefix(join_key)) + 8
    made[:, start : start + 8] = np.ascontiguousarray(entities, "<i8").view(np.uint8).reshape(-1, 8)
    return made.tobytes()


def _decoded(plan: Plan, values: Sequence[list[bytes | None]], odd: npt.NDArray[np.bool_]) -> StoredColumns:
    """Also marks in `odd` entities with values that are not read here."""
    columns = {}
    anything = np.zeros(len(odd), np.bool_)
    for field, column in zip(plan.fields, values, strict=False):
        columns[field.name], states = _column(field.type, column)
        odd |= states == _ODD
        anything |= states != _MISSING
    stamps = decode_feature_values(values[-1], _TIME)
    odd |= stamps["states"] == _ODD
    anything |= stamps["states"] != _MISSING
    return StoredColumns(columns, anything, stamps["doubles"])


def decoded_column(kind: FeatureType, values: list[bytes | None]) -> StoredColumn:
    """A column of values as `values.encode` makes them; None: there is none."""
    return _column(kind, values)[0]


def _column(kind: FeatureType, values: list[bytes | None]) -> tuple[StoredColumn, npt.NDArray[np.uint8]]:
    """A column, and the state of each of its values."""
    made = decode_feature_values(values, _KINDS[kind])
    name = _NUMBERS.get(kind)
    numbers = made["integers"][:0] if name is None else made[name]
    column = StoredColumn(
        kind,
        made["states"] == _THERE,
        made["digests"],
        numbers.astype(np.bool_) if kind is FeatureType.BOOL else numbers,
        made["text"],
        made["text_ends"],
        made["ends"],
    )
    return column, made["states"]
