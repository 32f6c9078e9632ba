"""What is measured of a shard's capacity: a wrong wish is refused by what there is, before anything starts."""

from __future__ import annotations

import subprocess
import sys

import pytest
from bench import capacity_cells

VARIABLES = ("CAPACITY_CELLS", "CAPACITY_PEERS", "CAPACITY_BEFORE")


@pytest.fixture(autouse=True)
def nothing_asked(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_cells_that_are_wanted(monkeypatch):
    assert capacity_cells.chosen() == capacity_cells.CELLS
    monkeypatch.setenv("CAPACITY_CELLS", "step, pull,")
    assert [cell.name for cell in capacity_cells.chosen()] == ["pull", "step"]
    monkeypatch.setenv("CAPACITY_CELLS", "pull,pulls")
    with pytest.raises(ValueError, match=r"^CAPACITY_CELLS: unknown cells pulls; known: pull, push, "):
        capacity_cells.chosen()


def test_peers_that_are_wanted(monkeypatch):
    assert capacity_cells.peers() == ["TensorFlow", "Paddle", "torch RPC", "gRPC echo"]
    monkeypatch.setenv("CAPACITY_PEERS", "gRPC echo,TensorFlow")
    assert capacity_cells.peers() == ["TensorFlow", "gRPC echo"]
    monkeypatch.setenv("CAPACITY_PEERS", "tensorflow")
    with pytest.raises(ValueError, match=r"^CAPACITY_PEERS: unknown peers tensorflow; known: TensorFlow, Paddle, "):
        capacity_cells.peers()


def test_the_release_before(monkeypatch, tmp_path):
    assert capacity_cells.releases() == {"Rowbank": sys.executable}
    monkeypatch.setenv("CAPACITY_BEFORE", sys.executable)
    assert capacity_cells.releases() == {"Rowbank": sys.executable, "before": sys.executable}
    monkeypatch.setenv("CAPACITY_BEFORE", str(tmp_path / "python"))
    with pytest.raises(ValueError, match=r"^CAPACITY_BEFORE: expected the Python of an older installation "):
        capacity_cells.releases()


@pytest.mark.parametrize(
    ("workloads", "variable", "said"),
    [
        (["core_pull", "capacity"], "CAPACITY_CELLS", "unknown cells x; known: pull, push, "),
        (["capacity_two_cores"], "CAPACITY_PEERS", "unknown peers x; known: TensorFlow, Paddle, "),
        (["pull_tail"], "CAPACITY_BEFORE", "expected the Python of an older installation that can be run, got 'x'"),
    ],
)
def test_a_wrong_wish_ends_the_run_before_it_starts(monkeypatch, workloads, variable, said):
    """One line, and status 2: no traceback, and no workload has begun."""
    monkeypatch.setenv(variable, "x")
    done = subprocess.run(
        [sys.executable, "-m", "bench", *workloads], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith(f"python -m bench: {variable}: {said}")
