"""A world whose model is frozen, with nobody who serves it yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis
from tests.processes import PsProcess
from tests.retrieval.catalogue.following import Site, opened
from tests.retrieval.support import World

import rowbank


@pytest.fixture
def site(start_ps: Callable[..., PsProcess], connection: redis.Redis, namespace: str) -> Iterator[Site]:
    ps = start_ps()
    with rowbank.Client(ps.target) as client:
        world = World(namespace)
        world.create_tables(client)
        world.write_features(client)
        world.publish(client, "v1", rows="frozen")
        with opened(world, connection, namespace, ps.target, client) as site:
            yield site
