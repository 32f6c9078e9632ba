"""Versions, items and rows that change while the service answers; neighbours that go away."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from tests.processes import PsProcess
from tests.retrieval.support import ApiProcess, World, get, post, serving, until

import rowbank
from rowbank_server.redis_supervisor import EmbeddedRedis

Start = Callable[..., Any]


def ids(answer: Any) -> list[int]:
    return [item["id"] for item in answer["items"]]


@pytest.fixture
def world(namespace: str) -> World:
    return World(namespace)


@pytest.fixture
def address() -> str:
    """Where the parameter server will listen: known before it runs, so that both servers can start at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def ps(start_ps: Callable[..., PsProcess], address: str) -> PsProcess:
    return start_ps("--bind", address, wait=False)


@pytest.fixture
def api(ps: PsProcess, start_api: Callable[..., ApiProcess], namespace: str, address: str) -> ApiProcess:
    """A service that counts ten times a second what is popular, with no model yet."""
    api = start_api(address, namespace, "--popularity-interval-s", "0.1")
    ps.wait_ready()
    return api


@pytest.fixture
def client(ps: PsProcess, api: ApiProcess) -> Iterator[rowbank.Client]:
    with rowbank.Client(ps.target) as client:
        yield client


@pytest.fixture
def http(api: ApiProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api.url, timeout=30) as http:
        yield http
    assert api.terminate() == 0, api.log


def test_it_starts_without_a_model_and_takes_the_first_published(
    http: httpx.Client, client: rowbank.Client, world: World
) -> None:
    assert get(http, "/healthz")["status"] == "alive"
    problem = until(lambda: "train one" in http.get("/readyz").text and http.get("/readyz").json())
    assert (problem["status"], problem["type"]) == (503, "urn:rowbank:problem:not-ready")
    answer = http.post("/v1/recommend", json={"user_id": 1})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "train one (rowbank-train two-tower --activate)" in answer.json()["detail"]
    assert get(http, "/v1/models") == {"models": [], "previous": "", "default_model": "two_tower"}
    world.create_tables(client)
    world.write_features(client)
    world.publish(client, "v1")
    assert serving(http, "v1")["items"] == world.item_count
    assert ids(post(http, "/v1/recommend", {"user_id": 2, "k": 5})) == world.expected(world.user_vector(2), 5)[0]


def test_what_keeps_a_version_from_being_served_is_told_and_tried_again(
    http: httpx.Client, client: rowbank.Client, world: World
) -> None:
    world.create_tables(client)
    world.publish(client, "v1")
    until(lambda: "view 'items' does not exist" in http.get("/readyz").text)
    world.write_features(client)
    serving(http, "v1")
    world.publish(client, "v2", user_view="people")
    until(lambda: "view 'people' does not exist" in http.get("/readyz").text)
    assert post(http, "/v1/recommend", {"user_id": 1})["model_version"] == "v1"  # The one before stays in service.


def test_a_version_changes_under_load_without_a_lost_or_mixed_answer(
    http: httpx.Client, client: rowbank.Client, world: World
) -> None:
    world.create_tables(client)
    world.write_features(client)
    world.publish(client, "v1")
    serving(http, "v1")
    before = world.expected(world.user_vector(3), 10)[0]
    turned = World(world.suffix)
    turned.item_weights = -turned.item_weights  # Version v2 likes what v1 does not.
    after = turned.expected(turned.user_vector(3), 10)[0]
    answers: list[httpx.Response] = []
    stop = threading.Event()

    def load() -> None:
        with httpx.Client(base_url=http.base_url, timeout=30) as own:
            while not stop.is_set():
                answers.append(own.post("/v1/recommend", json={"user_id": 3, "k": 10}))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(answers) > 50)
    turned.publish(client, "v2")
    serving(http, "v2")
    seen = len(answers)
    until(lambda: len(answers) > seen + 50)
    assert post(http, "/v1/models/v1/activate", None)["previous_version"] == "v2"  # Roll back.
    serving(http, "v1")
    stop.set()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    bodies = [answer.json() for answer in answers]
    found = {(body["model_version"], body["source"], *ids(body)) for body in bodies}
    assert found == {("v1", "personal", *before), ("v2", "personal", *after)}
    assert all(body["index_version"].startswith(body["model_version"] + ".") for body in bodies)
    listed = get(http, "/v1/models")
    assert [(m["version"], m["active"], m["serving"], m["share"]) for m in listed["models"]] == [
        ("v2", False, True, 0.0),  # It is kept for a while, and may be asked by name.
        ("v1", True, True, 1.0),
    ]
    assert listed["previous"] == "v2"


def test_items_come_change_and_go(http: httpx.Client, client: rowbank.Client, world: World) -> None:
    world.create_tables(client)
    world.write_features(client)
    world.publish(client, "v1")
    serving(http, "v1")
    best = world.expected(world.user_vector(4), 1)[0][0]
    body = {"features": {"title": "A twin", "title_tokens": world.item_tokens[best]}}
    assert http.put("/v1/items/5000", json=body).json() == {"written": 1}
    query = {"user_id": 4, "k": 2}
    twins = until(lambda: (a := post(http, "/v1/recommend", query)) and set(ids(a)) == {best, 5000} and a)
    assert {item["title"] for item in twins["items"]} == {"A twin", world.title(best)}
    item = get(http, "/v1/items/5000")
    assert (item["indexed"], item["status"], item["features"]["title"]) == (True, "present", "A twin")
    http.put("/v1/items/5000", json={"features": {"title": "Renamed"}})
    until(lambda: "Renamed" in http.post("/v1/recommend", json=query).text)
    assert http.delete(f"/v1/items/{best}").json() == {"id": best}
    until(lambda: best not in ids(post(http, "/v1/recommend", {"user_id": 4, "k": 1000})))
    assert http.get(f"/v1/items/{best}").status_code == 404


def test_items_without_rows_are_not_found_but_fill_up(http: httpx.Client, client: rowbank.Client, world: World) -> None:
    """Nothing is known of them, so no score; they come last, where fewer than k are left otherwise."""
    world.create_tables(client)
    world.write_features(client)
    client.features.write("items", {9000: {"title": "No tokens"}, 9001: {"title": "Unknown", "title_tokens": [777]}})
    world.publish(client, "v1")
    assert serving(http, "v1")["items"] == world.item_count
    assert not {9000, 9001} & set(ids(post(http, "/v1/recommend", {"user_id": 1, "k": world.item_count})))
    everything = post(http, "/v1/recommend", {"user_id": 1, "k": 1000})
    assert ids(everything)[-2:] == [9000, 9001]
    assert [item["score"] for item in everything["items"][-2:]] == [None, None]
    assert (everything["source"], everything["degraded"]) == ("personal", ["filled:popular"])
    assert not get(http, "/v1/items/9001")["indexed"]


def test_an_empty_catalogue_answers_with_nothing(http: httpx.Client, client: rowbank.Client, world: World) -> None:
    world.create_tables(client)
    world.item_tokens = {}
    world.write_features(client)
    world.publish(client, "v1")
    assert serving(http, "v1")["items"] == 0
    answer = post(http, "/v1/recommend", {"user_id": 1, "k": 5})
    assert (answer["items"], answer["source"]) == ([], "popular")
    http.put("/v1/items/7", json={"features": {"title": "First", "title_tokens": [3]}})
    until(lambda: ids(post(http, "/v1/recommend", {"user_id": 1, "k": 5})) == [7])


def test_rows_that_train_on_reach_the_index(http: httpx.Client, client: rowbank.Client, world: World) -> None:
    world.create_tables(client)
    world.write_features(client)
    world.publish(client, "v1")
    serving(http, "v1")
    world.token_rows = np.ascontiguousarray(world.token_rows[::-1])
    client.table(world.token_table).upsert(world.tokens, world.token_rows)
    expected = world.expected(world.user_vector(6), 10)[0]
    until(lambda: ids(post(http, "/v1/recommend", {"user_id": 6, "k": 10})) == expected)


def test_events_are_seen_at_once_and_counted_soon(http: httpx.Client, client: rowbank.Client, world: World) -> None:
    world.create_tables(client)
    world.write_features(client)
    world.publish(client, "v1")
    serving(http, "v1")
    best = world.expected(world.user_vector(2), 1)[0][0]
    events = [{"user_id": user, "item_id": 139} for user in range(50, 63)] + [{"user_id": 2, "item_id": best}]
    assert post(http, "/v1/events", {"events": events}) == {
        "written": 14,
        "users": 14,
        "events": len(events),
        "repeats": 0,
    }
    assert best not in ids(post(http, "/v1/recommend", {"user_id": 2, "k": 30, "exclude_seen": True}))
    assert get(http, "/v1/users/2")["features"]["history"] == [100, 101, best]
    until(lambda: ids(get(http, "/v1/popular?k=1")) == [139])  # 13 users against 12.
    newcomer = post(http, "/v1/recommend", {"user_id": 50, "k": 3})  # No row yet, but a history.
    assert (newcomer["source"], newcomer["degraded"]) == ("session", ["user:unknown"])
    assert ids(newcomer) == world.expected(world.vectors([139])[0], 3)[0]
    assert http.put("/v1/users/77", json={"features": {"history": [100]}}).json() == {"written": 1}
    assert get(http, "/v1/users/77")["features"] == {"history": [100]}


def test_stale_features_are_not_used_and_it_says_so(http: httpx.Client, client: rowbank.Client, world: World) -> None:
    world.create_tables(client)
    world.write_features(client, max_age_s=3600)
    client.features.write("users", {500: {"history": [100]}}, event_time_s=1000.0)
    world.publish(client, "v1")
    serving(http, "v1")
    answer = post(http, "/v1/recommend", {"user_id": 500, "k": 2})
    assert (answer["source"], answer["degraded"]) == ("popular", ["features:outside_max_age", "user:unknown"])
    user = get(http, "/v1/users/500")
    assert (user["status"], user["event_time_s"], user["features"]) == ("outside_max_age", 1000.0, {"history": []})
    metrics = http.get("/metrics").text
    assert 'rowbank_feature_status_total{status="outside_max_age",view="users"} 1.0' in metrics
    assert 'rowbank_feature_age_seconds_bucket{le="31536000.0",view="users"} 0.0' in metrics
    assert 'rowbank_feature_age_seconds_bucket{le="+Inf",view="users"} 1.0' in metrics
    post(http, "/v1/events", {"events": [{"user_id": 500, "item_id": 100}]})
    assert get(http, "/v1/users/500")["status"] == "present"
    assert 'rowbank_feature_newest_event_timestamp_seconds{view="users"}' in http.get("/metrics").text


def test_a_dead_parameter_server_degrades_answers(
    ps: PsProcess, http: httpx.Client, client: rowbank.Client, world: World
) -> None:
    world.create_tables(client)
    world.write_features(client)
    world.publish(client, "v1")
    serving(http, "v1")
    ps.kill()
    known = post(http, "/v1/recommend", {"user_id": 3, "k": 4})
    assert (known["source"], known["degraded"]) == ("session", ["rows:unavailable"])
    assert ids(known) == world.expected(world.vectors(world.histories[3]).mean(axis=0), 4)[0]
    unknown = post(http, "/v1/recommend", {"user_id": 31337, "k": 4})
    assert (unknown["source"], unknown["degraded"], len(unknown["items"])) == ("popular", ["rows:unavailable"], 4)
    again = post(http, "/v1/recommend", {"user_id": 3, "explain": True})
    assert again["timings_ms"]["rows_and_tower"] < 400  # Not another timeout of 500 ms.
    ready = until(lambda: (a := get(http, "/readyz")) and a["problem"] and a)
    assert ready["status"] == "ready"


def test_a_table_made_anew_with_another_dim_degrades_answers(
    http: httpx.Client, client: rowbank.Client, world: World
) -> None:
    world.create_tables(client)
    world.write_features(client)
    world.publish(client, "v1")
    serving(http, "v1")
    assert post(http, "/v1/recommend", {"user_id": 3})["source"] == "personal"
    for name in (world.user_table, world.token_table):
        client.drop_table(name, force=True)
        client.create_table(rowbank.TableSpec(name, dim=3, optimizer=rowbank.SGD(0.1)))
    until(lambda: "was dropped since it was published" in get(http, "/readyz")["problem"])
    near = world.expected(world.vectors(world.histories[3]).mean(axis=0), 4)[0]
    for _ in range(3):
        answer = post(http, "/v1/recommend", {"user_id": 3, "k": 4})
        assert (answer["source"], answer["degraded"]) == ("session", ["rows:table_dropped"])
        assert ids(answer) == near


def test_a_dead_redis_degrades_answers(
    own_redis: EmbeddedRedis, start_ps: Start, namespace: str, world: World, tmp_path: Any
) -> None:
    ps = start_ps(redis=own_redis.url)
    options = {"redis_url": own_redis.url, "target": ps.target, "namespace": namespace, "log": tmp_path / "api.log"}
    with rowbank.Client(ps.target) as client:
        world.create_tables(client)
        world.write_features(client)
        world.publish(client, "v1")
    api = ApiProcess("--redis-timeout-s", "1", **options)
    try:
        with httpx.Client(base_url=api.wait_ready().url, timeout=30) as http:
            serving(http, "v1")
            own_redis.stop()
            answer = post(http, "/v1/recommend", {"user_id": 3, "k": 5})
            assert (answer["source"], answer["degraded"]) == ("personal", ["features:unavailable"])
            assert ids(answer) == world.expected(world.user_vector(3), 5)[0]
            write = http.put("/v1/items/5", json={"features": {"title": "x"}})
            assert (write.status_code, write.json()["type"]) == (503, "urn:rowbank:problem:redis-unavailable")
            own_redis.start()
            until(lambda: post(http, "/v1/recommend", {"user_id": 3})["degraded"] == [])
        assert api.terminate() == 0, api.log
    finally:
        api.close()


def test_sigterm_answers_what_is_in_flight(api: ApiProcess, client: rowbank.Client, world: World) -> None:
    world.create_tables(client)
    world.write_features(client)
    world.publish(client, "v1")
    with httpx.Client(base_url=api.url, timeout=30) as http:
        serving(http, "v1")
    statuses: list[int] = []
    refused = threading.Event()

    def load() -> None:
        with httpx.Client(base_url=api.url, timeout=30) as own:
            while True:
                try:
                    statuses.append(own.post("/v1/recommend", json={"user_id": 3}).status_code)
                except httpx.TransportError:
                    refused.set()  # A request that came after the end; none that was taken in is lost.
                    return

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: len(statuses) > 20)
    api.process.send_signal(signal.SIGTERM)
    assert api.wait() == 0, api.log
    for thread in threads:
        thread.join()
    assert refused.is_set()
    assert set(statuses) == {200}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--bind", "nowhere"], "setting bind (ROWBANK_API_BIND)"),
        (["--bind", "0.0.0.0:0"], "can be reached from other machines"),
        (["--redis", "redis://127.0.0.1:1"], "redis://127.0.0.1:1"),
        (["--redis", ""], "setting redis (ROWBANK_REDIS)"),
        (["--max-batch", "0"], "setting max_batch"),
    ],
)
def test_wrong_settings_end_it_with_one_clear_line(
    redis_url: str, tmp_path: Any, arguments: list[str], text: str
) -> None:
    api = ApiProcess(*arguments, redis_url=redis_url, target="127.0.0.1:1", namespace="x", log=tmp_path / "log")
    try:
        assert api.wait() in (1, 2)
        assert text in api.log
        assert "Traceback" not in api.log
    finally:
        api.close()


def test_a_port_in_use_is_named(http: httpx.Client, redis_url: str, tmp_path: Any) -> None:
    address = f"{http.base_url.host}:{http.base_url.port}"
    api = ApiProcess("--bind", address, redis_url=redis_url, target="127.0.0.1:1", namespace="x", log=tmp_path / "log")
    try:
        assert api.wait() == 1
        assert f"bind {address}: port {http.base_url.port} is in use" in api.log
    finally:
        api.close()
