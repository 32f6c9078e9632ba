"""Completion: commands, options, values, names of tables from a live server; nothing where it is away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rowbank import Client, TableSpec

NOBODY = "127.0.0.1:9"


def complete(*words: str, target: str = NOBODY) -> list[str]:
    environment = {**os.environ, "_ROWBANK_COMPLETE": "1", "ROWBANK_TARGETS": target}
    command = [sys.executable, "-m", "rowbank.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["sta"], ["stat", "stats", "status"]),
        (["table", ""], ["create", "describe", "drop"]),
        (["table", "cr"], ["create"]),
        (["stat", "--i"], ["--interval"]),
        (["top", "t", "--by", ""], ["frequency", "last_used"]),
        (["tables", "-o", "j"], ["json"]),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["serve", "ps", "--lease"], ["--lease-s"]),
        (["config", "show", "a"], ["api"]),
        (["no-such-command", ""], []),
        (["table", "describe", ""], []),
        (["table", "describe", "t", ""], []),
    ],
)
def test_what_may_follow(words, found):
    assert complete(*words) == found


def test_names_of_tables_come_from_the_server(target, table_name):
    with Client(target) as client:
        client.create_table(TableSpec(table_name, dim=2))
        for words in (["table", "describe"], ["row"], ["stats"], ["evictions"], ["top", "--limit", "3"]):
            assert complete(*words, table_name[:-2], target=target) == [table_name]
        assert complete("row", "--target", target, table_name) == [table_name]
        client.drop_table(table_name)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_of_their_shells(rowbank, tmp_path, shell):
    script = rowbank("completion", shell).stdout
    assert "_ROWBANK_COMPLETE" in script
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    path = tmp_path / "script"
    path.write_text(script)
    subprocess.run([program, "-n", str(path)], check=True)


def test_bash_completes_with_its_script(rowbank, tmp_path):
    (tmp_path / "completion").write_text(rowbank("completion", "bash").stdout)
    (tmp_path / "rowbank").write_text(f'#!/bin/sh\nexec {sys.executable} -m rowbank.cli "$@"\n')
    (tmp_path / "rowbank").chmod(0o755)
    lines = [
        "source completion",
        "COMP_WORDS=(rowbank table de) COMP_CWORD=2 && _rowbank_completion && echo ${COMPREPLY[@]}",
        "COMP_WORDS=(rowbank sta) COMP_CWORD=1 && _rowbank_completion && echo ${COMPREPLY[@]}",
    ]
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        cwd=Path(tmp_path),
        env=environment,
        check=True,
    )
    assert done.stdout.splitlines() == ["describe", "stat stats status"]
