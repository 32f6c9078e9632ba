"""Logs of a training, read back: lines of JSON, and TensorBoard's event files by TensorFlow's own reader."""

from __future__ import annotations

import dataclasses
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from rich.console import Console

from rowbank_trainer.data import Dataset
from rowbank_trainer.errors import TrainerError
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.job import Job, run
from rowbank_trainer.two_tower.publication import Publication
from rowbank_trainer.two_tower.seeds import run_seeds

pytestmark = pytest.mark.timeout(600)


def job(config: TwoTowerConfig, out: Path, logs: Path, variant: Variant = Variant.STATIC, **options: Any) -> Job:
    settings: dict[str, Any] = {"targets": None, "publication": Publication(), "model_name": "logged"} | options
    return Job(config, (variant,), False, out=out, arguments={}, log_dir=logs, **settings)


def done(made: Job, dataset: Dataset) -> dict[str, Any]:
    run(made, dataset, Console(file=StringIO()))
    (variant,) = json.loads((made.out / "metrics.json").read_text())["variants"]
    return variant


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def events(folder: Path) -> list[tuple[int, str, float]]:
    """Step, tag and value of every scalar in a folder's event files."""
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.append((event.step, value.tag, float(tf.make_ndarray(value.tensor))))
    return found


def test_every_epoch_is_a_line_and_events(small: Dataset, quick: TwoTowerConfig, tmp_path: Path, target: str) -> None:
    config = dataclasses.replace(quick, epochs=3, schedule="cosine:0.2")
    variant = done(job(config, tmp_path / "out", tmp_path / "logs", Variant.ROWBANK, targets=target), small)
    logged = lines(tmp_path / "logs")
    assert [line["epoch"] for line in logged] == [1, 2, 3]
    assert [line["tables"] for line in logged] == ["rowbank"] * 3
    assert [line["loss"] for line in logged] == [epoch["loss"] for epoch in variant["epochs"]]
    assert [line["recall"] for line in logged] == [epoch["accuracy"]["recall"] for epoch in variant["epochs"]]
    assert logged[2]["coverage"] == variant["segments"]["coverage"]
    assert logged[2]["recall_rare_items"] == variant["segments"]["rare_items"]["recall"]
    assert logged[2]["rows"] == variant["rows"]
    assert logged[2]["step"] == variant["steps"]
    # Factors 1, 0.2 + 0.8 * 0.75 and 0.2 + 0.8 * 0.25: the cosines of 0, 60 and 120 degrees.
    assert [line["learning_rate"] for line in logged] == pytest.approx([0.01, 0.008, 0.004])
    assert sum(line["seconds"] for line in logged) == pytest.approx(variant["train_seconds"])
    trained = variant["steps"] // 3 * 256
    assert logged[0]["interactions_per_s"] * logged[0]["seconds"] == pytest.approx(trained)
    scalars = {(step, tag): value for step, tag, value in events(tmp_path / "logs" / "rowbank")}
    for line in logged:
        step = line["epoch"]
        assert scalars[step, "loss"] == pytest.approx(line["loss"])
        assert scalars[step, "recall/top_20"] == pytest.approx(line["recall"]["top_20"])
        assert scalars[step, "rows/user"] == line["rows"]["user"]
        assert scalars[step, "learning_rate"] == pytest.approx(line["learning_rate"])
        assert scalars[step, "novelty/top_10"] == pytest.approx(line["novelty"]["top_10"])


def test_a_training_that_is_gone_on_with_logs_each_epoch_once(
    small: Dataset, quick: TwoTowerConfig, tmp_path: Path
) -> None:
    short, logs = dataclasses.replace(quick, epochs=2), tmp_path / "logs"
    done(job(short, tmp_path / "out", logs), small)
    before = lines(logs)
    # As if it had been killed after the third epoch's line, before its checkpoint, in the middle of another.
    with (logs / "log.jsonl").open("a") as stream:
        stream.write(json.dumps({**before[1], "epoch": 3}) + "\n" + '{"tables": "sta')
    done(job(dataclasses.replace(quick, epochs=3), tmp_path / "out", logs, resume=True), small)
    after = lines(logs)
    assert after[:2] == before
    assert [line["epoch"] for line in after] == [1, 2, 3]
    assert after[2]["loss"] != before[1]["loss"]
    assert [step for step, tag, _ in events(logs / "static") if tag == "loss"] == [1, 2, 3]
    # Without --resume all begins anew.
    done(job(dataclasses.replace(quick, epochs=1), tmp_path / "out", logs), small)
    assert [line["epoch"] for line in lines(logs)] == [1]
    assert [step for step, tag, _ in events(logs / "static") if tag == "loss"] == [1]


def test_what_stops_a_training_is_logged_too(small: Dataset, quick: TwoTowerConfig, tmp_path: Path) -> None:
    steep = dataclasses.replace(quick, epochs=12, learning_rate=0.1, early_stopping=2)
    variant = done(job(steep, tmp_path / "out", tmp_path / "logs"), small)
    assert [line["stopping_recall"] for line in lines(tmp_path / "logs")] == variant["stopping_recalls"]


def test_each_seed_has_a_log_of_its_own(small: Dataset, quick: TwoTowerConfig, tmp_path: Path) -> None:
    one = dataclasses.replace(quick, epochs=1)
    run_seeds(job(one, tmp_path / "out", tmp_path / "logs"), (1, 2), small, Console(file=StringIO()))
    assert len(lines(tmp_path / "logs" / "seed-1")) == len(lines(tmp_path / "logs" / "seed-2")) == 1


def test_a_folder_that_cannot_be_written_is_refused_before_training(
    small: Dataset, quick: TwoTowerConfig, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainerError, match=r"^--log-dir \S*file/logs: cannot be written: Not a directory$"):
        done(job(quick, tmp_path / "out", tmp_path / "file" / "logs"), small)
