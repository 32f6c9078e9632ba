"""A published model, and services of several workers over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.processes import PsProcess, until
from tests.retrieval.support import ApiProcess, World

import rowbank


@dataclass(frozen=True)
class Published:
    """A world that is published as version v1, and the parameter server that has its rows."""

    world: World
    target: str
    namespace: str
    client: rowbank.Client


@pytest.fixture(scope="module")
def published(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    folder = tmp_path_factory.mktemp("workers")
    world, namespace = World(folder.name), folder.name
    ps = PsProcess("--namespace", namespace, redis_url=redis_url, log=folder / "ps.log")
    try:
        ps.wait_ready()
        with rowbank.Client(ps.target) as client:
            world.create_tables(client)
            world.write_features(client)
            world.publish(client, "v1")
            yield Published(world, ps.target, namespace, client)
    finally:
        ps.close()


def workers_of(pid: int) -> dict[int, int]:
    """Process ids of a parent's workers, by their numbers: in the order in which they were started."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return dict(enumerate(sorted(children)))


@pytest.fixture
def start_workers(published: Published, redis_url: str, tmp_path: Path) -> Iterator[Callable[..., ApiProcess]]:
    """Starts services of two workers: start_workers("--grpc-bind", "127.0.0.1:0", environment={...})."""
    started: list[ApiProcess] = []

    def start(
        *arguments: str, wait: bool = True, model: bool = True, environment: dict[str, str] | None = None
    ) -> ApiProcess:
        options = ("--workers", "2", *arguments)
        api = ApiProcess(
            *options,
            redis_url=redis_url,
            target=published.target,
            namespace=published.namespace,
            log=tmp_path / f"api{len(started)}.log",
            environment={"TMPDIR": str(tmp_path), **(environment or {})},
        )
        started.append(api)
        if wait:
            api.wait_ready()
            if model:
                until(api.is_ready, what="model in every worker")
        return api

    yield start
    for api in started:
        api.close()
