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


def at(target: str, program: str) -> str:
    """The program with the shared server in the place of one that runs where servers run if nothing else is said."""
    return program.replace("127.0.0.1:7700", target)


@pytest.mark.parametrize(
    ("page", "lines"),
    [
        ("docs/retrieval.md", []),
        ("docs/models.md", [r"2 0 0 0", r"ViewNames\(item_view='shop_20260131T120000Z_1a2b_items', .*\)"]),
        ("docs/snapshots.md", [r"3 3", r"\d{8}T\d{6}Z-\w{4} \d+ \[\(0, \d+\)\]"]),
    ],
)
def test_programs_on_catalogues_and_files_run_as_one(start_ps, tmp_path, monkeypatch, page, lines):
    monkeypatch.chdir(tmp_path)
    target = start_ps().target
    told = printed("\n".join(at(target, block) for block in programs(page)), target, tmp_path)
    assert len(told) == len(lines)
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(lines, told, strict=True)), told


def test_programs_on_layers_run_as_one(target, tmp_path):
    """Of the table of items only those blocks have rows that were trained."""
    blocks = [block for page in ("keras", "rating", "unified") for block in programs(f"docs/{page}.md")]
    told = printed(at(target, "\n".join(blocks)), target, tmp_path, TF_USE_LEGACY_KERAS="1")
    assert re.fullmatch(r"512 users in 513 rows; \[\d+, \d+, \d+\] rows of items", told[-2])
    assert told[-1] == "(3, 16) (3, 32)"


def test_program_with_tfra_builds_its_model(target, tmp_path):
    (program,) = programs("docs/tfra.md")
    program = at(target, program) + "print(users.params.name, creator is not None)\n"
    assert printed(program, target, tmp_path)[-1] == "user-parameter True"


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
