"""Commands that look at a cluster of which a part is down."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from tests.processes import stand_still

from rowbank import SGD, Client, TableSpec, hashing

KEYS = np.arange(1, 101)
OWNERS = hashing.shard_of(KEYS, shard_count=2)


@pytest.fixture
def shards(start_ps):
    """Two shards with a table of keys 1..100, key k pushed k times."""
    shards = [start_ps("--shard", f"{shard}/2") for shard in (0, 1)]
    with Client([shard.target for shard in shards]) as client:
        table = client.create_table(TableSpec("t", dim=2, optimizer=SGD(1.0)))
        table.push(KEYS, np.ones((100, 2)), counts=KEYS)
    return shards


def command(shards, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ROWBANK_TARGETS": ",".join(shard.target for shard in shards), "NO_COLOR": "1"}
    run = [sys.executable, "-m", "rowbank.cli", *arguments]
    return subprocess.run(run, capture_output=True, text=True, env=environment, check=False)


def records(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 3, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("dead", [0, 1])
def test_one_of_two_shards_is_dead(shards, dead):
    shards[dead].kill()
    alive = KEYS[1 - dead == OWNERS]
    note = f"degraded: shard {dead} ({shards[dead].target}) does not answer\n"
    (table,) = records(command(shards, "tables", "-o", "json"))
    assert (table["name"], table["rows"], table["missing_shards"]) == ("t", len(alive), [dead])
    shown = command(shards, "tables")
    assert (shown.returncode, shown.stderr) == (3, note)
    assert shown.stdout.split()[8:10] == ["t", str(len(alive))]  # After the headings.
    for arguments in (["stats"], ["stats", "t"]):
        done = command(shards, *arguments, "-o", "json")
        (stats,) = records(done)
        assert (stats["rows"], stats["pushed_rows"], stats["missing_shards"]) == (len(alive), len(alive), [dead])
        assert done.stderr == note
    (line,) = csv.DictReader(io.StringIO(command(shards, "stats", "-o", "csv").stdout))
    assert line["missing_shards"] == f"[{dead}]"
    best = records(command(shards, "top", "t", "-n", "3", "-o", "json"))
    assert [row["key"] for row in best] == sorted(alive, reverse=True)[:3]
    assert all(row["missing_shards"] == [dead] for row in best)
    row = records(command(shards, "row", "t", str(alive[0]), "-o", "json"))
    assert (row["found"], row["values"], row["missing_shards"]) == (True, [-1.0, -1.0], [dead])
    assert command(shards, "evictions").returncode == 3
    described = records(command(shards, "table", "describe", "t", "-o", "json"))
    assert described["missing_shards"] == [dead]


def test_what_cannot_be_answered_in_part_is_an_error(shards):
    shards[1].kill()
    lost = KEYS[OWNERS == 1][0]
    for arguments in (["row", "t", str(lost)], ["evict", "t", "--keep", "1"], ["table", "drop", "t", "--yes"]):
        done = command(shards, *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: ")
        assert shards[1].target in done.stderr
        assert done.stderr.count("\n") == 1
    shards[0].kill()
    done = command(shards, "tables")
    assert (done.returncode, done.stdout) == (1, "")
    assert all(shard.target in done.stderr for shard in shards)


def test_a_shard_that_stands_still_is_done_without(shards):
    stand_still(shards[0].pid)
    try:
        started = time.monotonic()
        (stats,) = records(command(shards, "stats", "-o", "json"))
        assert (stats["rows"], stats["missing_shards"]) == (int((OWNERS == 1).sum()), [0])
        assert time.monotonic() - started < 15  # Two seconds to connect, and less again; starting the command beside.
    finally:
        os.kill(shards[0].pid, signal.SIGCONT)


def test_nothing_is_missing_from_a_whole_cluster(shards):
    done = command(shards, "tables", "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[0]["missing_shards"] == []


def test_watching_goes_on_while_a_shard_dies(shards):
    environment = {**os.environ, "ROWBANK_TARGETS": ",".join(shard.target for shard in shards)}
    run = [sys.executable, "-m", "rowbank.cli", "stats", "--watch", "--interval", "0.05", "-o", "csv", "--count", "40"]
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as watch:
        assert watch.stdout is not None
        assert watch.stdout.readline().startswith("table,")
        shards[1].kill()
        out, err = watch.communicate(timeout=60)
    assert watch.returncode == 3, err
    assert err.startswith("degraded: shard 1 ")
    assert out.splitlines()[-1].endswith(",[1]")
