"""Fixtures of the followers' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.deltas.support import Follower
from tests.journal.conftest import never_writes_back
from tests.processes import until
from tests.server.conftest import connect

__all__ = ["connect", "never_writes_back"]


@pytest.fixture
def follow() -> Iterator[Callable[..., Follower]]:
    """Opens streams that have begun or failed: follow(target, detail=KEYS). They are closed with the test."""
    opened: list[Follower] = []

    def open_stream(target: str, **fields) -> Follower:
        follower = Follower(target, **fields)
        opened.append(follower)
        until(lambda: follower.messages or follower.error, what="the first message")
        return follower

    yield open_stream
    for follower in opened:
        follower.close()
