"""Fixtures of the TensorFlow tests; Keras 2 is chosen before TensorFlow is imported."""

from __future__ import annotations

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import re
import socket

import pytest
from tests.tf.support import Sides


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """Of the names of this test's tables; the server is shared by all."""
    return re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:60].strip("-")


@pytest.fixture
def sides(target: str, prefix: str) -> Sides:
    return Sides(target, prefix)


@pytest.fixture
def unused_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
