"""Fixtures of the followers' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.deltas.support import Follower
from tests.journal.conftest import never_writes_back
from tests.server.conftest import connect

__all__ = ["connect", "never_writes_back"]


@pytest.fixture
def follow() -> Iterator[Callable[..., Follower]]:
    """Opens streams: follow(target, detail=KEYS). They are closed with the test."""
    opened: list[Follower] = []

    def open_stream(target: str, **fields) -> Follower:
        opened.append(Follower(target, **fields))
        return opened[-1]

    yield open_stream
    for follower in opened:
        follower.close()
