"""Fixtures of the journal's tests."""

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
def never_writes_back(start_ps):
    """Starts shards whose rows reach Redis through the journal alone, until somebody flushes."""

    def start(*arguments: str, **options):
        return start_ps("--flush-interval-s", "3600", *arguments, **options)

    return start
