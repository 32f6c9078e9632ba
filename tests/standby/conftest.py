"""Fixtures of the tests of standbys."""

from __future__ import annotations

import pytest
from tests.server.conftest import connect
from tests.standby.support import caught_up, owner_of

__all__ = ["connect", "pair", "start_standby"]


@pytest.fixture
def start_standby(start_ps):
    """Starts processes that stand by, or own the shard if nobody does; rows reach Redis when somebody flushes."""

    def start(*arguments: str, **options):
        interval = () if "--flush-interval-s" in arguments else ("--flush-interval-s", "3600")
        return start_ps("--standby", *interval, *arguments, **options)

    return start


@pytest.fixture
def pair(start_standby):
    """An owner, and a standby that follows it."""

    def start(*arguments: str, **options):
        owner = start_standby(*arguments, **options)
        owner_of(owner)
        standby = start_standby(*arguments, **options)
        caught_up(standby, owner)
        return owner, standby

    return start
