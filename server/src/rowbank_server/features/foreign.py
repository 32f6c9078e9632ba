"""Entities of views that another program filled: found by their keys, as far as these can be read here."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from rowbank.errors import InvalidFeature, shown
from rowbank_server.features import layout
from rowbank_server.features.layout import KeyKind
from rowbank_server.features.views import FeatureView

_CHUNK = 1000  # Keys per round trip.
_SAMPLE = 20_000  # Keys of any kind that are looked at when a view is defined: some milliseconds of Redis's time.


class ForeignEntities:
    """Thread-safe, as its Redis client is. Raises what redis-py raises.

    A view has entities of one kind in Feast. Those of a kind that is not read here are an error, not an empty view.
    """

    def __init__(self, client: Any, project: str) -> None:
        self._redis = client
        self._project = project

    def entities(self, view: FeatureView) -> list[int]:
        """Every entity with the view's features, by one scan of the key space.

        Raises:
            InvalidFeature: there are some, and none can be read.
        """
        keys = self._redis.scan_iter(match=self._pattern(view), count=_CHUNK)
        found, stranger = self._sorted(view, keys)
        if stranger and not found:
            raise self._unreadable(view, stranger)
        return found

    def require_readable(self, view: FeatureView) -> None:
        """Refuses a view of which a sample of the key space has only entities that cannot be read."""
        _, keys = self._redis.scan(match=self._pattern(view), count=_SAMPLE)
        found, stranger = self._sorted(view, keys)
        if stranger and not found:
            raise self._unreadable(view, stranger)

    def _pattern(self, view: FeatureView) -> bytes:
        """Keys with the view's join key, alone or among others."""
        name = view.entity.encode()
        named = _glob_escape(struct.pack("<II", KeyKind.STRING, len(name)) + name)
        return b"*" + named + b"*" + _glob_escape(self._project.encode())

    def _sorted(self, view: FeatureView, keys: Iterable[bytes]) -> tuple[list[int], bytes]:
        """Entities that can be read, and a key that cannot; b"": none."""
        found, stranger = [], b""
        for key in self._with_features(view, keys):
            entity = layout.entity_of_key(key, view.entity, self._project)
            if entity is None:
                stranger = stranger or key
            else:
                found.append(entity)
        return found, stranger

    def _with_features(self, view: FeatureView, keys: Iterable[bytes]) -> Iterator[bytes]:
        """Those of the keys whose hashes have something of the view."""
        stamp_field = layout.timestamp_field(view.name)
        left = iter(keys)
        while chunk := list(itertools.islice(left, _CHUNK)):
            with self._redis.pipeline(transaction=False) as pipe:
                for key in chunk:
                    pipe.hexists(key, stamp_field)
                answers = pipe.execute(raise_on_error=False)
            yield from (key for key, there in zip(chunk, answers, strict=True) if there is True)

    def _unreadable(self, view: FeatureView, key: bytes) -> InvalidFeature:
        return InvalidFeature(
            f"view {view.name!r}: its entities in Redis have {described(key, self._project)}, which are not read; "
            f"expected one join key, {view.entity!r}, of integers or of integers as texts: write it under such a "
            "key, or export it to a file and import that (`rowbank features import`, for texts with --text-ids)",
            metadata={"view": view.name},
        )


def described(key: bytes, project: str) -> str:
    """What is in a key that `layout.entity_of_key` makes nothing of."""
    try:
        names, values = _parsed(key.removesuffix(project.encode()))
    except (struct.error, UnicodeDecodeError, ValueError):
        return "keys of another form, such as those of an older serialization version"
    if len(names) != 1:
        return f"{len(names)} join keys ({', '.join(names)})"
    kind, value = values[0]
    if kind == KeyKind.STRING:
        return f"ids that are texts, such as {shown(value.decode(errors='replace'))}"
    return f"ids of Feast's value type {kind}"


def _parsed(key: bytes) -> tuple[list[str], list[tuple[int, bytes]]]:
    """Names of join keys, then the type and bytes of each value."""
    (count,) = struct.unpack_from("<I", key)
    parts, start = [], 4
    if not 0 < count <= len(key):
        raise ValueError("no number of join keys")
    for _ in range(2 * count):
        kind, length = struct.unpack_from("<II", key, start)
        start += 8 + length
        if start > len(key):
            raise ValueError("a part that ends behind the key")
        parts.append((kind, key[start - length : start]))
    if start != len(key):
        raise ValueError("more than the parts")
    return [name.decode() for _, name in parts[:count]], parts[count:]


def _glob_escape(text: bytes) -> bytes:
    return b"".join(b"\\" + bytes([byte]) if byte in b"*?[]^\\" else bytes([byte]) for byte in text)
