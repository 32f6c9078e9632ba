"""Several models and versions in one process: what is loaded, and which of it answers."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from tests.processes import PsProcess, stand_still
from tests.retrieval.hosted import Hosted, equipped, hosted
from tests.retrieval.support import MODEL, ApiProcess, World, until

import rowbank
from rowbank.errors import ModelNotFound, NotReady
from rowbank.features import FeatureField, FeatureView
from rowbank_server.features import layout
from rowbank_server.registry.model import load_model
from rowbank_server.retrieval.batching import Batcher
from rowbank_server.retrieval.catalogue.files import BaseFiles
from rowbank_server.retrieval.catalogue.options import FollowerOptions
from rowbank_server.retrieval.hosting.serving import load
from rowbank_server.retrieval.queries import Query
from rowbank_server.retrieval.rows import ClientRows


@pytest.fixture
def ps(start_ps: Callable[..., PsProcess]) -> PsProcess:
    return start_ps()


@pytest.fixture
def client(ps: PsProcess) -> Iterator[rowbank.Client]:
    with rowbank.Client(ps.target) as client:
        yield client


@pytest.fixture
def world(client: rowbank.Client, namespace: str) -> World:
    """Stored, but for the model."""
    world = World(namespace)
    world.create_tables(client)
    world.write_features(client)
    return world


@pytest.fixture
def running(
    connection: redis.Redis, namespace: str, ps: PsProcess, client: rowbank.Client, world: World
) -> Iterator[Hosted]:
    with hosted(connection, namespace, ps.target, MODEL) as running:
        yield running


def best(running: Hosted, model: str = "", version: str = "") -> tuple[str, int]:
    """The version that answers, and what it likes best for user 3."""
    answer = running.ask(Query(user_id=3, k=1), model, version=version)
    return answer.model_version, answer.items[0].item_id


def test_every_model_with_an_active_version_is_served(running: Hosted, client: rowbank.Client, world: World) -> None:
    """The setting names the default one; where it has no version, the only one there is stands in."""
    with pytest.raises(NotReady, match=f"no active version of model '{MODEL}'"):
        running.hosts.of()
    world.publish(client, "v1", name="movies")
    world.publish(client, "v0", name="unused", activate=False)
    until(lambda: running.serves("movies") == "v1")
    turned = World(world.suffix)
    turned.item_weights = -turned.item_weights
    assert best(running) == best(running, "movies") == ("v1", world.expected(world.user_vector(3), 1)[0][0])
    turned.publish(client, "v7", name="songs")
    until(lambda: running.serves("songs") == "v7")
    assert best(running, "songs") == ("v7", turned.expected(turned.user_vector(3), 1)[0][0])
    with pytest.raises(NotReady, match="served: movies, songs"):
        running.hosts.of()
    with pytest.raises(ModelNotFound, match="'unused' is not served here; served: movies, songs"):
        running.hosts.of("unused")
    world.publish(client, "v2")
    until(lambda: running.serves(MODEL) == "v2")
    assert best(running)[0] == "v2"


def test_a_version_that_cannot_be_loaded_hurts_no_other(
    running: Hosted, client: rowbank.Client, world: World, connection: redis.Redis, namespace: str
) -> None:
    """Its model goes on with the one before, and other models know nothing of it; it is tried again."""
    world.publish(client, "v1")
    world.publish(client, "v1", name="movies")
    until(lambda: running.serves(MODEL) == running.serves("movies") == "v1")
    world.publish(client, "v2", user_view="people")
    until(lambda: "view 'people' does not exist" in running.hosts.of().problem)
    assert running.hosts.of("movies").problem == ""
    assert best(running)[0] == best(running, "movies")[0] == "v1"
    people = FeatureView("people", "user_id", (FeatureField("age", "int64"),))
    client.features.put_view(people)
    until(lambda: running.serves(MODEL) == "v2")
    assert running.hosts.of().problem == ""


def test_the_version_before_is_kept_and_one_may_be_asked_by_name(
    running: Hosted, client: rowbank.Client, world: World
) -> None:
    world.publish(client, "v1")
    until(lambda: running.serves(MODEL) == "v1")
    first = running.hosts.of().active
    world.publish(client, "v2")
    until(lambda: running.serves(MODEL) == "v2")
    assert best(running, version="v1")[0] == "v1"
    picked = running.hosts.of().pick(3, "v2")
    assert (picked.serving.version, picked.split) == ("v2", "asked for")
    with pytest.raises(ModelNotFound, match="'v3' is not loaded here; loaded: v2, v1; to load it, activate it or"):
        running.hosts.of().pick(3, "v3")
    client.models.activate(MODEL, "v1")
    until(lambda: running.serves(MODEL) == "v1")
    assert running.hosts.of().active is first  # Nothing was loaded anew.


def test_a_version_that_is_not_wanted_goes_after_a_while(
    connection: redis.Redis, namespace: str, ps: PsProcess, client: rowbank.Client, world: World
) -> None:
    with hosted(connection, namespace, ps.target, MODEL, keep_s=0.0, grace_s=0.0) as running:
        world.publish(client, "v1")
        until(lambda: running.serves(MODEL) == "v1")
        world.publish(client, "v2")
        until(lambda: set(running.hosts.of().servings) == {"v2"})


def test_of_many_activations_only_the_version_before_stays(
    connection: redis.Redis, namespace: str, ps: PsProcess, client: rowbank.Client, world: World
) -> None:
    with hosted(connection, namespace, ps.target, MODEL, keep_s=3600.0, grace_s=0.0) as running:
        for version in ("v1", "v2", "v3", "v4"):
            world.publish(client, version)
            until(lambda version=version: running.serves(MODEL) == version)
        until(lambda: set(running.hosts.of().servings) == {"v3", "v4"})
        before = running.hosts.of().servings["v3"]
        client.models.activate(MODEL, "v3")
        until(lambda: running.serves(MODEL) == "v3")
        assert running.hosts.of().active is before
        client.models.activate(MODEL, "v1")
        until(lambda: set(running.hosts.of().servings) == {"v1", "v3"})


def test_what_cannot_be_read_of_a_version_is_forgotten_with_it(
    connection: redis.Redis, namespace: str, ps: PsProcess, client: rowbank.Client, world: World
) -> None:
    """Of its own views; those that another version reads, too, are counted on."""
    with hosted(connection, namespace, ps.target, MODEL, count_s=0.05, keep_s=0.0, grace_s=0.0) as running:
        fields = (("title", "string"), ("title_tokens", "int64_list"))
        client.features.put_view(
            FeatureView("own", "item_id", tuple(FeatureField(name, kind) for name, kind in fields))
        )
        client.features.write("own", {item: {"title": "T", "title_tokens": [1]} for item in (100, 101)})
        for view in ("own", "items"):
            key = layout.entity_key("item_id", 101, namespace)
            connection.hset(key, layout.feature_field(view, "title"), b"\xff")
        tower = world.manifest("v1").candidate
        taken = dataclasses.replace(tower.inputs[0], feature="own:title_tokens")
        candidate = dataclasses.replace(tower, inputs=(taken,))
        world.publish(client, "v1", item_view="own", candidate=candidate)
        until(lambda: running.store.unreadable.counts().get("own") == 1)
        world.publish(client, "v2")
        until(lambda: running.store.unreadable.counts().get("items") == 1)
        until(lambda: "own" not in running.store.unreadable.counts())
        assert running.store.unreadable.counts()["items"] == 1


def test_a_version_that_is_loaded_after_its_model_went_is_ended(
    connection: redis.Redis, namespace: str, ps: PsProcess, client: rowbank.Client, world: World
) -> None:
    """Its threads would follow a catalogue for ever that nobody serves."""
    world.publish(client, "v1")
    stand_still(ps.pid)
    try:
        with hosted(connection, namespace, ps.target, MODEL) as running:
            until(lambda: MODEL in running.hosts.all)
            host = running.hosts.of()
            running.run(host.close())  # It waits for the load for a moment only.
            os.kill(ps.pid, signal.SIGCONT)
            until(lambda: not host._thread.is_alive())
            assert host.servings == {}
            assert "follower-v1" not in {thread.name for thread in threading.enumerate()}
    finally:
        os.kill(ps.pid, signal.SIGCONT)


def test_a_version_that_fails_at_the_last_leaves_its_files_to_others(
    connection: redis.Redis, namespace: str, ps: PsProcess, client: rowbank.Client, world: World, tmp_path: Path
) -> None:
    world.publish(client, "v1", rows="frozen")

    def refused(answer: object) -> Batcher:
        raise NotReady("no queries here")

    with contextlib.closing(ClientRows([ps.target], 10.0)) as rows:
        equipment = equipped(connection, namespace, rows)
        options = FollowerOptions(folder=tmp_path, namespace=namespace)
        refusing = dataclasses.replace(equipment, options=options, open_batcher=refused)
        with pytest.raises(NotReady, match="no queries here"):
            load(refusing, MODEL, "v1", next_serial=lambda: 1, with_lost_tables=True, on_swap=lambda generation: None)
        stored = equipment.registry.get(MODEL, "v1")
        model = load_model(stored.manifest, equipment.registry.files(stored.manifest), equipment.store)
        files = BaseFiles(tmp_path, namespace, model)
        assert files.claim(serving=True)
        files.release()


def test_the_recall_of_every_version_is_measured_until_it_goes(
    connection: redis.Redis, namespace: str, ps: PsProcess, client: rowbank.Client, world: World
) -> None:
    with hosted(connection, namespace, ps.target, MODEL, probe_s=0.05, keep_s=0.0, grace_s=0.0) as running:

        def recall(version: str) -> float | None:
            labels = {"model": MODEL, "version": version}
            return running.metrics.registry.get_sample_value("rowbank_index_recall", labels)

        world.publish(client, "v1")
        until(lambda: recall("v1") == 1.0)
        world.publish(client, "v2")
        until(lambda: recall("v2") == 1.0)
        until(lambda: recall("v1") is None)


def test_a_redis_that_came_back_empty_takes_nothing_out_of_service(
    running: Hosted, client: rowbank.Client, world: World, connection: redis.Redis, namespace: str
) -> None:
    world.publish(client, "v1")
    world.publish(client, "v1", name="movies")
    until(lambda: running.serves(MODEL) == running.serves("movies") == "v1")
    connection.delete(f"{namespace}:models:{{movies}}:active")
    until(lambda: "movies" not in running.hosts.all)
    connection.delete(f"{namespace}:models:names")
    until(lambda: "holds no model" in running.hosts.problem)
    assert best(running)[0] == "v1"


def test_readiness_names_every_model_with_its_problem(
    ps: PsProcess,
    start_api: Callable[..., ApiProcess],
    namespace: str,
    client: rowbank.Client,
    world: World,
) -> None:
    """Two models and neither of them the default one: those that requests name are served all the same."""
    world.publish(client, "v1", name="movies")
    world.publish(client, "v1", name="songs")
    api = start_api(ps.target, namespace)
    with httpx.Client(base_url=api.url, timeout=30) as http:

        def health() -> Any:
            answer = http.get("/readyz")
            return answer.json() if answer.status_code == 200 else {"models": []}

        until(lambda: [one["model_version"] for one in health()["models"]] == ["v1", "v1"])
        assert (health()["status"], health()["model_version"]) == ("ready", "")
        assert "no active version of model 'two_tower'" in health()["problem"]
        assert http.post("/v1/recommend", json={"user_id": 1}).status_code == 503
        answer = http.post("/v1/recommend", json={"user_id": 1, "model": "songs"}).json()
        assert (answer["model"], answer["model_version"]) == ("songs", "v1")
        world.publish(client, "v2", name="songs", user_view="people")
        until(lambda: "view 'people' does not exist" in health()["models"][1]["problem"])
        assert health()["models"][0]["problem"] == ""
        assert http.post("/v1/recommend", json={"user_id": 1, "model": "opera"}).status_code == 404
