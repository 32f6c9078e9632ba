"""`rowbank follow`: one line per change, and where to go on from."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from rowbank import SGD, Client, TableSpec


@pytest.fixture
def table(target, table_name):
    with Client(target) as client:
        table = client.create_table(TableSpec(table_name, dim=2, optimizer=SGD(1.0), durability="journaled"))
        table.push([5], np.ones((1, 2)))
        yield table


def lines(done: subprocess.CompletedProcess[str]) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_picture_and_what_changed_since_a_line(rowbank, table):
    told = lines(rowbank("follow", table.name, "--since", "picture", "-n", "3", "-o", "json"))
    assert [(one["change"], one["key"], one["values"]) for one in told] == [
        ("picture", None, None),
        ("row", 5, [-1.0, -1.0]),
        ("whole", None, None),
    ]
    assert told[0]["since"] == told[1]["since"] == "1;-"  # Not whole, so it begins again.
    table.push([5, 6], np.ones((2, 2)))
    table.remove([5])
    since = told[2]["since"]
    changes = lines(rowbank("follow", table.name, "--since", since, "-n", "2", "-o", "json"))
    assert [(one["change"], one["key"], one["reason"]) for one in changes] == [
        ("changed", 6, None),
        ("removed", 5, "removed"),
    ]
    assert changes[0]["position"] > told[1]["position"]
    keys = rowbank("follow", table.name, "--since", since, "-n", "1", "--detail", "keys", "-o", "json")
    assert lines(keys)[0]["values"] is None
    row = next(
        csv.DictReader(io.StringIO(rowbank("follow", table.name, "--since", since, "-n", "1", "-o", "csv").stdout))
    )
    assert (row["change"], row["key"], row["values"]) == ("changed", "6", "[-1.0, -1.0]")
    shown = rowbank("follow", table.name, "--since", since, "-n", "2").stdout.splitlines()
    assert shown[0].split()[2:4] == ["changed", "6"]
    assert shown[1].split()[2:] == ["removed", "5", "removed"]


def test_it_runs_until_it_is_interrupted(target, table):
    command = [sys.executable, "-m", "rowbank.cli", "follow", table.name, "--since", "picture", "-o", "json"]
    environment = {**os.environ, "ROWBANK_TARGETS": target}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as shown:
        assert shown.stdout is not None
        told = [json.loads(shown.stdout.readline())["change"] for _ in range(3)]
        assert told == ["picture", "row", "whole"]
        table.push([7], np.ones((1, 2)))
        assert json.loads(shown.stdout.readline())["key"] == 7
        shown.send_signal(signal.SIGINT)
        rest, errors = shown.communicate(timeout=60)
    assert (rest, errors, shown.returncode) == ("", "", 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["no-such-table"], "error: table 'no-such-table' does not exist"), (["t", "--since", "later"], "error: ")],
)
def test_what_cannot_be_followed_is_an_error(rowbank, arguments, said):
    done = rowbank("follow", *arguments, code=1)
    assert done.stdout == ""
    assert done.stderr.startswith(said)
