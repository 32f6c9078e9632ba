"""The online store's bytes. The golden ones were written by Feast 0.67 to a Redis, project "rowbank"."""

from __future__ import annotations

import struct

import pytest

from rowbank.errors import InvalidFeature
from rowbank_protos.v1 import online_pb2
from rowbank_server.features import FeatureType, layout
from rowbank_server.features.layout import KeyKind
from rowbank_server.features.values import check, decode, decode_time, encode, encode_time

# Published test vectors of MurmurHash3 x86 32-bit.
MURMUR = [
    (b"", 0, 0x00000000),
    (b"", 1, 0x514E28B7),
    (b"", 0xFFFFFFFF, 0x81F16F39),
    (b"\xff\xff\xff\xff", 0, 0x76293B50),
    (b"\x21\x43\x65\x87", 0, 0xF55B516B),
    (b"\x21\x43\x65\x87", 0x5082EDEE, 0x2362F9DE),
    (b"\x21\x43\x65", 0, 0x7E4A8634),
    (b"\x21\x43", 0, 0xA0F7B07A),
    (b"\x21", 0, 0x72661CF4),
    (b"aaaa", 0x9747B28C, 0x5A97808A),
    (b"Hello, world!", 0x9747B28C, 0x24884CBA),
]

GOLDEN_KEYS = {
    7: b"\x01\0\0\0\x02\0\0\0\x07\0\0\0item_id\x04\0\0\0\x08\0\0\0\x07\0\0\0\0\0\0\0rowbank",
    -9: b"\x01\0\0\0\x02\0\0\0\x07\0\0\0item_id\x04\0\0\0\x08\0\0\0\xf7\xff\xff\xff\xff\xff\xff\xffrowbank",
}
# Of the same project with Int32 and String join keys.
OTHER_KEYS = [
    (7, KeyKind.INT32, b"\x01\0\0\0\x02\0\0\0\x07\0\0\0item_id\x03\0\0\0\x04\0\0\0\x07\0\0\0rowbank"),
    (-9, KeyKind.INT32, b"\x01\0\0\0\x02\0\0\0\x07\0\0\0item_id\x03\0\0\0\x04\0\0\0\xf7\xff\xff\xffrowbank"),
    (7, KeyKind.STRING, b"\x01\0\0\0\x02\0\0\0\x07\0\0\0item_id\x02\0\0\0\x01\0\0\x007rowbank"),
    (-9, KeyKind.STRING, b"\x01\0\0\0\x02\0\0\0\x07\0\0\0item_id\x02\0\0\0\x02\0\0\0-9rowbank"),
]
GOLDEN_FIELDS = {
    "title": b"\xd5\x90\x1c|",
    "year": b"\xecZ\x17\x19",
    "price": b"\xadQMr",
    "new": b"4uM\xb0",
    "title_tokens": b"LP#:",
    "genres": b"\x01\xc7V\x13",
    "weights": b"\x12\xdaB^",
}
GOLDEN_VALUES = [
    (FeatureType.STRING, "Heat", b"\x12\x04Heat"),
    (FeatureType.STRING, "Ünï", b"\x12\x05\xc3\x9cn\xc3\xaf"),
    (FeatureType.INT64, 1995, b" \xcb\x0f"),
    (FeatureType.INT64, -3, b" \xfd\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    (FeatureType.DOUBLE, 2.5, b")\0\0\0\0\0\0\x04@"),
    (FeatureType.BOOL, True, b"8\x01"),
    (FeatureType.BOOL, False, b"8\0"),
    (FeatureType.INT64_LIST, [5, 6, 2**40], b"r\n\n\x08\x05\x06\x80\x80\x80\x80\x80 "),
    (FeatureType.STRING_LIST, ["a", "b"], b"b\x06\n\x01a\n\x01b"),
    (FeatureType.FLOAT_LIST, [0.5, -2.0], b"\x82\x01\n\n\x08\0\0\0?\0\0\0\xc0"),
]


@pytest.mark.parametrize(("data", "seed", "expected"), MURMUR)
def test_murmur3_test_vectors(data: bytes, seed: int, expected: int) -> None:
    assert layout.murmur3_32(data, seed) == expected


@pytest.mark.parametrize("entity", GOLDEN_KEYS)
def test_entity_keys_are_feasts(entity: int) -> None:
    assert layout.entity_key("item_id", entity, "rowbank") == GOLDEN_KEYS[entity]
    assert layout.entity_of_key(GOLDEN_KEYS[entity], "item_id", "rowbank") == entity
    assert layout.entity_of_key(GOLDEN_KEYS[entity], "user_id", "rowbank") is None
    assert layout.entity_of_key(GOLDEN_KEYS[entity], "item_id", "shop") is None


@pytest.mark.parametrize(("entity", "kind", "key"), OTHER_KEYS)
def test_keys_of_other_types_are_feasts(entity: int, kind: KeyKind, key: bytes) -> None:
    assert layout.entity_key("item_id", entity, "rowbank", kind) == key
    assert layout.entity_of_key(key, "item_id", "rowbank") == entity
    assert layout.entity_of_key(key, "item_id", "bank") is None
    assert layout.entity_of_key(key[:-1], "item_id", "rowban") == entity


@pytest.mark.parametrize("text", [b"ann", b"007", b"+7", b" 7", b"9223372036854775808", b"", b"\xff", b"1_0"])
def test_strings_that_are_no_ids_are_nobodys(text: bytes) -> None:
    key = layout.entity_prefix("item_id") + struct.pack("<II", 2, len(text)) + text + b"rowbank"
    assert layout.entity_of_key(key, "item_id", "rowbank") is None


def test_fields_are_feasts() -> None:
    assert {name: layout.feature_field("items", name) for name in GOLDEN_FIELDS} == GOLDEN_FIELDS
    assert layout.timestamp_field("items") == b"_ts:items"


@pytest.mark.parametrize(("kind", "value", "data"), GOLDEN_VALUES)
def test_values_are_feasts(kind: FeatureType, value: object, data: bytes) -> None:
    assert encode(check(value, kind, "v"), kind) == data
    assert decode(data, kind, "v") == value


def test_timestamps_are_feasts() -> None:
    golden = b"\x08\xc0\xdd\xf7\xcb\x06\x10\x80\xe5\x9aw"  # 2026-01-31T12:00:00.25Z
    assert encode_time(1769860800.25) == golden
    assert decode_time(golden) == 1769860800.25


def test_narrower_stored_types_are_read() -> None:
    narrow = online_pb2.OnlineValue(int32_list_val=online_pb2.OnlineInt32List(val=[1, -2]))
    assert decode(narrow.SerializeToString(), FeatureType.INT64_LIST, "v") == [1, -2]
    assert decode(online_pb2.OnlineValue(float_val=0.5).SerializeToString(), FeatureType.DOUBLE, "v") == 0.5


def test_nulls_are_none() -> None:
    assert decode(b"", FeatureType.STRING, "v") is None
    assert (
        decode(online_pb2.OnlineValue(null_val=online_pb2.ONLINE_NULL).SerializeToString(), FeatureType.BOOL, "v")
        is None
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"\xff\xff", "no feature value"), (b" \x01", "expected string, but the store holds int64_val")],
)
def test_foreign_bytes_are_named(data: bytes, message: str) -> None:
    with pytest.raises(InvalidFeature, match=message):
        decode(data, FeatureType.STRING, "items:title of item 7")


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (True, FeatureType.INT64, "expected int64, got bool"),
        (2**63, FeatureType.INT64, "does not fit into 64 bits"),
        ("7", FeatureType.INT64_LIST, "expected int64_list, got str"),
        ([1, "2"], FeatureType.INT64_LIST, r"v\[1\]: expected int64, got str '2'"),
        (None, FeatureType.STRING, "expected string, got NoneType"),
    ],
)
def test_wrong_types_are_named(value: object, kind: FeatureType, message: str) -> None:
    with pytest.raises(InvalidFeature, match=message):
        check(value, kind, "v")
