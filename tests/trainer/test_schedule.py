"""The learning rate over the epochs, by hand; and that the server's tables follow it."""

from __future__ import annotations

import dataclasses
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import rowbank
from rowbank_trainer.data import Dataset
from rowbank_trainer.errors import UsageError
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.job import Job, run
from rowbank_trainer.two_tower.publication import Publication
from rowbank_trainer.two_tower.schedule import Schedule


def test_a_cosine_falls_from_one_to_its_floor() -> None:
    schedule = Schedule.parse("cosine:0.2")
    found = [schedule.factor(done) for done in (0.0, 1 / 3, 0.5, 2 / 3, 1.0, 1.5)]
    assert found == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.2])  # cos 60, 90, 120 and 180 degrees.
    assert Schedule.parse("cosine") == Schedule(0.05)
    assert Schedule.parse("constant").factor(0.7) == 1.0


@pytest.mark.parametrize("text", ["", "linear", "cosine:", "cosine:0", "cosine:1.5", "cosine:nan", "constant:1"])
def test_other_schedules_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--learning-rate-schedule: expected constant, cosine or cosine:FLOOR"):
        TwoTowerConfig(schedule=text)


@pytest.mark.timeout(600)
def test_tables_on_the_server_get_the_rate(small: Dataset, quick: TwoTowerConfig, tmp_path: Path, target: str) -> None:
    config = dataclasses.replace(quick, epochs=2, schedule="cosine:0.2")
    job = Job(config, (Variant.ROWBANK,), False, target, Publication(), tmp_path, "schedule", {})
    run(job, small, Console(file=StringIO()))
    with rowbank.Client(target) as client:
        for table in ("user", "title"):
            optimizer = client.table(f"schedule/1.{table}").spec.optimizer
            assert isinstance(optimizer, rowbank.Adam)
            assert optimizer.learning_rate == pytest.approx(0.01 * 0.6)  # Half of the training was over.
