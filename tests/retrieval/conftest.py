"""A real Redis with a namespace per test, and one served world that most tests of the service share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis
from tests.processes import PsProcess
from tests.retrieval.support import ApiProcess, World, serving

import rowbank
from rowbank_server.features import FeatureStore
from rowbank_server.registry import ModelRegistry


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(redis_url)
    yield client
    client.close()


@pytest.fixture
def store(connection: redis.Redis, namespace: str) -> FeatureStore:
    return FeatureStore(connection, namespace)


@pytest.fixture
def registry(connection: redis.Redis, namespace: str) -> ModelRegistry:
    return ModelRegistry(connection, namespace)


@pytest.fixture
def start_api(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., ApiProcess]]:
    """Starts services of a test's own: start_api(target, namespace, "--popularity-interval-s", "0.1")."""
    started: list[ApiProcess] = []

    def start(target: str, namespace: str, *arguments: str) -> ApiProcess:
        log = tmp_path / f"api{len(started)}.log"
        api = ApiProcess(*arguments, redis_url=redis_url, target=target, namespace=namespace, log=log)
        started.append(api)
        return api.wait_ready()

    yield start
    for api in started:
        api.close()


@pytest.fixture(scope="module")
def world() -> World:
    return World("shared")


@pytest.fixture(scope="module")
def served_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the logs of `served`; its name is the namespace."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def served(world: World, redis_url: str, served_folder: Path) -> Iterator[tuple[httpx.Client, rowbank.Client]]:
    """A parameter server and a retrieval service over `world`, version v1."""
    folder, namespace = served_folder, served_folder.name
    ps = PsProcess("--namespace", namespace, redis_url=redis_url, log=folder / "ps.log")
    try:
        ps.wait_ready()
        with rowbank.Client(ps.target) as client:
            world.create_tables(client)
            world.write_features(client)
            world.publish(client, "v1")
            api = ApiProcess(redis_url=redis_url, target=ps.target, namespace=namespace, log=folder / "api.log")
            try:
                with httpx.Client(base_url=api.wait_ready().url, timeout=30) as http:
                    serving(http, "v1")
                    yield http, client
                    assert api.terminate() == 0, api.log
            finally:
                api.close()
    finally:
        ps.close()


@pytest.fixture
def http(served: tuple[httpx.Client, rowbank.Client]) -> httpx.Client:
    return served[0]


@pytest.fixture
def client(served: tuple[httpx.Client, rowbank.Client]) -> rowbank.Client:
    return served[1]
