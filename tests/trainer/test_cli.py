"""The command line: quick help, clear errors, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from rowbank_trainer.cli import app

PROGRAM = (sys.executable, "-c", "from rowbank_trainer.cli import main; main()")


def rowbank_train(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_help_imports_no_tensorflow() -> None:
    script = (
        "import sys; sys.argv = ['rowbank-train', 'two-tower', '--help']\n"
        "from rowbank_trainer.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'tf_keras', 'matplotlib', 'onnx'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--tables" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "/nowhere"], "error: /nowhere: expected a folder with u.data and u.item"),
        (["--tables", "dynamic"], "error: --tables: unknown kind 'dynamic'; expected a comma list of static,"),
        (["--epochs", "0"], "error: --epochs must be at least 1, got 0"),
        (["--tables", "static", "--restrict"], "error: --restrict: static tables cannot shrink"),
        (["--train", "a.csv", "--test", "b.csv", "--split", "time:0.2"], "error: --split and --train contradict each"),
        (["--id-type", "text"], "error: --id-type says how to read your own files; name them with --interactions"),
        (["--interactions", "a.csv", "--id-type", "words"], "error: --id-type: expected one of auto, int, text, got"),
        (["--download", "ml-9"], "error: --download: expected one of ml-100k, ml-1m, none, got 'ml-9'"),
    ],
)
def test_wrong_input_is_one_line(arguments: list[str], message: str) -> None:
    """Wrong usage has exit code 2, data that is not there 1."""
    done = rowbank_train("two-tower", *arguments)
    assert done.returncode == (1 if "--data" in arguments else 2)
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_wrong_usage_is_exit_code_2() -> None:
    for arguments, message in (
        (
            ["two-tower", "--epoch", "3"],
            "error: rowbank-train two-tower has no option --epoch; did you mean --epochs?\n",
        ),
        (["two-tower", "--epochs", "many"], "error: --epochs: expected an integer, got 'many'\n"),
        (["two-towers"], "error: rowbank-train has no command 'two-towers'; did you mean two-tower?\n"),
    ):
        done = rowbank_train(*arguments)
        assert (done.returncode, done.stderr) == (2, message)


def test_malformed_data_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::2::3\n")
    (tmp_path / "movies.dat").write_text("2::Two (1999)::Drama\n")
    done = rowbank_train("two-tower", "--data", str(tmp_path))
    assert done.returncode == 1
    assert f"{tmp_path / 'ratings.dat'}:1: expected 4 fields" in done.stderr


def test_absent_server_is_an_error_before_training(tmp_path: Path) -> None:
    done = rowbank_train("two-tower", "--download", "none", "--targets", "127.0.0.1:1", "--out", str(tmp_path))
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
    assert "epoch" not in done.stdout


def test_every_option_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "two-tower.md").read_text()
    program: Any = typer.main.get_command(app)
    options = [name for parameter in program.commands["two-tower"].params for name in parameter.opts]
    assert not [name for name in options if f"`{name}`" not in page and f"{name} " not in page]
