"""The feature store on a real Redis."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import redis

from rowbank.errors import InvalidFeature, RedisUnavailable, ViewNotFound
from rowbank_protos.v1 import features_pb2
from rowbank_server.features import FeatureField, FeatureStatus, FeatureStore, FeatureType, FeatureView, layout
from rowbank_server.features.service import FeatureServicer
from rowbank_server.features.views import view_from_message, view_to_message
from rowbank_server.registry import ModelRegistry
from rowbank_server.registry.view_scope import ViewScope

ITEMS = FeatureView(
    name="items",
    entity="item_id",
    fields=(
        FeatureField(name="title", type=FeatureType.STRING, default="untitled"),
        FeatureField(name="tokens", type=FeatureType.INT64_LIST),
    ),
)


def test_rows_come_back_in_order_with_defaults(store: FeatureStore) -> None:
    assert store.put_view(ITEMS)
    assert not store.put_view(ITEMS)
    assert store.write("items", [(1, {"title": "Heat", "tokens": [5, 6]}), (2, {"tokens": []})], 1000.5) == 2
    reads = store.read("items", [2, 3, 1])
    assert [read.entity for read in reads] == [2, 3, 1]
    assert [dict(read.values) for read in reads] == [
        {"title": "untitled", "tokens": []},
        {"title": "untitled", "tokens": []},
        {"title": "Heat", "tokens": [5, 6]},
    ]
    assert [read.status for read in reads] == [
        FeatureStatus.PRESENT,
        FeatureStatus.NOT_FOUND,
        FeatureStatus.PRESENT,
    ]
    assert [read.event_time_s for read in reads] == [1000.5, 0.0, 1000.5]
    assert dict(store.read("items", [1], ["title"])[0].values) == {"title": "Heat"}


def test_default_lists_are_not_shared(store: FeatureStore) -> None:
    store.put_view(ITEMS)
    first = store.read("items", [1])[0].values["tokens"]
    assert isinstance(first, list)
    first.append(1)
    assert store.read("items", [1])[0].values["tokens"] == []


def test_max_age_is_enforced_at_read(connection: redis.Redis, namespace: str) -> None:
    now = [1000.0]
    store = FeatureStore(connection, namespace, clock=lambda: now[0])
    store.put_view(FeatureView(name="items", entity="item_id", fields=ITEMS.fields, max_age_s=60))
    store.write("items", [(1, {"title": "Heat"})])
    now[0] = 1060.0
    assert store.read("items", [1])[0].status is FeatureStatus.PRESENT
    now[0] = 1060.5
    read = store.read("items", [1])[0]
    assert (read.status, read.values["title"], read.event_time_s) == (
        FeatureStatus.OUTSIDE_MAX_AGE,
        "untitled",
        1000.0,
    )


def test_older_events_do_not_overwrite_newer_ones(store: FeatureStore) -> None:
    store.put_view(ITEMS)
    store.write("items", [(1, {"title": "new"})], 2000)
    assert store.write("items", [(1, {"title": "old"}), (2, {"title": "old"})], 1000) == 1
    assert store.write("items", [(1, {"title": "same moment"})], 2000) == 1
    assert [read.values["title"] for read in store.read("items", [1, 2])] == ["same moment", "old"]


def test_nothing_is_written_if_one_value_is_wrong(store: FeatureStore) -> None:
    store.put_view(ITEMS)
    with pytest.raises(InvalidFeature, match="items:title of item_id 2: expected string, got int"):
        store.write("items", [(1, {"title": "a"}), (2, {"title": 5})])
    with pytest.raises(InvalidFeature, match="has no feature 'name'; it has: title, tokens"):
        store.write("items", [(1, {"title": "a"}), (2, {"name": "b"})])
    assert store.read("items", [1])[0].status is FeatureStatus.NOT_FOUND
    assert store.entities("items").size == 0


def test_unknown_view_lists_the_known_ones(store: FeatureStore) -> None:
    store.put_view(ITEMS)
    with pytest.raises(ViewNotFound, match="view 'users' does not exist; known views: items"):
        store.read("users", [1])


def test_a_view_keeps_its_entity_and_types(store: FeatureStore) -> None:
    store.put_view(ITEMS)
    with pytest.raises(InvalidFeature, match="belongs to entity 'item_id'"):
        store.put_view(FeatureView(name="items", entity="user_id", fields=ITEMS.fields))
    with pytest.raises(InvalidFeature, match="'title' is stored as string, got int64"):
        store.put_view(
            FeatureView(name="items", entity="item_id", fields=(FeatureField(name="title", type=FeatureType.INT64),))
        )
    assert store.list_views() == [ITEMS]


def test_entities_are_listed(store: FeatureStore) -> None:
    store.put_view(ITEMS)
    ids = np.random.default_rng(7).integers(-(2**62), 2**62, 2500)
    store.write("items", [(int(i), {"title": str(i)}) for i in ids])
    assert np.array_equal(store.entities("items"), np.sort(ids))
    assert store.remove("items", int(ids[0]))
    assert not store.remove("items", int(ids[0]))
    assert np.array_equal(store.entities("items"), np.sort(ids[1:]))


def test_entities_that_others_wrote_are_found(store: FeatureStore, connection: redis.Redis, namespace: str) -> None:
    store.put_view(ITEMS)
    for item in (4, -5, 42):  # 42 is "*" in the key, 63 "?" and 91 "[": none may act as a pattern.
        connection.hset(layout.entity_key("item_id", item, namespace), b"_ts:items", b"")
    connection.hset(layout.entity_key("item_id", 9, namespace), b"_ts:other", b"")
    connection.hset(layout.entity_key("item_id", 8, namespace + "2"), b"_ts:items", b"")
    assert store.entities("items").tolist() == [-5, 4, 42]


def test_appends_are_atomic_and_bounded(store: FeatureStore, connection: redis.Redis, namespace: str) -> None:
    store.put_view(ITEMS)
    store.write("items", [(1, {"title": "kept", "tokens": [100]})])

    def append(start: int) -> None:
        for i in range(start, start + 20):
            assert store.append("items", "tokens", 1, [i], limit=50) <= 50

    threads = [threading.Thread(target=append, args=(start,)) for start in (0, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    values = store.read("items", [1])[0].values
    tokens = values["tokens"]
    assert isinstance(tokens, list)
    assert tokens[0] == 100
    assert [t for t in tokens[1:] if t < 1000] == list(range(20))
    assert [t for t in tokens[1:] if t >= 1000] == list(range(1000, 1020))
    assert values["title"] == "kept"
    assert store.append("items", "tokens", 1, [7, 8], limit=3) == 3
    assert store.read("items", [1])[0].values["tokens"][-2:] == [7, 8]  # type: ignore[index]
    with pytest.raises(InvalidFeature, match="only lists can be appended to"):
        store.append("items", "title", 1, ["x"], limit=3)


def test_redis_away_is_a_retryable_error() -> None:
    store = FeatureStore(redis.Redis(host="127.0.0.1", port=1, retry=None))
    with pytest.raises(RedisUnavailable, match="check that it runs"):
        store.list_views()
    assert RedisUnavailable.retryable


def test_views_survive_the_wire() -> None:
    view = FeatureView(
        name="v",
        entity="e",
        fields=tuple(FeatureField(name=f"f_{kind.value}", type=kind) for kind in FeatureType),
        max_age_s=1.5,
    )
    assert view_from_message(view_to_message(view)) == view
    assert view_from_message(view_to_message(ITEMS)) == ITEMS


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (features_pb2.FeatureView(name="v", entity="e"), "fields"),
        (
            features_pb2.FeatureView(name="v:w", entity="e", fields=[{"name": "a", "type": 1}]),
            "name: expected 1 to 128 letters, digits and _",
        ),
        (features_pb2.FeatureView(name="v", entity="e", fields=[{"name": "a"}]), "'a' has no type"),
        (features_pb2.FeatureView(name="v", entity="e", fields=[{"name": "a", "type": 1}] * 2), "named twice: a"),
        (
            features_pb2.FeatureView(name="v", entity="e", fields=[{"name": "a", "type": 1}], max_age_s=-1),
            "max_age_s",
        ),
        (
            features_pb2.FeatureView(
                name="v", entity="e", fields=[{"name": "a", "type": 1, "default_value": {"string_value": "x"}}]
            ),
            "default of 'a': expected int64_value",
        ),
    ],
)
def test_bad_views_are_refused(message: features_pb2.FeatureView, error: str) -> None:
    with pytest.raises(InvalidFeature, match=error):
        view_from_message(message)


def test_the_service_reads_what_it_wrote(store: FeatureStore, connection: redis.Redis, namespace: str) -> None:
    scope = ViewScope(ModelRegistry(connection, namespace))
    servicer, context = FeatureServicer(store, lambda view: (), scope), None
    servicer.PutView(features_pb2.PutViewRequest(view=view_to_message(ITEMS)), context)  # type: ignore[arg-type]
    write = features_pb2.WriteFeaturesRequest(view="items", event_time_s=5)
    row = write.rows.add(entity=3)
    row.values["title"].string_value = "Heat"
    row.values["tokens"].int64_list.SetInParent()
    assert servicer.WriteFeatures(write, context).written == 1  # type: ignore[arg-type]
    reply = servicer.ReadFeatures(features_pb2.ReadFeaturesRequest(view="items", entities=[3, 4]), context)  # type: ignore[arg-type]
    assert [result.status for result in reply.results] == [
        features_pb2.FEATURE_STATUS_PRESENT,
        features_pb2.FEATURE_STATUS_NOT_FOUND,
    ]
    assert reply.results[0].values["title"].string_value == "Heat"
    assert reply.results[0].values["tokens"].WhichOneof("value") == "int64_list"
    assert reply.results[0].event_time_s == 5
