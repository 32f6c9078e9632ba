"""Fixtures of the journal's tests."""

from __future__ import annotations

import pytest
from tests.server.conftest import connect

__all__ = ["connect", "never_writes_back"]


@pytest.fixture
def never_writes_back(start_ps):
    """Starts shards whose rows reach Redis through the journal alone, until somebody flushes, and which do not find out
    by themselves that they were replaced."""

    def start(*arguments: str, **options):
        return start_ps("--flush-interval-s", "3600", "--lease-s", "60", *arguments, **options)

    return start
