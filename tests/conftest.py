"""Fixtures for all tests: a real Redis, a shared parameter server, servers of a test's own."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.processes import PATIENT, PsProcess, ServerProcess, UpProcess
from tests.redis_nodes import RedisNode

from rowbank_server.redis_supervisor import EmbeddedRedis

_numbers = itertools.count()

for _name in ("COLUMNS", "LINES"):  # A size of the screen that whoever runs the tests has exported is none of theirs.
    os.environ.pop(_name, None)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A Redis on a unix socket that lives as long as the tests. Use a `namespace` of your own in it."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(redis_server: EmbeddedRedis) -> str:
    return redis_server.url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis for one test, which may kill, empty or restart it."""
    server = EmbeddedRedis(tmp_path / "own-redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Callable[..., RedisNode]]:
    """Starts Redis servers on TCP: start_redis(port, "--cluster-enabled", "yes"). They are killed with the test."""
    started: list[RedisNode] = []

    def start(port: int, *arguments: str, config: str = "") -> RedisNode:
        started.append(RedisNode(port, tmp_path / f"redis-{port}", *arguments, config=config))
        return started[-1]

    yield start
    for node in started:
        node.close()


@pytest.fixture
def namespace() -> str:
    """A prefix in Redis that no other test uses."""
    return f"t{next(_numbers)}"


@pytest.fixture(scope="session")
def shared_ps(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PsProcess]:
    """One parameter server for all tests that only need some server; they keep apart by their tables' names."""
    log = tmp_path_factory.mktemp("shared-ps") / "log"
    # Stubs without retries push here, too: a busy disk is no reason to be refused.
    options = ("--namespace", "shared", "--flush-interval-s", "0.2", "--journal-wait-s", "30")
    server = PsProcess(*options, redis_url=redis_url, log=log)
    try:
        yield server.wait_ready()
    finally:
        server.close()


@pytest.fixture(scope="session")
def target(shared_ps: PsProcess) -> str:
    """HOST:PORT of the shared parameter server."""
    return shared_ps.target


@pytest.fixture
def table_name(request: pytest.FixtureRequest) -> str:
    """A table name that no other test uses."""
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', request.node.name)[:60].strip('-')}-{next(_numbers)}"


@pytest.fixture
def start_ps(redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Callable[..., PsProcess]]:
    """Starts shards of a test's own: start_ps("--shard", "0/2", redis=url, wait=True). They end with the test."""
    started: list[ServerProcess] = []

    def start(
        *arguments: str, redis: str | None = None, wait: bool = True, environment: dict[str, str] | None = None
    ) -> PsProcess:
        options = ["--namespace", namespace, *arguments]
        if "--flush-interval-s" not in options:
            options += ["--flush-interval-s", "0.05"]
        log = tmp_path / f"ps{len(started)}.log"
        server = PsProcess(*options, redis_url=redis or redis_url, log=log, environment=environment)
        started.append(server)
        return server.wait_ready() if wait else server

    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    """Everything on one machine, as `rowbank up` starts it, for all tests that only need it to be there."""
    folder = tmp_path_factory.mktemp("up")
    server = UpProcess("--data-dir", str(folder / "data"), log=folder / "log", environment=PATIENT)
    try:
        yield server.wait_ready()
    finally:
        server.close()
