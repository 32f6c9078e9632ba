"""Fixtures of the tests of second chances."""

from __future__ import annotations

import pytest
from tests.server.conftest import connect
from tests.standby.conftest import pair, start_standby

__all__ = ["connect", "pair", "server", "start_standby", "wire"]


@pytest.fixture
def server(start_ps):
    """A shard that waits for Redis as long as it takes, and writes rows when somebody flushes."""
    return start_ps("--flush-interval-s", "3600", "--second-chance-wait-ms", "10000")


@pytest.fixture
def wire(server, connect):
    return connect(server.target)
