"""Features that others wrote: under other kinds of keys, and bytes that nobody can read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import redis
from tests.processes import PsProcess
from tests.retrieval.support import ApiProcess, World, get, post, serving, until
from tests.retrieval.versions import look_again, refreshes

import rowbank
from rowbank_server.features import FeatureField, FeatureStatus, FeatureStore, FeatureType, FeatureView, layout
from rowbank_server.features.layout import KeyKind
from rowbank_server.features.values import encode, encode_time

USERS = FeatureView(
    name="users",
    entity="user_id",
    fields=(
        FeatureField(name="age", type=FeatureType.INT64),
        FeatureField(name="history", type=FeatureType.INT64_LIST),
    ),
)
KINDS = [KeyKind.INT32, KeyKind.STRING]


@pytest.fixture
def write(connection: redis.Redis, namespace: str) -> Callable[..., bytes]:
    """Writes a user as Feast would, under a key of some kind; returns the key."""

    def as_feast(user: int, kind: KeyKind, event_time_s: float, **values: int | list[int]) -> bytes:
        key = layout.entity_key("user_id", user, namespace, kind)
        fields: dict[Any, Any] = {
            layout.feature_field("users", name): encode(value, USERS.field(name).type) for name, value in values.items()
        }
        connection.hset(key, mapping={**fields, layout.timestamp_field("users"): encode_time(event_time_s)})
        return key

    return as_feast


@pytest.fixture
def users(store: FeatureStore) -> FeatureStore:
    store.put_view(USERS)
    return store


def read(store: FeatureStore, *ids: int) -> list[tuple[FeatureStatus, dict]]:
    return [(row.status, dict(row.values)) for row in store.read("users", ids)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_feast_wrote_under_other_keys_is_read(users: FeatureStore, write: Callable, kind: KeyKind) -> None:
    write(7, kind, 1000.0, age=30, history=[1, 2])
    write(-8, kind, 1001.0, age=31)
    present, missing = FeatureStatus.PRESENT, FeatureStatus.NOT_FOUND
    for _ in range(2):  # The second time it is known which kinds there are.
        assert read(users, 7, 2**40, -8) == [
            (present, {"age": 30, "history": [1, 2]}),
            (missing, {"age": 0, "history": []}),
            (present, {"age": 31, "history": []}),
        ]
    assert [row.event_time_s for row in users.read("users", [7, -8])] == [1000.0, 1001.0]
    assert users.entities("users").tolist() == [-8, 7]


def test_kinds_side_by_side_are_all_read(users: FeatureStore, write: Callable) -> None:
    write(1, KeyKind.INT64, 1000.0, age=1)
    write(2, KeyKind.INT32, 1000.0, age=2)
    write(3, KeyKind.STRING, 1000.0, age=3)
    assert [values["age"] for _, values in read(users, 1, 2, 3)] == [1, 2, 3]
    assert users.entities("users").tolist() == [1, 2, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_here_lies_over_it(
    users: FeatureStore, write: Callable, connection: redis.Redis, namespace: str, kind: KeyKind
) -> None:
    theirs = write(7, kind, 1000.0, age=30, history=[1, 2])
    read(users, 7)
    assert users.append("users", "history", 7, [3], limit=10) == 3
    assert read(users, 7) == [(FeatureStatus.PRESENT, {"age": 30, "history": [1, 2, 3]})]
    assert connection.exists(layout.entity_key("user_id", 7, namespace))  # An Int64 key, as ever.
    write(7, kind, 4e9, age=40)  # A later materialization.
    assert read(users, 7) == [(FeatureStatus.PRESENT, {"age": 40, "history": [1, 2]})]
    assert users.remove("users", 7)
    assert read(users, 7)[0][0] is FeatureStatus.NOT_FOUND
    assert not connection.exists(theirs)


def test_what_is_too_old_under_one_key_is_not_mixed_into_another(store: FeatureStore, write: Callable) -> None:
    store.put_view(USERS.model_copy(update={"max_age_s": 600.0}))
    now = time.time()
    write(1, KeyKind.INT64, now - 5000, age=1, history=[1])
    write(1, KeyKind.STRING, now - 50, age=2)
    write(2, KeyKind.INT64, now - 5000, age=3)
    write(2, KeyKind.INT32, now - 700, age=4)
    present, old = FeatureStatus.PRESENT, FeatureStatus.OUTSIDE_MAX_AGE
    assert read(store, 1, 2) == [(present, {"age": 2, "history": []}), (old, {"age": 0, "history": []})]


@pytest.fixture
def world(namespace: str) -> World:
    return World(namespace)


@pytest.fixture
def http(
    start_ps: Callable[..., PsProcess], start_api: Callable[..., ApiProcess], namespace: str, world: World
) -> Iterator[httpx.Client]:
    """A service that counts ten times a second what is popular."""
    ps = start_ps()
    with rowbank.Client(ps.target) as client:
        world.create_tables(client)
        world.write_features(client)
        world.publish(client, "v1")
    api = start_api(ps.target, namespace, "--popularity-interval-s", "0.1")
    with httpx.Client(base_url=api.url, timeout=30) as http:
        serving(http, "v1")
        http.headers["x-log"] = os.fspath(api.log_path)
        yield http
    assert api.terminate() == 0, api.log


@pytest.mark.parametrize("damage", ["bytes", "type", "utf8", "time", "no hash"])
def test_one_unreadable_item_does_not_stop_the_others(
    http: httpx.Client, world: World, connection: redis.Redis, namespace: str, damage: str
) -> None:
    item, user = int(world.items[3]), 5
    key = layout.entity_key("item_id", item, namespace)
    title, stamp = layout.feature_field("items", "title"), layout.timestamp_field("items")
    whole = connection.hgetall(key)
    if damage == "no hash":
        connection.delete(key)
        connection.set(key, "x")
    else:
        field, data = {
            "bytes": (title, b"\xff\xff"),
            "type": (title, encode(7, FeatureType.INT64)),
            "utf8": (title, b"\x12\x02\xff\xfe"),
            "time": (stamp, b"\xff"),
        }[damage]
        connection.hset(key, field, data)
    history = layout.entity_key("user_id", 12, namespace)
    connection.hset(history, layout.feature_field("users", "history"), b"\xff")
    before = refreshes(http)
    look_again(connection, namespace)
    until(lambda: get(http, "/readyz")["items"] == world.item_count - 1)
    look_again(connection, namespace)
    until(lambda: refreshes(http) >= before + 2 and not get(http, "/readyz")["problem"])
    found = {row["id"] for row in post(http, "/v1/recommend", {"user_id": user, "k": 1000})["items"]}
    assert found == {int(i) for i in world.items} - {item}
    metrics = http.get("/metrics").text
    assert 'rowbank_unreadable_entities{view="items"} 1.0' in metrics
    until(lambda: 'rowbank_unreadable_entities{view="users"} 1.0' in http.get("/metrics").text)
    # New items are taken in meanwhile.
    body = {"features": {"title": "New", "title_tokens": world.item_tokens[100]}}
    assert http.put("/v1/items/5000", json=body).json() == {"written": 1}
    until(lambda: get(http, "/readyz")["items"] == world.item_count)
    with open(http.headers["x-log"]) as log:
        lines = [line for line in log if f"item_id {item}" in line]
    assert len(lines) == 1, lines  # Once, not at each of the rebuilds.
    assert "left out until it can be read" in lines[0]
    connection.delete(key)
    connection.hset(key, mapping=whole)
    look_again(connection, namespace)
    until(lambda: get(http, "/readyz")["items"] == world.item_count + 1)
    until(lambda: 'rowbank_unreadable_entities{view="items"} 0.0' in http.get("/metrics").text)
