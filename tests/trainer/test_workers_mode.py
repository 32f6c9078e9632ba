"""Several processes train one model at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rowbank_trainer.errors import TrainerError
from rowbank_trainer.two_tower.batches import epoch_order
from rowbank_trainer.two_tower.parallel import WorkerPart, without_option

PROGRAM = (sys.executable, "-c", "from rowbank_trainer.cli import main; main()")


@pytest.mark.timeout(600)
def test_two_workers_train_one_model_within_the_bound(tmp_path: Path, target: str) -> None:
    rng = np.random.default_rng(8)
    users = np.repeat(np.arange(150), 24)
    items = (users % 5) * 20 + rng.integers(0, 20, len(users))
    text = "user,item\n" + "\n".join(f"{user},{item}" for user, item in zip(users, items, strict=True))
    (tmp_path / "events.csv").write_text(text)
    arguments = (
        "two-tower", "--interactions", tmp_path / "events.csv", "--targets", target, "--workers", 2, "--epochs", 6,
        "--max-staleness-steps", 2, "--batch-size", 128, "--dim", 8, "--learning-rate", 0.03, "--model-name", "both",
        "--no-publish", "--out", tmp_path,
    )  # fmt: skip
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    log = tmp_path / "worker-1.log"
    assert done.returncode == 0, done.stdout + done.stderr + (log.read_text() if log.exists() else "")
    assert "steps, at most" in done.stdout
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    steps = 6 * (metrics["dataset"]["train"] // 2 // 128)
    assert [worker["advances"] for worker in metrics["workers"]] == [steps, steps]
    for worker in metrics["workers"]:
        assert worker["max_steps"] <= worker["max_staleness_steps"] == 2
        assert worker["rejoins"] == 0
    (variant,) = metrics["variants"]
    assert variant["rows"] == metrics["dataset"]["vocabulary"]
    assert variant["accuracy"]["recall"]["top_20"] > 2 * metrics["baseline"]["recall"]["top_20"]


def test_parts_of_an_epoch_are_disjoint_and_equal() -> None:
    parts = [epoch_order(103, seed=1, epoch=4, worker=worker, workers=4) for worker in range(4)]
    assert {len(part) for part in parts} == {25}
    assert len(np.unique(np.concatenate(parts))) == 100
    assert not np.array_equal(parts[0], epoch_order(103, seed=1, epoch=5, worker=0, workers=4))


@pytest.mark.parametrize(
    ("text", "group", "message"),
    [
        ("4/4", "run", "--worker: expected I/N with I from 0 to N - 1, such as 0/4, got '4/4'"),
        ("one", "run", "got 'one'"),
        ("0/4", None, "--worker: name the run with --group"),
    ],
)
def test_wrong_parts_are_refused(text: str, group: str | None, message: str) -> None:
    with pytest.raises(TrainerError) as caught:
        WorkerPart.parse(text, group, 1)
    assert message in str(caught.value)


def test_an_option_is_taken_out_of_a_command() -> None:
    arguments = ["two-tower", "--workers", "3", "--seed", "1", "--workers=2", "--workers-x"]
    assert without_option(arguments, "--workers") == ["two-tower", "--seed", "1", "--workers-x"]
