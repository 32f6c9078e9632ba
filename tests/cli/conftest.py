"""The command line as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def rowbank(target):
    """Runs the command line against the server; returns the finished process."""

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "ROWBANK_TARGETS": target, "NO_COLOR": "1"}
        command = [sys.executable, "-m", "rowbank.cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == code, done.stderr
        return done

    return run


@pytest.fixture
def answer(rowbank):
    """Runs a command with JSON output; returns what it printed."""
    return lambda *arguments: json.loads(rowbank(*arguments, "-o", "json").stdout)
