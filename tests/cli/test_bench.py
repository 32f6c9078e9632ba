"""`rowbank bench`: it measures on a table of its own, which is gone afterwards, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from tests.processes import until

from rowbank import Client, TableSpec

SMALL = ["--rows", "2000", "--dim", "4", "--batch", "100", "--clients", "2"]
COMMAND = [sys.executable, "-m", "rowbank.cli", "bench", *SMALL]


@pytest.fixture
def server(start_ps):
    """A parameter server of its own, with one row of somebody."""
    found = start_ps()
    with Client(found.target) as client:
        client.create_table(TableSpec("theirs", dim=2)).upsert([1], np.ones((1, 2), np.float32))
    return found


def run(target: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ROWBANK_TARGETS": target, "NO_COLOR": "1"}
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == code, done.stderr
    return done


def tables(target: str) -> list[str]:
    with Client(target) as client:
        return [info.spec.name for info in client.list_tables()]


def test_it_measures_and_leaves_nothing(server):
    refused = run(server.target, code=2)
    assert "this server holds 1 tables with 1 rows" in refused.stderr
    assert "confirm with --yes" in refused.stderr
    done = run(server.target, "--yes", "--duration-s", "0.5", "-o", "json")
    told = {one["verb"]: one for one in json.loads(done.stdout)}
    assert set(told) == {"pull", "push"}
    for one in told.values():
        assert one["requests"] > 0
        assert one["rows_per_s"] == pytest.approx(one["requests"] * 100 / one["elapsed_s"])
        assert 0 < one["p50_ms"] <= one["p90_ms"] <= one["p99_ms"] <= one["max_ms"]
        assert (one["failed"], one["clients"], one["table_rows"]) == (0, 2, 2000)
    only = json.loads(run(server.target, "--yes", "--duration-s", "0.2", "--pull-share", "1", "-o", "json").stdout)
    assert [one["verb"] for one in only] == ["pull"]
    assert tables(server.target) == ["theirs"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_drops_its_table_when_it_is_interrupted(server, number):
    environment = {**os.environ, "ROWBANK_TARGETS": server.target}
    command = [*COMMAND, "--yes", "--duration-s", "600", "--table-prefix", "scratch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as bench:
        until(lambda: any(name.startswith("scratch-") for name in tables(server.target)), what="its table is there")
        bench.send_signal(number)
        _, errors = bench.communicate(timeout=60)
    assert bench.returncode == 130, errors
    assert "Traceback" not in errors
    assert tables(server.target) == ["theirs"]


def test_what_a_killed_one_left_is_named(server):
    with Client(server.target) as client:
        client.create_table(TableSpec("rowbank-bench-0", dim=2)).upsert([1], np.ones((1, 2), np.float32))
    done = run(server.target, "--yes", "--duration-s", "0.1")
    assert "rowbank-bench-0 is left over; drop it with: rowbank table drop rowbank-bench-0 --yes" in done.stderr
    assert tables(server.target) == ["rowbank-bench-0", "theirs"]
