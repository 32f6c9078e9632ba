"""A run that is killed at any moment goes on from its last checkpoint, and ends as if it had never stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from tests.processes import until

from rowbank_trainer.cli import app
from rowbank_trainer.errors import TrainerError

PROGRAM = (sys.executable, "-c", "from rowbank_trainer.cli import main; main()")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def interactions(tmp_path_factory) -> Path:
    """120 users who like one of four groups of 40 items: 3600 interactions."""
    rng = np.random.default_rng(8)
    users = np.repeat(np.arange(120), 30)
    items = (users % 4) * 10 + rng.integers(0, 10, len(users))
    path = tmp_path_factory.mktemp("resume") / "events.parquet"
    times = 1_700_000_000 + rng.integers(0, 10 * 86_400, len(users))
    pyarrow.parquet.write_table(pyarrow.table({"user": users, "item": items, "time": times}), path)
    return path


def train(*arguments: object) -> None:
    """The program, in this process."""
    app([str(argument) for argument in arguments], standalone_mode=False)


def state(out: Path, label: str) -> dict:
    path = out / "checkpoint" / label / "state.json"
    return json.loads(path.read_text()) if path.exists() else {"epochs_done": 0}


def figures(out: Path) -> list:
    variants = json.loads((out / "metrics.json").read_text())["variants"]
    return [{name: value for name, value in variant.items() if name not in ("train_seconds", "tables")}
            for variant in variants]  # fmt: skip


def test_a_killed_run_ends_as_one_that_never_stopped(
    interactions: Path, tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (
        "two-tower", "--interactions", interactions, "--tables", "static,rowbank", "--targets", target, "--epochs", 8,
        "--batch-size", 256, "--dim", 8, "--log-every", 5, "--no-publish", "--model-name", "resumed",
    )  # fmt: skip
    out = tmp_path / "killed"
    victim = subprocess.Popen(
        [*PROGRAM, *map(str, common), "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        # The first variant is finished, the second is under way, at whatever step.
        until(lambda: state(out, "rowbank")["epochs_done"] >= 2, timeout_s=200, what="an epoch on Rowbank")
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
    assert state(out, "rowbank")["epochs_done"] < 8
    train(*common, "--out", out, "--resume")
    text = capsys.readouterr().out
    assert "static: goes on after epoch 8" in text
    assert "rowbank: goes on after epoch " in text
    train(*common, "--out", tmp_path / "whole")
    killed, whole = figures(out), figures(tmp_path / "whole")
    assert len(killed) == 2
    for resumed, uninterrupted in zip(killed, whole, strict=True):
        assert resumed == uninterrupted
    message = "is of a run with other settings or data; give the same options, or start anew without --resume"
    with pytest.raises(TrainerError, match=message):
        train(*common, "--out", out, "--resume", "--learning-rate", 0.5)


def test_seeds_schedule_and_early_stopping_go_on_together(
    interactions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (
        "two-tower", "--interactions", interactions, "--tables", "static", "--epochs", 8, "--batch-size", 256,
        "--dim", 8, "--seeds", "3,4", "--early-stopping", 3, "--learning-rate", 0.03,
        "--learning-rate-schedule", "cosine:0.2",
    )  # fmt: skip
    out = tmp_path / "killed"
    victim = subprocess.Popen(
        [*PROGRAM, *map(str, common), "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        until(lambda: state(out / "seed-4", "static")["epochs_done"] >= 1, timeout_s=200, what="an epoch of seed 4")
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
    train(*common, "--out", out, "--resume")
    text = capsys.readouterr().out
    assert text.count("static: goes on after epoch ") == 2  # Of the finished seed, too, which trains nothing.
    assert "± " in text
    train(*common, "--out", tmp_path / "whole")
    for name in ("seed-3", "seed-4"):
        assert figures(out / name) == figures(tmp_path / "whole" / name)
    killed, whole = (json.loads((folder / "metrics.json").read_text()) for folder in (out, tmp_path / "whole"))
    assert killed["variants"] == whole["variants"]
