"""Items in columns are what a read of them one by one gives, whoever wrote them and in whatever form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import redis

from rowbank.text_ids import ID_TEXT
from rowbank_protos.v1 import models_pb2, online_pb2
from rowbank_server._core import decode_feature_values
from rowbank_server.features import (
    FeatureField,
    FeatureStatus,
    FeatureStore,
    FeatureType,
    FeatureView,
    LayeredView,
    layout,
    transforms,
)
from rowbank_server.features.values import decode, encode
from rowbank_server.retrieval.catalogue.reading import Read, read_layers
from rowbank_server.retrieval.columns import Column, python_values

KINDS: dict[str, Any] = {
    "title": FeatureType.STRING,
    "tokens": FeatureType.INT64_LIST,
    "year": FeatureType.INT64,
    "price": FeatureType.DOUBLE,
    "sold": FeatureType.BOOL,
    "taste": FeatureType.FLOAT_LIST,
    "genres": FeatureType.STRING_LIST,
    "extra": FeatureType.STRING,
}
DEFAULTS: dict[str, Any] = {"year": 1999, "genres": ["new", ""], "taste": [0.5], "sold": True}
TOKENS = transforms.from_manifest(
    [models_pb2.Transform(input="title", output="tokens", title_tokens=models_pb2.TitleTokens(max_tokens=3))]
)
F32 = np.float32


def view(name: str, features: list[str], **more: Any) -> FeatureView:
    fields = [FeatureField(name=one, type=KINDS[one], default=DEFAULTS.get(one)) for one in features]
    own = [FeatureField(name="_removed", type=FeatureType.BOOL), FeatureField(name=ID_TEXT, type=FeatureType.STRING)]
    return FeatureView(name=name, entity="item_id", fields=(*fields, *own), **more)


def value(kind: FeatureType, rng: np.random.Generator) -> Any:
    count = int(rng.integers(0, 4))
    made: dict[FeatureType, Any] = {
        FeatureType.STRING: str(rng.choice(["", "Der Ölfilm", "two words", "日本", "a" * 300])),
        FeatureType.INT64: int(rng.choice([0, -1, 2**63 - 1, -(2**63), 1984])),
        FeatureType.DOUBLE: float(rng.choice([0.0, -1.5, 1e300, 5e-324])),
        FeatureType.BOOL: bool(rng.integers(0, 2)),
        FeatureType.INT64_LIST: [int(one) for one in rng.integers(-(2**62), 2**62, count)],
        FeatureType.FLOAT_LIST: [float(one) for one in rng.normal(size=count).astype(F32)],
        FeatureType.STRING_LIST: [str(one) for one in rng.choice(["War", "", "Ähm"], count)],
    }
    return made[kind]


def row(view: FeatureView, rng: np.random.Generator) -> dict[str, Any]:
    made = {
        field.name: value(field.type, rng)
        for field in view.fields
        if not field.name.startswith("_") and rng.random() < 0.5
    }
    return {**made, ID_TEXT: f"item {rng.integers(0, 5)}"} if rng.random() < 0.5 else made or {"title": "alone"}


def shown(column: Column, place: int) -> Any:
    """What is present of an item, as it shows."""
    everything = Column(column.type, column.present, column.present, column.values, column.ends, column.words)
    return python_values(everything)[place]


def check(read: Read, layers: LayeredView, items: np.ndarray[Any, Any]) -> None:
    names = [field.name for field in layers.definition().fields]
    expected = [one for one in layers.read_sound(items.tolist(), names) if one.status is not FeatureStatus.NOT_FOUND]
    assert items[read.places].tolist() == [one.entity for one in expected]
    assert read.are_old.tolist() == [one.status is FeatureStatus.OUTSIDE_MAX_AGE for one in expected]
    for place, one in enumerate(expected):
        for name, column in read.columns.items():
            stored = name not in one.absent
            assert (column.stored[place], column.present[place]) == (stored, stored or name in DEFAULTS)
            assert (read.digests[name][place] != 0) == stored
            if column.present[place]:
                wanted: Any = one.values[name]
                kind = KINDS[name]
                assert shown(column, place) == ([F32(x) for x in wanted] if kind is FeatureType.FLOAT_LIST else wanted)
        if read.texts is not None:
            assert read.texts[place] == one.values[ID_TEXT]
    assert set(read.columns) == set(names) - {ID_TEXT}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("max_age_s", [0.0, 3000.0])
def test_columns_are_what_single_reads_give(store: FeatureStore, seed: int, max_age_s: float) -> None:
    rng = np.random.default_rng(seed)
    base = view("base", ["title", "tokens", "year", "price", "genres", "taste"], max_age_s=max_age_s)
    overlay = view("over", ["title", "tokens", "year", "sold", "genres", "extra"])
    store.put_view(base)
    store.put_view(overlay)
    now = store._clock()
    for item in range(150):
        for one in (base, overlay):
            if rng.random() < 0.6:
                store.write(one.name, [(item, row(one, rng))], now - float(rng.choice([10.0, 20.0, 5000.0])))
    layers = LayeredView(store, "base", "over", TOKENS)
    for item in rng.choice(150, 30, replace=False).tolist():
        layers.remove(item)
    items = np.concatenate([[-5], np.arange(160), [2**62]]).astype(np.int64)
    check(read_layers(layers, items), layers, items)
    check(read_layers(LayeredView(store, "base", "", TOKENS), items), LayeredView(store, "base", "", TOKENS), items)


def test_a_number_for_the_content_changes_with_it(store: FeatureStore) -> None:
    store.put_view(view("base", ["title", "year", "genres"]))
    layers = LayeredView(store, "base")
    items = np.arange(3)

    def content(**features: Any) -> list[int]:
        store.write("base", [(item, {"title": f"{item}", "year": 1, "genres": []}) for item in range(3)])
        store.write("base", [(1, features)])
        return [int(one) for one in read_layers(layers, items).content()]

    first = content(year=1)
    assert len(set(first)) == 3
    assert content(year=1) == first
    for features in ({"year": 2}, {"title": ""}, {"genres": [""]}, {"genres": ["1"]}):
        changed = content(**features)
        assert changed[1] != first[1]
        assert (changed[0], changed[2]) == (first[0], first[2])


def foreign_rows(connection: redis.Redis, namespace: str) -> None:
    """Values as other programs may write them, sound and unsound."""
    year, title, genres = (layout.feature_field("base", name) for name in ("year", "title", "genres"))
    stamp = layout.timestamp_field("base")
    unpacked = online_pb2.OnlineValue(string_list_val=online_pb2.OnlineStringList(val=["a"])).SerializeToString()
    rows: list[dict[Any, Any]] = [
        {year: online_pb2.OnlineValue(int32_val=-7).SerializeToString(), stamp: b"\x08\x01"},
        {year: online_pb2.OnlineValue(unix_timestamp_val=5).SerializeToString()},
        {year: online_pb2.OnlineValue(null_val=0).SerializeToString(), title: b""},
        {year: b"\x20\x01\x20\x02"},  # Twice: the last one counts.
        {year: b"\x20\x01\xa0\x06\x05", title: encode("x", FeatureType.STRING)},  # An unknown member beside it.
        {year: online_pb2.OnlineValue(string_val="no").SerializeToString()},
        {year: b"\xff"},
        {title: b"\x12\x02\xc3\x28"},  # No UTF-8.
        {genres: unpacked, title: encode("ok", FeatureType.STRING)},
        {title: encode("bad time", FeatureType.STRING), stamp: b"\x08"},
    ]
    for item, fields in enumerate(rows):
        connection.hset(layout.entity_key("item_id", item, namespace), mapping=fields)
    connection.set(layout.entity_key("item_id", 20, namespace), b"no hash")
    for item, kind in ((30, layout.KeyKind.STRING), (31, layout.KeyKind.INT32)):
        connection.hset(layout.entity_key("item_id", item, namespace, kind), mapping=rows[8])


def test_what_others_wrote_is_read_in_whatever_form(
    store: FeatureStore, connection: redis.Redis, namespace: str
) -> None:
    store.put_view(view("base", ["title", "year", "genres"]))
    foreign_rows(connection, namespace)
    layers = LayeredView(store, "base")
    items = np.arange(40, dtype=np.int64)
    for _ in range(2):  # Then other kinds of keys are known.
        read = read_layers(layers, items)
        check(read, layers, items)
        assert items[read.places].tolist() == [0, 1, 2, 3, 4, 8, 30, 31]
    assert store.unreadable.counts()["base"] == 5
    connection.hset(
        layout.entity_key("item_id", 6, namespace), mapping={layout.feature_field("base", "year"): b"\x20\x07"}
    )
    read_layers(layers, items)
    assert store.unreadable.counts()["base"] == 4


@pytest.mark.parametrize("kind", list(FeatureType))
def test_the_core_reads_random_bytes_as_protobuf_does_or_not_at_all(kind: FeatureType) -> None:
    rng = np.random.default_rng(5)
    sound = [encode(value(kind, rng), kind) for _ in range(200)]
    broken = []
    for data in sound:
        changed = bytearray(data)
        for _ in range(int(rng.integers(1, 3))):
            place = int(rng.integers(0, len(changed) + 1))
            changed[place : place + int(rng.integers(0, 2))] = bytes(
                rng.integers(0, 256, int(rng.integers(0, 3)), np.uint8)
            )
        broken.append(bytes(changed))
    values = [*sound, *broken, *[bytes(rng.integers(0, 256, int(rng.integers(0, 9)), np.uint8)) for _ in range(500)]]
    states = decode_feature_values(list(values), list(FeatureType).index(kind))["states"]
    assert (states[: len(sound)] == 1).all()
    for data, state in zip(values, states.tolist(), strict=True):
        if state != 2:
            assert (decode(data, kind, "it") is not None) == (state == 1)


def test_the_core_refuses_what_is_no_column() -> None:
    with pytest.raises(ValueError, match="expected bytes or None in place 1"):
        decode_feature_values([b"", "text"], 0)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="expected 0 to 7, got 8"):
        decode_feature_values([], 8)
