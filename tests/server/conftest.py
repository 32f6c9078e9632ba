"""Fixtures of the server's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.server.support import Wire


@pytest.fixture
def connect() -> Iterator[Callable[..., Wire]]:
    """Opens stubs of a server; they are closed with the test."""
    opened: list[Wire] = []

    def open_wire(target: str, *, native: bool = False) -> Wire:
        opened.append(Wire(target, native=native))
        return opened[-1]

    yield open_wire
    for wire in opened:
        wire.close()


@pytest.fixture
def wire(connect: Callable[..., Wire], target: str) -> Wire:
    """Stubs of the shared server."""
    return connect(target)


@pytest.fixture(params=["grpc", "native"])
def either_wire(connect: Callable[..., Wire], target: str, request: pytest.FixtureRequest) -> Wire:
    """Stubs of the shared server, on gRPC's own server and on the native endpoint."""
    return connect(target, native=request.param == "native")
