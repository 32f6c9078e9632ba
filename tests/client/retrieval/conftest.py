"""A small served world with gRPC, for the client of online callers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.processes import PsProcess
from tests.retrieval.shop import Shop
from tests.retrieval.support import ApiProcess, serving

import rowbank


@dataclass
class Served:
    """A service over `world`, version v1: its gRPC address, an HTTP client of it and one of its parameter server."""

    world: Shop
    target: str
    http: httpx.Client
    client: rowbank.Client


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def serving_shop(redis_url: str, folder: Path) -> Iterator[Served]:
    """A parameter server and a retrieval service with a shop, until the block ends."""
    namespace, world = folder.name, Shop("caller")
    ps = PsProcess("--namespace", namespace, redis_url=redis_url, log=folder / "ps.log")
    try:
        ps.wait_ready()
        with rowbank.Client(ps.target) as client:
            world.create_tables(client)
            world.write_features(client)
            world.publish(client, "v1")
            options = ("--grpc-bind", "127.0.0.1:0")
            api = ApiProcess(
                *options, redis_url=redis_url, target=ps.target, namespace=namespace, log=folder / "api.log"
            )
            try:
                with httpx.Client(base_url=api.wait_ready().url, timeout=30) as http:
                    serving(http, "v1")
                    yield Served(world, api.grpc_target, http, client)
            finally:
                api.close()
    finally:
        ps.close()


@pytest.fixture(scope="session")
def served(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving_shop(redis_url, tmp_path_factory.mktemp("retrieval-client")) as found:
        yield found


@pytest.fixture
def retrieval(served: Served) -> Iterator[rowbank.RetrievalClient]:
    with rowbank.RetrievalClient(served.target, timeout_s=60) as client:
        yield client
