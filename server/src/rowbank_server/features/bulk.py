"""Writes rows in columns to Redis: the latest event of each entity counts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import redis

from rowbank.errors import IdCollision, InvalidFeature, ViewNotFound, shown
from rowbank.text_ids import ID_TEXT
from rowbank_server.features import layout
from rowbank_server.features.changes import ChangeFeed
from rowbank_server.features.columns import Columns, entity_keys, timestamps
from rowbank_server.features.values import FeatureType, decode, decode_time
from rowbank_server.features.views import FeatureView, parse_view

CHUNK = 1000  # Entities per round trip: keeps one reply under a few megabytes.


class Locks:
    """A lock per view, held while stored times are compared and rows written: of two writers in this process the
    later event stays, whoever writes last."""

    def __init__(self) -> None:
        self._locks: dict[str, threading.Lock] = {}

    def of(self, view: str) -> threading.Lock:
        """The lock of a view."""
        return self._locks.setdefault(view, threading.Lock())


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a request as Redis takes them, in their order there."""

    keys: Sequence[bytes]
    times_us: npt.NDArray[np.int64]
    stamps: Sequence[bytes]
    columns: Columns


class BulkWriter:
    """Thread-safe, as its Redis client is. Raises what redis-py raises."""

    def __init__(self, client: Any, namespace: str, locks: Locks, changes: ChangeFeed) -> None:
        self._redis = client
        self._namespace = namespace
        self._locks = locks
        self._changes = changes

    def write(self, view: FeatureView, columns: Columns) -> int:
        """Writes rows; returns how many were not outdated.

        Raises:
            ViewNotFound, InvalidFeature: the view is not the one that the columns were made for any more.
        """
        count = len(columns.entities)
        stamps = timestamps(columns.event_times_us)
        rows = _Rows(
            keys=entity_keys(view.entity, columns.entities, self._namespace),
            times_us=np.broadcast_to(columns.event_times_us, count),
            stamps=stamps if len(stamps) == count else stamps * count,
            columns=columns,
        )
        # Of an entity that comes twice, the later event is written later.
        order = np.arange(count) if len(stamps) == 1 else np.argsort(rows.times_us, kind="stable")
        return sum(self._write(view, rows, order[start : start + CHUNK].tolist()) for start in range(0, count, CHUNK))

    def _write(self, view: FeatureView, rows: _Rows, places: Sequence[int]) -> int:
        stamp_field, text_field = layout.timestamp_field(view.name), layout.feature_field(view.name, ID_TEXT)
        asked = [stamp_field, text_field] if text_field in rows.columns.fields else [stamp_field]
        with self._locks.of(view.name):
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.hget(layout.views_key(self._namespace), view.name)
                for place in places:
                    pipe.execute_command("HMGET", rows.keys[place], *asked)
                stored_view, *answers = pipe.execute(raise_on_error=False)
            _require_sound(view, rows, places, [stored_view, *answers])
            _require_same(view, stored_view)
            known = [stamp for stamp, *_ in answers]
            if len(asked) > 1:
                _require_same_texts(view, rows, places, [text for _, text in answers])
            kept = [
                place
                for place, stored in zip(places, known, strict=True)
                if stored is None or stored == rows.stamps[place] or not is_later(stored, rows.times_us[place] / 1e6)
            ]
            self._store(view, rows, kept)
        return len(kept)

    def _store(self, view: FeatureView, rows: _Rows, kept: list[int]) -> None:
        stamp_field = layout.timestamp_field(view.name)
        fields, values = list(rows.columns.fields), list(rows.columns.fields.values())
        entities = rows.columns.entities[kept]
        sets = entities % layout.INDEX_SETS
        with self._redis.pipeline(transaction=False) as pipe:
            for place in kept:
                command = ["HSET", rows.keys[place], stamp_field, rows.stamps[place]]
                for field, column in zip(fields, values, strict=True):
                    command += (field, column[place])
                pipe.execute_command(*command)
            for number in np.unique(sets).tolist():
                members = entities[sets == number].tolist()
                pipe.execute_command("SADD", layout.index_key(self._namespace, view.name, number), *members)
            pipe.execute()
        self._changes.note(view.name, entities)


def is_later(stamp: bytes, now: float) -> bool:
    """Whether a row was last written by a later event; of one whose time cannot be read, anything is the latest."""
    try:
        return decode_time(stamp) > now
    except InvalidFeature:
        return False


def _require_sound(view: FeatureView, rows: _Rows, places: Sequence[int], answers: Sequence[Any]) -> None:
    """Raises the first error among the answers for the view and for the rows."""
    for place, answer in zip([None, *places], answers, strict=True):
        if isinstance(answer, redis.ResponseError) and str(answer).startswith("WRONGTYPE") and place is not None:
            raise InvalidFeature(
                f"{view.name} of {view.entity} {rows.columns.entities[place]}: what Redis has under its key is no hash"
            )
        if isinstance(answer, Exception):
            raise answer


def _require_same_texts(view: FeatureView, rows: _Rows, places: Sequence[int], stored: Sequence[bytes | None]) -> None:
    """Refuses texts of ids that have the key of another text, stored or among these."""
    new = rows.columns.fields[layout.feature_field(view.name, ID_TEXT)]
    texts: dict[bytes, bytes] = {}
    for place, known in zip(places, stored, strict=True):
        text = texts.setdefault(rows.keys[place], known or new[place])
        if text != new[place]:
            one, other = (str(decode(held, FeatureType.STRING, ID_TEXT)) for held in (text, new[place]))
            raise IdCollision(
                f"ids {shown(one)} and {shown(other)} of view {view.name!r} have the same key, "
                f"{rows.columns.entities[place]}; write one of them differently",
                metadata={"id": other, "stored": one},
            )


def _require_same(view: FeatureView, stored: bytes | None) -> None:
    """Refuses to write what was encoded for a view that is gone."""
    if stored is None:
        raise ViewNotFound(f"view {view.name!r} was dropped meanwhile", metadata={"view": view.name})
    now = parse_view(stored)
    types = {field.name: field.type for field in now.fields}
    if now.entity != view.entity or any(types.get(field.name, field.type) is not field.type for field in view.fields):
        raise InvalidFeature(f"view {view.name!r} was replaced meanwhile, by one of other types or another entity")
