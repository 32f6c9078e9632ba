"""SavedModels and meta graphs with tables: in the process that made them, in another, and where Rowbank is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("saved_graphs.py")
SAVED = "[[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [0.5, 0.5]]"
LIVE = "[[9.0, 9.0], [2.0, 2.0], [3.0, 3.0], [0.5, 0.5]]"
# TFRA's own tables give these numbers: Adagrad(0.1) from an accumulator of 0.1 with gradients of 2 and 4.
TRAINED = "[[0.9012, 0.9012], [1.9003, 1.9003], [3.0, 3.0], [0.5, 0.5]]"


def program(what: str, target: str, folder: Path, name: str, *, fails: bool = False) -> list[str]:
    """The lines that a program of `saved_graphs` prints, or its error output."""
    command = [sys.executable, str(PROGRAM), what, target, str(folder), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    if fails:
        return [done.stderr]
    return [line.removeprefix("= ") for line in done.stdout.splitlines() if line.startswith("= ")]


def test_a_saved_model_reads_the_live_rows(target, table_name, tmp_path):
    """Loading replaces nothing; the rows that were saved come back when somebody restores them."""
    assert program("save-model", target, tmp_path, table_name) == [
        f"live {LIVE}", f"loaded {LIVE}", f"looked {LIVE}", "size 4", f"restored {SAVED}",
    ]  # fmt: skip
    assert program("load-model", target, tmp_path, table_name) == [
        f"loaded {SAVED}", f"looked {SAVED}", "size 3", "refused True", f"loaded {SAVED}",
    ]  # fmt: skip
    (error,) = program("bare-load-model", target, tmp_path, table_name, fails=True)
    assert "import rowbank.tfra before this graph runs" in error


def test_a_keras_model_with_a_signature(target, table_name, tmp_path):
    zeros = "difference [[0.0], [0.0], [0.0], [0.0]]"
    assert program("save-keras", target, tmp_path, table_name) == [zeros]
    assert program("load-keras", target, tmp_path, table_name) == [zeros]


def test_a_meta_graph(target, table_name, tmp_path):
    """Importing reads the live rows, restoring brings the saved ones back, and both go on training."""
    first = program("save-graph", target, tmp_path, table_name)
    expected = [f"restored {SAVED}", f"trained {TRAINED}", "counts [0, 1, 1]", "size 3"]
    assert first == [f"imported {TRAINED}", *expected]
    assert program("load-graph", target, tmp_path, table_name) == [f"imported {TRAINED}", *expected]
