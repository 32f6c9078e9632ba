"""Ending when a validation part gets no better, and training from several seeds."""

from __future__ import annotations

import dataclasses
import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import rowbank
from rowbank_trainer.data import Dataset
from rowbank_trainer.errors import UsageError
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant, parse_seeds
from rowbank_trainer.two_tower.job import Job, run
from rowbank_trainer.two_tower.problem import prepare
from rowbank_trainer.two_tower.publication import Publication
from rowbank_trainer.two_tower.seeds import run_seeds, together
from rowbank_trainer.two_tower.stopping import best_epoch, has_stopped

pytestmark = pytest.mark.timeout(600)


def job(config: TwoTowerConfig, out: Path, variant: Variant = Variant.STATIC, **options: Any) -> Job:
    settings: dict[str, Any] = {"targets": None, "publication": Publication(), "model_name": "stopping"} | options
    return Job(config, (variant,), False, out=out, arguments={}, **settings)


def done(made: Job, dataset: Dataset) -> tuple[dict, str]:
    text = StringIO()
    run(made, dataset, Console(file=text, width=140))
    return json.loads((made.out / "metrics.json").read_text()), text.getvalue()


@pytest.mark.parametrize(
    ("recalls", "best", "stopped"),
    [([], 0, False), ([0.1], 1, False), ([0.1, 0.3, 0.2], 2, False), ([0.1, 0.3, 0.2, 0.3], 2, True),
     ([0.3, 0.2, 0.1], 1, True), ([0.3, 0.2, 0.4], 3, False)],
)  # fmt: skip
def test_two_epochs_that_are_no_better_are_enough(recalls: list[float], best: int, stopped: bool) -> None:
    assert best_epoch(recalls) == best
    assert has_stopped(recalls, 2) is stopped
    assert not has_stopped(recalls, 0)


def test_the_validation_part_is_neither_learned_nor_reported(small: Dataset, quick: TwoTowerConfig) -> None:
    plain, stopping = prepare(small, quick), prepare(small, dataclasses.replace(quick, early_stopping=2))
    assert plain.validation is None
    assert stopping.validation is not None
    assert len(stopping.validation) == int(0.15 * len(plain.train))
    np.testing.assert_array_equal(stopping.held_out.item_ids, plain.held_out.item_ids)

    def pairs(*parts: Any) -> list[tuple[int, int]]:
        return sorted(
            pair for part in parts for pair in zip(part.user_ids.tolist(), part.item_ids.tolist(), strict=True)
        )

    assert pairs(stopping.train, stopping.validation) == pairs(plain.train)


@pytest.mark.parametrize("variant", [Variant.STATIC, Variant.ROWBANK])
def test_the_model_is_that_of_the_best_epoch(
    small: Dataset, quick: TwoTowerConfig, tmp_path: Path, target: str, variant: Variant
) -> None:
    """A training that was cut off after the best epoch gives the same model, on the server, too."""
    steep = dataclasses.replace(quick, epochs=12, learning_rate=0.1, early_stopping=2)
    remote = {"targets": target} if variant.remote else {}
    metrics, text = done(job(steep, tmp_path / "long", variant, model_name="long", **remote), small)
    (found,) = metrics["variants"]
    recalls = found["stopping_recalls"]
    best = int(np.argmax(recalls)) + 1
    assert len(recalls) == best + 2 < 12
    assert f"was best after epoch {best} of {best + 2}" in text
    assert len(found["epochs"]) == best
    with rowbank.Client(target) as client:
        rows = client.table("long/1.user").size() if variant.remote else None
    cut = dataclasses.replace(steep, epochs=best)
    # The name is part of what initial rows are drawn from.
    again, _ = done(job(cut, tmp_path / "short", variant, model_name="long", **remote), small)
    assert again["variants"][0]["accuracy"] == found["accuracy"]
    assert again["variants"][0]["stopping_recalls"] == recalls[:best]
    if rows is not None:
        with rowbank.Client(target) as client:
            keys = np.unique(prepare(small, steep).train.user_ids)
            np.testing.assert_array_equal(
                client.table("long/1.user").pull(keys), client.table("long/2.user").pull(keys)
            )


def test_a_stopped_training_stays_stopped(small: Dataset, quick: TwoTowerConfig, tmp_path: Path) -> None:
    steep = dataclasses.replace(quick, epochs=12, learning_rate=0.1, early_stopping=2)
    first, _ = done(job(steep, tmp_path), small)
    again, _ = done(job(steep, tmp_path, resume=True), small)
    assert again["variants"][0]["accuracy"] == first["variants"][0]["accuracy"]
    assert again["variants"][0]["stopping_recalls"] == first["variants"][0]["stopping_recalls"]


def test_rows_that_cannot_be_put_back_are_refused(quick: TwoTowerConfig, tmp_path: Path) -> None:
    stopping = dataclasses.replace(quick, early_stopping=1)
    with pytest.raises(UsageError, match="leave tfra-local out of --tables, or leave out --early-stopping"):
        job(stopping, tmp_path, Variant.TFRA_LOCAL)
    with pytest.raises(UsageError, match="--early-stopping must be at least 0, got -1"):
        dataclasses.replace(quick, early_stopping=-1)


def test_seeds_are_told_together(small: Dataset, quick: TwoTowerConfig, tmp_path: Path) -> None:
    short = dataclasses.replace(quick, epochs=1)
    text = StringIO()
    run_seeds(job(short, tmp_path / "all"), (4, 2), small, Console(file=text, width=140))
    metrics = json.loads((tmp_path / "all" / "metrics.json").read_text())
    alone = {
        seed: done(job(dataclasses.replace(short, seed=seed), tmp_path / str(seed)), small)[0]["variants"][0]
        for seed in (2, 4)
    }
    assert metrics["seeds"] == [4, 2]
    (variant,) = metrics["variants"]
    values = [alone[seed]["accuracy"]["recall"]["top_20"] for seed in (2, 4)]
    assert variant["accuracy"]["2"]["recall"]["top_20"] == values[0]
    assert variant["mean"]["recall"]["top_20"] == pytest.approx(np.mean(values))
    assert variant["standard_deviation"]["recall"]["top_20"] == pytest.approx(np.std(values, ddof=1))
    rare = [alone[seed]["segments"]["rare_items"]["recall"]["top_20"] for seed in (2, 4)]
    assert variant["segments"]["mean"]["rare_items"]["recall"]["top_20"] == pytest.approx(np.mean(rare))
    assert "Mean and standard deviation of 2 seeds" in text.getvalue()
    assert f"{np.mean(rare):.4f} ± {np.std(rare, ddof=1):.4f}" in text.getvalue()


def test_mean_and_deviation_by_hand() -> None:
    reports = {
        seed: {
            "variants": [
                {
                    "label": "static",
                    "accuracy": {"recall": {"top_20": rate}},
                    # Only the first seed has users without an interaction.
                    "segments": {"users": {"0": {"users": 4, "recall": {"top_20": rate} if seed == 1 else {}}}},
                }
            ]
        }
        for seed, rate in ((1, 0.1), (2, 0.2), (3, 0.6))
    }
    (variant,) = together(reports)
    assert variant["mean"] == {"recall": {"top_20": pytest.approx(0.3)}}
    assert variant["standard_deviation"] == {"recall": {"top_20": pytest.approx(0.07**0.5)}}
    assert variant["segments"]["mean"] == {"users": {"0": {"users": 4, "recall": {"top_20": 0.1}}}}
    assert variant["segments"]["standard_deviation"] == {"users": {"0": {"users": 0.0, "recall": {"top_20": 0.0}}}}


@pytest.mark.parametrize("text", ["", "1,1", "1,x", "-1,2"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--seeds: expected different whole numbers from 0 such as 1,2,3, got"):
        parse_seeds(text)
