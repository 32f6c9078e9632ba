"""The commands over a real server: what they print, and how they end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest

import rowbank
from rowbank import Client, Eviction, TableSpec


@pytest.fixture
def table(target, table_name):
    """Ten rows of frequencies 1 to 10, of which a restriction took the first three."""
    with Client(target) as client:
        spec = TableSpec(table_name, dim=2, optimizer=rowbank.SGD(1.0), eviction=Eviction("lfu", max_rows=50))
        table = client.create_table(spec)
        table.pull(np.arange(10))
        table.push(np.arange(10), np.ones((10, 2), np.float32), counts=np.arange(1, 11))
        table.restrict(7)
    return table_name


@pytest.fixture
def command(target):
    def run(*arguments, status=0):
        done = subprocess.run(
            [sys.executable, "-m", "rowbank.cli", *arguments],
            env={**os.environ, "ROWBANK_TARGETS": target, "NO_COLOR": "1", "COLUMNS": "120"},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if status == 0 else done.stderr

    return run


def test_freq(command, table):
    told = json.loads(command("freq", table, "-o", "json"))
    assert told["rows"] == 7
    assert [(one["from"], one["to"], one["rows"]) for one in told["frequencies"]] == [(4, 7, 4), (8, 15, 3)]
    assert told["frequencies"][0]["share"] == pytest.approx(4 / 7)
    assert told["frequencies"][1]["up_to"] == 1.0
    lines = command("freq", table).splitlines()
    assert lines[0].split() == ["FREQUENCY", "ROWS", "SHARE", "UP", "TO"]
    assert lines[1].split() == ["4-7", "4", "57.1", "%", "57.1", "%", "#" * 40]
    assert lines[2].split()[-1] == "#" * 30
    header, first, *_ = command("freq", table, "-o", "csv").splitlines()
    assert header == "of,from,to,rows,share,up_to"
    assert first.startswith("frequency,4,7,4,")
    assert f"table {table!r} does not exist" not in command("freq", table)
    assert "does not exist" in command("freq", "nobody", status=1)


def test_row_explained(command, table):
    gone = command("row", table, "0", "--explain")
    assert "it is gone: a program restricted the table" in gone
    assert "restrict: frequency 1, last used" in gone
    told = json.loads(command("row", table, "1", "--explain", "-o", "json"))
    (departure,) = told["explanation"]["departures"]
    assert (departure["reason"], departure["frequency"]) == ("restrict", 2)
    there = command("row", table, "3", "--explain")
    assert "would go among the first 14 %" in there
    assert re.search(r"changed last by +client [0-9a-f]{32}", there)
    assert "explanation" not in json.loads(command("row", table, "3", "-o", "json"))


def test_evictions_by_time_and_reason(command, table):
    (event,) = json.loads(command("evictions", table, "--since", "1h", "--reason", "restrict", "-o", "json"))
    assert (event["rows"], event["frequencies"], event["regretted"]) == (3, [0, 1, 2], 0)
    assert json.loads(command("evictions", table, "--reason", "ttl", "--reason", "bytes", "-o", "json")) == []
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    assert json.loads(command("evictions", table, "--since", later, "-o", "json")) == []
    assert len(json.loads(command("evictions", table, "--until", later, "-o", "json"))) == 1
    told = json.loads(command("evictions", table, "--summary", "-o", "json"))
    assert (told["cycles"], told["rows"], told["reasons"]) == (1, 3, {"restrict": 3})
    assert [(one["from"], one["rows"]) for one in told["frequencies"]] == [(1, 1), (2, 2)]
    assert "restrict 3" in command("evictions", table, "--summary")
    assert command("evictions", table, "--until", "1w", "--summary") == "nothing was evicted\n"


def test_what_if(command, table):
    told = json.loads(command("evict", table, "--what-if", "max_rows=5", "--what-if", "policy=lru", "-o", "json"))
    assert [one["policy"] for one in told["policies"]] == [
        "policy=lfu,max_rows=50",
        "policy=lfu,max_rows=5",
        "policy=lru,max_rows=50",
    ]
    assert [one["rows_kept_now"] for one in told["policies"]] == [7, 4, 7]
    assert told["accesses"] == 20
    lines = command("evict", table, "--what-if", "max_rows=5").splitlines()
    assert lines[0].startswith("WHAT IF")
    assert lines[1].startswith("now: policy=lfu,max_rows=50")
    assert "no change is needed" in command("evict", table, "--advise")
    assert json.loads(command("evict", table, "--advise", "-o", "json"))["max_rows"] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evict", "TABLE"), "one of --keep, --what-if and --advise"),
        (("evict", "TABLE", "--keep", "1", "--advise"), "one of --keep"),
        (("evictions", "--since", "yesterday"), "2h"),
        (("evictions", "--reason", "hunger"), "capacity"),
    ],
)
def test_usage_errors(command, table, arguments, words):
    assert words in command(*(table if word == "TABLE" else word for word in arguments), status=2)


@pytest.mark.parametrize("text", ["size=3", "max_rows=-1", "max_rows=nan", "policy=mru", "low_watermark=2"])
def test_a_what_if_that_makes_no_sense_is_an_error(command, table, text):
    assert "expected" in command("evict", table, "--what-if", text, status=2)
