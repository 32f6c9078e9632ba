"""Searching over a grid: what is tried, what is found, what is kept, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tests.processes import until

import rowbank
from rowbank_trainer.data import Dataset
from rowbank_trainer.errors import TrainerError, UsageError
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.grid import Axis, Trial, parse_axes, trials_of
from rowbank_trainer.two_tower.job import Job, run
from rowbank_trainer.two_tower.publication import Publication
from rowbank_trainer.two_tower.trials import run_trials

pytestmark = pytest.mark.timeout(600)
KNOWN = ("learning-rate", "epochs", "dim")
PROGRAM = (sys.executable, "-c", "from rowbank_trainer.cli import main; main()")


def search(
    config: TwoTowerConfig,
    values: dict[str, list[Any]],
    out: Path,
    dataset: Dataset,
    seeds: tuple[int, ...] = (1,),
    variant: Variant = Variant.STATIC,
    **options: Any,
) -> tuple[dict[str, Any], str]:
    """Tries values of settings; what `trials.json` and the terminal say."""
    axes = [Axis(name, tuple(map(str, found))) for name, found in values.items()]
    given = {(name, str(value)): value for name, found in values.items() for value in found}
    judged = dataclasses.replace(config, evaluate_on="validation")

    def config_of(chosen: Any) -> TwoTowerConfig:
        return dataclasses.replace(judged, **{name: given[name, text] for name, text in chosen.items()})

    job = Job(
        judged, (variant,), False, publication=Publication(), out=out, arguments={},
        **{"targets": None, "model_name": "trials", **options},
    )  # fmt: skip
    text = StringIO()
    run_trials(
        job,
        list(trials_of(axes, config_of)),
        seeds,
        dataset,
        Console(file=text, width=140),
        lambda best: f"best {best}",
    )
    return json.loads((out / "trials.json").read_text()), text.getvalue()


def test_every_combination_is_tried() -> None:
    axes = parse_axes(["learning-rate=0.1, 0.2", "--epochs=3"], KNOWN)
    assert axes == (Axis("learning-rate", ("0.1", "0.2")), Axis("epochs", ("3",)))
    config = TwoTowerConfig()
    found = list(trials_of(axes, lambda options: dataclasses.replace(config, epochs=int(options["epochs"]))))
    assert [trial.options for trial in found] == [
        {"learning-rate": "0.1", "epochs": "3"}, {"learning-rate": "0.2", "epochs": "3"}
    ]  # fmt: skip
    assert found[0] == Trial(found[0].options, dataclasses.replace(config, epochs=3))
    assert found[0].title == "learning-rate 0.1, epochs 3"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["learning-rate"], r"--try: expected an option and values, such as .*, got 'learning-rate'"),
        (
            ["learningrate=1"],
            r"'learningrate' is no option that can be tried; did you mean learning-rate\?; expected one",
        ),
        (["epochs="], "--try epochs=: expected values with commas between them, got ''"),
        (["epochs=1,,2"], "expected values with commas between them, got '1,,2'"),
        (["epochs=1,2,1"], "--try epochs=1,2,1: 1 is listed twice"),
        (["epochs=1", "epochs=2"], "--try: epochs is given twice; list all of its values in one --try"),
    ],
)
def test_other_grids_are_refused(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_axes(texts, KNOWN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--try", "epochs=1,many"], "error: --try epochs: expected a whole number, got 'many'"),
        (["--try", "vector-dim=8,wide"], "error: --try vector-dim: expected a whole number, got 'wide'"),
        (["--try", "temperature=nan"], "error: --try temperature: expected a finite number, got 'nan'"),
        (["--try", "output-layer=maybe"], "error: --try output-layer: expected yes or no, got 'maybe'"),
        (["--try", "hidden=128x"], "error: --try: hidden=128x: --hidden: expected widths such as"),
        (["--try", "loss=softmax,huge"], "error: --try: loss=huge: --loss: expected softmax"),
        (["--try", "epochs=0"], "error: --try: epochs=0: --epochs must be at least 1, got 0"),
        (["--try", "seed=1,2"], "error: --try seed=1,2: 'seed' is no option that can be tried"),
        (["--try", "epochs=1,2", "--epochs", "3"], "error: --epochs and --try epochs both say it; leave one of"),
        (["--try", "epochs=1,2", "--activate"], "error: --try trains many models to compare them; leave out"),
        (["--try", "epochs=1", "--continue", "latest", "--run", "a"], "error: --try trains many models to compare them"
         "; leave out --run and --continue, and give them to the command that it prints"),
        (["--try", "epochs=1", "--evaluate-on", "test"], "error: --try chooses settings, so it judges on"),
    ],
)  # fmt: skip
def test_what_cannot_be_tried_is_refused_in_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "two-tower", "--download", "none", "--out", str(tmp_path / "out"), *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_figures_are_those_of_training_alone_best_first(small: Dataset, quick: TwoTowerConfig, tmp_path: Path) -> None:
    short = dataclasses.replace(quick, epochs=2)
    rates, seeds = [0.0001, 0.01], (3, 4)
    found, text = search(short, {"learning_rate": rates}, tmp_path / "grid", small, seeds)
    alone: dict[float, list[float]] = {}
    for rate in rates:
        for seed in seeds:
            config = dataclasses.replace(short, learning_rate=rate, seed=seed, evaluate_on="validation")
            out = tmp_path / f"{rate}-{seed}"
            job = Job(config, (Variant.STATIC,), False, None, Publication(), out, "trials", {})
            run(job, small, Console(file=StringIO()))
            figures = json.loads((out / "metrics.json").read_text())["variants"][0]["accuracy"]
            alone.setdefault(rate, []).append(figures["recall"]["top_20"])
    best = sorted(rates, key=lambda rate: -np.mean(alone[rate]))
    assert [trial["options"]["learning_rate"] for trial in found["trials"]] == [str(rate) for rate in best]
    for trial, rate in zip(found["trials"], best, strict=True):
        assert trial["mean"]["recall@20"] == pytest.approx(np.mean(alone[rate]))
        assert trial["standard_deviation"]["recall@20"] == pytest.approx(np.std(alone[rate], ddof=1))
        assert [entry["seed"] for entry in trial["seeds"]] == [3, 4]
    with (tmp_path / "grid" / "trials.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["learning_rate"] for row in rows] == [str(rate) for rate in best]
    assert float(rows[0]["recall@20"]) == pytest.approx(np.mean(alone[best[0]]))
    assert f"To train with the best: best {{'learning_rate': '{best[0]}'}}" in text
    assert f"{np.mean(alone[best[0]]):.4f} ± {np.std(alone[best[0]], ddof=1):.4f}" in text


def test_finished_trials_are_kept_and_a_changed_grid_is_noticed(
    small: Dataset, quick: TwoTowerConfig, tmp_path: Path
) -> None:
    short = dataclasses.replace(quick, epochs=1)
    search(short, {"dim": [4, 8], "vector_dim": [16]}, tmp_path, small)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("trial-*/metrics.json")}
    with pytest.raises(TrainerError, match=r"has 2 finished trials; go on with --resume, which keeps those"):
        search(short, {"dim": [4, 8], "vector_dim": [16]}, tmp_path, small)
    found, text = search(short, {"dim": [8, 12], "vector_dim": [16]}, tmp_path, small, resume=True)
    assert "2 trials, judged on the validation part; 1 are finished" in text
    assert "NOTICE: the grid has changed: 1 finished trials are not in it" in text
    assert {trial["options"]["dim"] for trial in found["trials"]} == {"8", "12"}
    assert len(found["finished"]) == 3
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())  # None was trained again.


def test_other_data_and_other_settings_are_noticed(small: Dataset, quick: TwoTowerConfig, tmp_path: Path) -> None:
    short = dataclasses.replace(quick, epochs=1)
    search(short, {"temperature": [0.1]}, tmp_path, small)
    fewer = dataclasses.replace(small, interactions=small.interactions.take(np.arange(len(small.interactions) - 1)))
    with pytest.raises(
        TrainerError, match=r"--resume: .*trials.json is of other data; give the same again, or another"
    ):
        search(short, {"temperature": [0.1]}, tmp_path, fewer, resume=True)
    slower = dataclasses.replace(short, learning_rate=0.002)
    with pytest.raises(TrainerError, match=r"other settings: --learning-rate was 0\.01 and is 0\.002; give the same"):
        search(slower, {"temperature": [0.1]}, tmp_path, small, resume=True)
    falling = dataclasses.replace(short, schedule="cosine")
    with pytest.raises(TrainerError, match=r"other settings: --learning-rate-schedule was constant and is cosine; "):
        search(falling, {"temperature": [0.1]}, tmp_path, small, resume=True)


def test_a_trial_that_fails_is_named(small: Dataset, quick: TwoTowerConfig, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"--try: batch_size 99999: synthetic: .*give a smaller --batch-size"):
        search(quick, {"batch_size": [99999]}, tmp_path, small)


def test_a_search_leaves_no_tables_on_the_server(
    small: Dataset, quick: TwoTowerConfig, tmp_path: Path, target: str
) -> None:
    short = dataclasses.replace(quick, epochs=1)
    found, _ = search(
        short,
        {"temperature": [0.1, 0.3]},
        tmp_path,
        small,
        variant=Variant.ROWBANK,
        targets=target,
        model_name="leaves",
    )
    assert len(found["trials"]) == 2
    with rowbank.Client(target) as client:
        assert not [info.spec.name for info in client.list_tables() if info.spec.name.startswith("leaves/")]
    assert not list(tmp_path.glob("trial-*/checkpoint"))


def test_a_killed_search_goes_on_where_it_was(tmp_path: Path) -> None:
    """Also checks what a user sees: the printed command is the one typed, with the best values in it."""
    out = tmp_path / "out"
    command = [
        *PROGRAM, "two-tower", "--download", "none", "--tables", "static", "--epochs", "1", "--no-output-layer",
        "--try", "hidden=none,16x8", "--try", "learning-rate=0.003,0.01", "--out", str(out),
    ]  # fmt: skip

    def finished() -> int:
        path = out / "trials.json"
        return len(json.loads(path.read_text())["finished"]) if path.exists() else 0

    with (tmp_path / "first.txt").open("w") as log:
        started = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
        until(lambda: finished() > 0 or started.poll() is not None, timeout_s=300)
        started.send_signal(signal.SIGKILL)
        started.wait()
    kept = finished()
    assert 0 < kept <= 4
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"4 trials, judged on the validation part; {kept} are finished" in done.stdout
    trials = json.loads((out / "trials.json").read_text())["trials"]
    assert len(trials) == 4
    best = trials[0]["options"]
    hidden = best["hidden"].replace("x", ",")
    assert (
        f"To train with the best: rowbank-train two-tower --download none --tables static --epochs 1 --no-output-layer "
        f"--hidden {hidden} --learning-rate {best['learning-rate']} --out {out}/best"
    ) in done.stdout
