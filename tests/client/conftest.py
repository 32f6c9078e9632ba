"""Clients of real servers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from tests.client.proxy import Proxy
from tests.processes import PsProcess

from rowbank import Client


@pytest.fixture(scope="module")
def client(target: str) -> Iterator[Client]:
    """A client of the shared parameter server."""
    with Client(target) as client:
        yield client


@pytest.fixture(scope="module")
def two_shards(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The addresses of two shards of one cluster, for all tests of a module."""
    logs = tmp_path_factory.mktemp("two-shards")
    with contextlib.ExitStack() as stack:
        shards = [
            PsProcess("--namespace", "two", "--shard", f"{shard}/2", redis_url=redis_url, log=logs / f"{shard}.log")
            for shard in (0, 1)
        ]
        for shard in shards:
            stack.callback(shard.close)
        yield [shard.wait_ready().target for shard in shards]


@pytest.fixture
def proxy(target: str) -> Iterator[Proxy]:
    """A TCP proxy before the shared parameter server."""
    with Proxy(target) as proxy:
        yield proxy
