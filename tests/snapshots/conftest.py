"""What the tests of exported files share."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from rowbank import Adam, Client, TableSpec, Uniform


def content(table):
    """All rows by key: {key: (values, slots, frequency, last_used)} as bytes and numbers."""
    rows = {}
    for chunk in table.export(with_slots=True):
        slots = chunk.slots if chunk.slots is not None else np.empty((len(chunk.keys), 0), np.float32)
        columns = zip(chunk.keys, chunk.values, slots, chunk.frequency, chunk.last_used, strict=True)
        for key, values, slot, frequency, last_used in columns:
            assert key not in rows
            rows[int(key)] = (values.tobytes(), slot.tobytes(), int(frequency), int(last_used))
    return rows


def train(table, *, seed, pushes=3, keys=500, space=1 << 40):
    """Pushes random gradients to random keys, some negative."""
    random = np.random.default_rng(seed)
    for _ in range(pushes):
        chosen = random.integers(-space, space, keys)
        table.push(chosen, random.standard_normal((keys, table.dim), np.float32), counts=random.integers(1, 9, keys))


@pytest.fixture
def client(target):
    with Client(target) as connected:
        yield connected


@pytest.fixture
def adam_table(client, table_name):
    """A trained table of dim 6 with Adam(amsgrad): three slots."""
    spec = TableSpec(table_name, dim=6, initializer=Uniform(-0.1, 0.1, seed=3), optimizer=Adam(0.01, amsgrad=True))
    table = client.create_table(spec)
    train(table, seed=1)
    yield table
    client.drop_table(table_name, missing_ok=True)


@pytest.fixture
def rowbank(target):
    """Runs the command line against the shared server, or another; returns the finished process."""

    def run(*arguments: str, code: int = 0, at: str = target) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "ROWBANK_TARGETS": at, "NO_COLOR": "1"}
        command = [sys.executable, "-m", "rowbank.cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run
