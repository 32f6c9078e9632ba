"""Where a feature lives in Redis: Feast's online-store layout, byte for byte.

One hash per entity. Its key is the serialized entity key (serialization version 3) followed by the project's name; a
field is the murmur3 hash of "<view>:<feature>"; a value is a serialized `feast.types.Value`; when the view was last
written stands in the field "_ts:<view>" as a serialized `google.protobuf.Timestamp`. Anything that Feast materialized
can be read here, and what is written here can be read by Feast.
"""

from __future__ import annotations

import struct

# Numbers of feast.types.ValueType.
_STRING = 2
_INT64 = 4
_MASK = 0xFFFFFFFF


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


def entity_prefix(join_key: str) -> bytes:
    """What every entity key of this join key starts with, up to its value."""
    name = join_key.encode()
    return struct.pack("<III", 1, _STRING, len(name)) + name + struct.pack("<II", _INT64, 8)


def entity_key(join_key: str, entity: int, project: str) -> bytes:
    """The Redis key of one entity's hash."""
    return entity_prefix(join_key) + struct.pack("<q", entity) + project.encode()


def entity_of_key(key: bytes, join_key: str, project: str) -> int | None:
    """The entity that `key` belongs to; None if it is no key of this join key and project."""
    prefix, suffix = entity_prefix(join_key), project.encode()
    if len(key) != len(prefix) + 8 + len(suffix) or not key.startswith(prefix) or not key.endswith(suffix):
        return None
    entity: int = struct.unpack_from("<q", key, len(prefix))[0]
    return entity


def feature_field(view: str, feature: str) -> bytes:
    """The hash field of one feature."""
    return struct.pack("<I", murmur3_32(f"{view}:{feature}".encode()))


def timestamp_field(view: str) -> bytes:
    """The hash field that says when `view` was last written."""
    return f"_ts:{view}".encode()
