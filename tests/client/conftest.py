"""Clients of real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.client.proxy import Proxy
from tests.processes import PsProcess

from rowbank import Client


@pytest.fixture(scope="module")
def client(target: str) -> Iterator[Client]:
    """A client of the shared parameter server."""
    with Client(target) as client:
        yield client


@pytest.fixture
def two_shards(start_ps: Callable[..., PsProcess]) -> list[str]:
    """The addresses of two shards of one cluster."""
    return [start_ps("--shard", f"{shard}/2").target for shard in (0, 1)]


@pytest.fixture
def proxy(target: str) -> Iterator[Proxy]:
    """A TCP proxy before the shared parameter server."""
    with Proxy(target) as proxy:
        yield proxy
