"""`rowbank config`: which settings a process would have, from where, and what is wrong with a file."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

import pytest

FILE = """
redis = "redis://user:hidden@localhost:6379/0"
[ps]
flush_interval_s = 3.0
lease_s = 2.0
"""


@pytest.fixture
def config(tmp_path):
    """Runs `rowbank config` in a folder with a settings file."""
    (tmp_path / "rowbank.toml").write_text(FILE)

    def run(*arguments: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ROWBANK_")}
        done = subprocess.run(
            [sys.executable, "-m", "rowbank.cli", "config", *arguments],
            capture_output=True, text=True, env={**kept, **variables}, cwd=tmp_path, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done

    return run


def test_each_value_says_where_it_comes_from(config):
    done = config("show", "ps", "--origin", "--bind", "127.0.0.1:1", "-o", "json", ROWBANK_PS_LEASE_S="5")
    told = {one["name"]: one for one in json.loads(done.stdout)}
    assert (told["bind"]["value"], told["bind"]["origin"], told["bind"]["place"]) == (
        "127.0.0.1:1", "argument", "--bind",
    )  # fmt: skip
    assert (told["lease_s"]["value"], told["lease_s"]["origin"]) == (5.0, "variable")
    assert told["lease_s"]["place"] == "ROWBANK_PS_LEASE_S"
    assert (told["flush_interval_s"]["value"], told["flush_interval_s"]["origin"]) == (3.0, "file")
    assert told["flush_interval_s"]["place"] == "rowbank.toml"
    assert (told["journal_wait_s"]["value"], told["journal_wait_s"]["origin"]) == (2.0, "default")


@pytest.mark.parametrize("output", ["table", "json", "csv"])
def test_secrets_are_not_shown(config, output):
    text = config("show", "ps", "-o", output).stdout
    assert "hidden" not in text
    assert "redis://user:***@localhost:6379/0" in text


def test_everything_on_one_machine_is_shown_without_a_process(config):
    fields = [line["name"] for line in csv.DictReader(io.StringIO(config("show", "-o", "csv").stdout))]
    assert "appendfsync" in fields
    head, *lines = config("show", "api").stdout.splitlines()
    assert head.split() == ["SETTING", "VALUE"]
    assert any(line.split() == ["targets", "127.0.0.1:7700"] for line in lines)


def test_a_file_is_checked_for_all_processes(config, tmp_path):
    assert "every process could start with it" in config("check", "rowbank.toml", ROWBANK_PS_LEASE_S="x").stdout
    (tmp_path / "bad.toml").write_text("[ps]\nlease_s = 0\n[api]\nworkers = 100\n")
    said = config("check", "bad.toml", code=2).stderr.splitlines()
    assert len(said) == 2
    assert all(line.startswith("error: setting ") for line in said)
    assert "error: none.toml: cannot be read" in config("check", "none.toml", code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "ps", "--bindd", "x"], "rowbank config show ps has no option --bindd; did you mean --bind?"),
        (["show", "ps", "--lease-s", "0"], "setting lease_s (ROWBANK_PS_LEASE_S): expected a number"),
        (["check"], "FILE"),
        (["check", "a", "b"], "rowbank config check takes options only, got 'b'"),
        (["show", "all"], "invalid choice: 'all'"),
    ],
)
def test_wrong_usage_is_one_line(config, arguments, said):
    done = config(*arguments, code=2)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
