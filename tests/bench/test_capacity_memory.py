"""A run that memory does not suffice for is refused before anything starts."""

from __future__ import annotations

import subprocess
import sys

import pytest
from bench import capacity_memory, machine
from bench.report import Settings

MILLION = Settings(rows=1_000_000, dim=64)


@pytest.mark.parametrize(
    ("optimizer", "variants", "releases", "others", "gigabytes"),
    [
        ("adagrad", {"relaxed"}, 1, 0, 3 * 0.512),  # Values and one slot of four bytes each.
        ("adagrad", {"relaxed", "write-back", "journaled"}, 2, 1, 2 * (9 * 0.512 + 2) + 1.5 * 0.512 + 1),
        ("adam", {"relaxed", "journaled"}, 1, 3, 6 * 1.536 + 2 + 3 * (1.5 * 1.536 + 1)),  # Two slots, two tables.
    ],
)
def test_what_is_needed(optimizer, variants, releases, others, gigabytes):
    needed = capacity_memory.bytes_needed(MILLION, optimizer, variants, releases, others)
    assert needed == pytest.approx(gigabytes * 1e9)


def test_free_memory_is_what_the_system_says():
    with open("/proc/meminfo") as lines:
        told = {name: int(value.split()[0]) * 1024 for name, value in (line.split(":") for line in lines)}
    assert 0 < machine.free_bytes() < told["MemTotal"]


def test_too_large_a_run_ends_before_it_starts(monkeypatch):
    monkeypatch.setenv("CAPACITY_CELLS", "adam,pull")
    command = [sys.executable, "-m", "bench", "capacity", "--rows", "100000000000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("python -m bench: capacity: the lines of adagrad need about ")
    assert "CAPACITY_CELLS" in line
