"""`rowbank shards`: the processes of each shard, whoever of them is away."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

from tests.redis_nodes import free_ports

from rowbank import Client


def shards(targets: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ROWBANK_TARGETS": targets, "NO_COLOR": "1"}
    run = [sys.executable, "-m", "rowbank.cli", "shards", *arguments]
    return subprocess.run(run, capture_output=True, text=True, env=environment, check=False)


def test_the_owner_of_each_shard_is_shown(start_ps):
    started = [start_ps("--shard", f"{shard}/2") for shard in (0, 1)]
    targets = ",".join(server.target for server in reversed(started))
    done = shards(targets, "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert [(one["shard"], one["role"], one["address"]) for one in found] == [
        (shard, "owner", server.target) for shard, server in enumerate(started)
    ]
    with Client(targets) as client:
        assert [one.server_id for one in client.shards()] == [one["server_id"] for one in found]
    lines = shards(targets).stdout.splitlines()
    assert lines[0].split()[:4] == ["SHARD", "ROLE", "ADDRESS", "STATE"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["0", "owner", started[0].target],
        ["1", "owner", started[1].target],
    ]
    rows = list(csv.DictReader(io.StringIO(shards(targets, "-o", "csv").stdout)))
    assert [row["followers"] for row in rows] == ["[]", "[]"]


def test_what_is_away_is_shown_as_such(start_ps):
    server = start_ps()
    away = f"127.0.0.1:{free_ports(1)[0]}"
    done = shards(f"{away}|{server.target}", "-o", "json")
    assert done.returncode == 3
    assert done.stderr == f"degraded: {away} (shard 0) does not answer\n"
    assert [(one["address"], one["answers"]) for one in json.loads(done.stdout)] == [
        (server.target, True),
        (away, False),
    ]


def test_a_shard_without_an_owner_is_named(start_ps):
    server = start_ps("--shard", "0/2")
    away = f"127.0.0.1:{free_ports(1)[0]}"
    done = shards(f"{server.target},{away}")
    assert done.returncode == 3
    assert done.stderr == f"degraded: {away} (shard 1) does not answer; shard 1 has no owner\n"
    assert "does not answer: connection refused" in done.stdout


def test_that_nobody_answers_is_an_error():
    away = f"127.0.0.1:{free_ports(1)[0]}"
    done = shards(away)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: cannot connect to any parameter server: {away} does not answer")
