"""Servers that send spans to a collector of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.tracing.collector import Collector


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()
