"""The programs in the docs run as shown, against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def programs(page: str) -> list[str]:
    """Returns the Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def printed(program: str, target: str, folder: Path, **variables: str) -> list[str]:
    """Runs a program of the docs to its end; returns the lines it printed."""
    script = folder / "program.py"
    script.write_text(program)
    environment = {**os.environ, "ROWBANK_TARGETS": target, **variables}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_program_creates_trains_and_shrinks_a_table(target, tmp_path):
    """Adagrad from 0.1: gradients of 1 move by 0.1 / sqrt(1.1) = 0.0953, then by 0.1 / sqrt(2.1) = 0.0690."""
    (program,) = programs("README.md")
    assert len([line for line in program.splitlines() if line.strip()]) <= 15
    assert printed(program, target, tmp_path) == [
        "1000 rows; the first moved by 0.1644, the last by 0.0953",
        "evicted 900, 100 left, 100 of them the first 100",
    ]


@pytest.mark.parametrize("place", [0, 1, 2], ids=["keras", "tfra", "workers"])
def test_training_programs_fill_a_table(target, tmp_path, place):
    program = programs("docs/training.md")[place]
    assert printed(program, target, tmp_path, TF_USE_LEGACY_KERAS="1")[-1] == "64 rows"


def test_programs_on_remote_embeddings_run_as_one(target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = programs("docs/remote-embedding.md")
    assert len(blocks) == 4
    assert printed("\n".join(blocks), target, tmp_path, TF_USE_LEGACY_KERAS="1") == [
        "the loss falls {'page/movies': 30, 'page/users': 50}",
        "a loop of one's own",
        "2 batches, one push",
        "True",
    ]
