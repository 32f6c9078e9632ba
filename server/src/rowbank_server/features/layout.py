"""Where a feature lives in Redis: Feast's online-store layout, byte for byte.

One hash per entity. Its key is the serialized entity key (serialization version 3) followed by the project's name; a
field is the murmur3 hash of "<view>:<feature>"; a value is a serialized `feast.types.Value`; when the view was last
written stands in the field "_ts:<view>" as a serialized `google.protobuf.Timestamp`. Anything that Feast materialized
can be read here, and what is written here can be read by Feast.
"""

from __future__ import annotations

import enum
import functools
import struct


class KeyKind(enum.IntEnum):
    """What an entity's id is in its key, as `feast.types.ValueType` numbers it. We write INT64 and read all."""

    STRING = 2  # The id in decimal.
    INT32 = 3
    INT64 = 4


_FORMATS = {KeyKind.INT32: "<i", KeyKind.INT64: "<q"}
_MASK = 0xFFFFFFFF
INDEX_SETS = 64  # Sets that a view's list of entities is spread over, so that none grows big.


def murmur3_32(data: bytes, seed: int = 0) -> int:
    """MurmurHash3 x86 32-bit, as an unsigned number.

    Source: Austin Appleby's public-domain MurmurHash3, algorithm "x86_32".
    """
    h = seed & _MASK
    whole = len(data) - len(data) % 4
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        h = _rotate(h ^ _mix(word), 13)
        h = (h * 5 + 0xE6546B64) & _MASK
    if whole < len(data):
        h ^= _mix(int.from_bytes(data[whole:], "little"))
    h ^= len(data)
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & _MASK
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & _MASK
    return h ^ (h >> 16)


def _mix(word: int) -> int:
    return (_rotate((word * 0xCC9E2D51) & _MASK, 15) * 0x1B873593) & _MASK


def _rotate(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (32 - bits))) & _MASK


@functools.lru_cache(maxsize=1024)
def entity_prefix(join_key: str) -> bytes:
    """What every entity key of this join key starts with, up to what its value is."""
    name = join_key.encode()
    return struct.pack("<III", 1, KeyKind.STRING, len(name)) + name


def entity_key(join_key: str, entity: int, project: str, kind: KeyKind = KeyKind.INT64) -> bytes:
    """The Redis key of one entity's hash. REQUIRES: `kind` can hold the entity, see `can_hold`."""
    value = str(entity).encode() if kind is KeyKind.STRING else struct.pack(_FORMATS[kind], entity)
    return entity_prefix(join_key) + struct.pack("<II", kind, len(value)) + value + project.encode()


def can_hold(kind: KeyKind, entity: int) -> bool:
    """Whether a 64-bit id has a key of that kind."""
    return kind is not KeyKind.INT32 or -(2**31) <= entity < 2**31


def entity_of_key(key: bytes, join_key: str, project: str) -> int | None:
    """The entity that `key` belongs to; None if it is no key of this join key and project, or of no integer."""
    prefix, suffix = entity_prefix(join_key), project.encode()
    if not key.startswith(prefix) or not key.endswith(suffix) or len(key) < len(prefix) + 8 + len(suffix):
        return None
    kind, length = struct.unpack_from("<II", key, len(prefix))
    value = key[len(prefix) + 8 : len(key) - len(suffix)]
    if length != len(value):
        return None
    for known, form in _FORMATS.items():
        if kind == known:
            return int(struct.unpack(form, value)[0]) if length == struct.calcsize(form) else None
    return _canonical(value) if kind == KeyKind.STRING else None


def _canonical(text: bytes) -> int | None:
    """The 64-bit integer whose decimal form `text` is."""
    try:
        entity = int(text)
    except ValueError:
        return None
    return entity if str(entity).encode() == text and -(2**63) <= entity < 2**63 else None


@functools.lru_cache(maxsize=65_536)  # The hash is slow in Python, and the same few fields are read again and again.
def feature_field(view: str, feature: str) -> bytes:
    """The hash field of one feature."""
    return struct.pack("<I", murmur3_32(f"{view}:{feature}".encode()))


def timestamp_field(view: str) -> bytes:
    """The hash field that says when `view` was last written."""
    return f"_ts:{view}".encode()


def views_key(namespace: str) -> str:
    """The hash of all views' definitions."""
    return f"{namespace}:features:views"


def index_key(namespace: str, view: str, entity: int) -> str:
    """The set that lists an entity as one of the view's. It may be given by its number, too."""
    return f"{namespace}:features:{view}:entities:{entity % INDEX_SETS}"


def changes_key(namespace: str, view: str) -> str:
    """The stream that says which entities of a view were written or removed."""
    return f"{namespace}:features:{view}:changes"
