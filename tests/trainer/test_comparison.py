"""What the comparing jobs share: lists on the command line, trials kept on disk, averages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from rowbank_trainer.cli import app
from rowbank_trainer.comparison.report import Average, grouped
from rowbank_trainer.comparison.trials import Finished, TableKind, Trial, parse_list, parse_seeds, trials
from rowbank_trainer.errors import TrainerError
from rowbank_trainer.rating.config import Model

SETTINGS = {"epochs": 3, "dims": (8, 4)}
FIRST, SECOND = Trial("static", "baseline", 1), Trial("static", "compact", 1)
ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-c", "from rowbank_trainer.cli import main; main()")


def test_trials_of_a_seed_follow_each_other():
    found = list(trials([TableKind.STATIC], [Model.BASELINE, Model.COMPACT], [1, 2]))
    assert found == [FIRST, SECOND, Trial("static", "baseline", 2), Trial("static", "compact", 2)]
    assert str(SECOND) == "compact on static, seed 1"


def test_lists():
    assert parse_list("--tables", "rowbank, static", TableKind) == (TableKind.ROWBANK, TableKind.STATIC)
    assert parse_seeds("3, 1") == (3, 1)
    with pytest.raises(TrainerError, match="--tables: unknown name 'tfra'; expected a comma list of static, rowbank"):
        parse_list("--tables", "tfra", TableKind)
    with pytest.raises(TrainerError, match="--tables: 'static' is listed twice"):
        parse_list("--tables", "static,static", TableKind)
    for wrong in ("", "1,", "1,1", "-1", "a"):
        with pytest.raises(TrainerError, match="--seeds: expected distinct whole numbers"):
            parse_seeds(wrong)


def test_finished_trials_are_kept(tmp_path: Path):
    Finished(tmp_path, SETTINGS, resume=False).add(FIRST, {"mae": 0.5})
    again = Finished(tmp_path, SETTINGS, resume=True)
    assert again[FIRST] == {"mae": 0.5}
    assert SECOND not in again
    again.add(SECOND, {"mae": 0.6})
    assert Finished(tmp_path, SETTINGS, resume=True)[SECOND] == {"mae": 0.6}
    assert FIRST not in Finished(tmp_path, SETTINGS, resume=False)
    assert FIRST not in Finished(tmp_path / "..", SETTINGS, resume=True), "nothing to go on with"


def test_a_state_that_does_not_fit_is_refused(tmp_path: Path):
    Finished(tmp_path, SETTINGS, resume=False).add(FIRST, {"mae": 0.5})
    with pytest.raises(TrainerError, match=r"made with other settings \(epochs was 3, is 4\)"):
        Finished(tmp_path, {**SETTINGS, "epochs": 4}, resume=True)
    with pytest.raises(TrainerError, match=r"other settings .*of another version"):
        Finished(tmp_path, {"epochs": 3}, resume=True)
    (tmp_path / "state.json").write_text('{"settings": {}, "trials": [{}]}')
    with pytest.raises(TrainerError, match=r"state\.json: expected the state of a job"):
        Finished(tmp_path, SETTINGS, resume=True)
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(TrainerError, match=r"state\.json: expected the state of a job"):
        Finished(tmp_path, SETTINGS, resume=True)


def test_averages_by_hand():
    results = {FIRST: {"mae": 1.0}, SECOND: {"mae": 5.0}, Trial("static", "baseline", 2): {"mae": 3.0}}
    groups = grouped(results)
    assert [(group.model, len(group.results)) for group in groups] == [("baseline", 2), ("compact", 1)]
    assert groups[0].average("mae") == Average(2.0, 1.0)
    assert str(groups[0].average("mae")) == "2.0000 ± 1.0000"
    assert groups[0].label == "baseline (static)"


@pytest.mark.parametrize("command", ["rating", "unified"])
def test_every_option_is_documented(command):
    page = (ROOT / "docs" / f"{command}.md").read_text()
    program: Any = typer.main.get_command(app)
    options = [name for parameter in program.commands[command].params for name in parameter.opts]
    assert not [name for name in options if f"`{name}`" not in page and f"{name} " not in page]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rating", "--block-dims", "8,x"], "error: --block-dims: expected numbers with commas, got '8,x'"),
        (["rating", "--block-dims", "8"], "error: --block-dims: expected 3 widths of at least 1"),
        (["rating", "--block-shares", "0.9,0.2"], "error: --block-shares must be above 0 and less than 1 together"),
        (["rating", "--models", "hash"], "error: --models: unknown name 'hash'; expected a comma list of baseline,"),
        (["unified", "--dim", "15"], "error: --dim: expected a multiple of the 2 unified tables, got 15"),
        (["unified", "--epochs", "0"], "error: --epochs must be at least 1, got 0"),
        (["unified", "--data", "/nowhere"], "error: /nowhere: expected a folder with u.data and u.item"),
    ],
)
def test_wrong_input_is_one_line(arguments: list[str], message: str):
    """Wrong usage has exit code 2, data that is not there 1."""
    done = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == (1 if "--data" in arguments else 2)
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
