"""Fixtures of the server's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.server.support import Wire


@pytest.fixture
def connect() -> Iterator[Callable[[str], Wire]]:
    """Opens stubs of a server; they are closed with the test."""
    opened: list[Wire] = []

    def open_wire(target: str) -> Wire:
        opened.append(Wire(target))
        return opened[-1]

    yield open_wire
    for wire in opened:
        wire.close()


@pytest.fixture
def wire(connect: Callable[[str], Wire], target: str) -> Wire:
    """Stubs of the shared server."""
    return connect(target)
