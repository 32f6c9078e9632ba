"""Fixtures of the tests of encryption."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.security.authority import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A CA with files for a server and a client."""
    made = Authority(tmp_path / "tls")
    made.issue("server")
    made.issue("client", "client.example.org")
    return made
