"""Every kind of client speaks TLS: by arguments, by the environment, forked, pickled, followed, behind `rowbank up`."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.processes import UpProcess
from tests.security.authority import Authority
from tests.security.test_tls_http import context

from rowbank import AsyncRetrievalClient, Client, RetrievalClient, TableSpec

KEYS = np.array([1, 2, 3])
ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("tls"))
    made.issue("server")
    made.issue("client", "client.example.org")
    return made


@pytest.fixture(scope="module")
def up(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    """Everything on one machine with a standby, under mutual TLS."""
    folder = tmp_path_factory.mktemp("up")
    options = ("--data-dir", str(folder / "data"), "--standby", *authority.options(mutual=True))
    server = UpProcess(*options, log=folder / "log")
    try:
        yield server.wait_ready()
    finally:
        server.close()
        assert "Traceback" not in server.log


@pytest.fixture(scope="module")
def rows(up: UpProcess, authority: Authority) -> None:
    with Client(f"{up.target}|{up.standby}", credentials=authority.credentials("client")) as client:
        client.create_table(TableSpec("rows", dim=2)).upsert(KEYS, ROWS)


def run(up: UpProcess, environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """A program of a user that knows its servers and credentials by the environment."""
    known = {"ROWBANK_TARGETS": f"{up.target}|{up.standby}", "ROWBANK_RETRIEVAL": up.retrieval_target, **environment}
    return subprocess.run(
        command, env={**os.environ, **known}, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_command_line_by_the_environment(up: UpProcess, rows: None, authority: Authority) -> None:
    rowbank = str(Path(sys.executable).with_name("rowbank"))
    known = authority.environment("client")
    listed = run(up, known, rowbank, "tables", "-o", "json")
    assert listed.returncode == 0, listed.stderr
    assert [table["name"] for table in json.loads(listed.stdout)] == ["rows"]
    shards = run(up, known, rowbank, "shards", "-o", "json")
    assert {process["role"] for process in json.loads(shards.stdout)} == {"owner", "standby"}
    assert run(up, known, rowbank, "models").returncode == 0
    for arguments, said in (
        ({}, "TLS is spoken there"),
        (authority.environment(), "asks for a client certificate"),
        ({"ROWBANK_TLS_CA": "none.pem"}, "none.pem: cannot be read"),
    ):
        failed = run(up, arguments, rowbank, "tables")
        assert (failed.returncode, failed.stdout) == (1, "")
        assert said in failed.stderr
        assert len(failed.stderr.splitlines()) == 1, failed.stderr


def test_a_forked_child_and_a_pickled_client(up: UpProcess, rows: None, authority: Authority) -> None:
    program = f"""
import multiprocessing, pickle, sys
import numpy as np
from rowbank import Client, Credentials
credentials = Credentials(ca_file={str(authority.ca)!r}, certificate_file={str(authority.folder / "client.pem")!r},
                          key_file={str(authority.folder / "client.key")!r})
client = Client(credentials=credentials)
table = client.table("rows")
print(table.pull(np.array([2])).tolist())
def child():
    print(table.pull(np.array([3])).tolist(), flush=True)
forked = multiprocessing.get_context("fork").Process(target=child)
forked.start(); forked.join()
print(pickle.loads(pickle.dumps(client)).table("rows").pull(np.array([1])).tolist())
sys.exit(forked.exitcode)
"""
    done = run(up, {}, sys.executable, "-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[[2.0, 3.0]]", "[[4.0, 5.0]]", "[[0.0, 1.0]]"]


def test_a_follower_and_a_replica_read(up: UpProcess, rows: None, authority: Authority) -> None:
    target = f"{up.target}|{up.standby}"
    with Client(target, credentials=authority.credentials("client"), max_staleness_s=5.0) as client:
        table = client.table("rows")
        with client.follow(["rows"], since="now") as follower:
            assert table.pull(KEYS).tolist() == ROWS.tolist()
            while not follower.position:
                follower.poll(0.1)
            table.upsert(np.array([9]), np.array([[7.0, 8.0]], np.float32))
            batch = None
            while batch is None or 9 not in batch.keys:
                batch = follower.poll(30)
                assert batch is not None
        table.remove(np.array([9]))


def test_clients_of_the_retrieval_service(up: UpProcess, authority: Authority) -> None:
    credentials = authority.credentials("client")
    with RetrievalClient(up.retrieval_target, credentials=credentials) as client:
        assert client.models().models == ()
        again = pickle.loads(pickle.dumps(client))
        assert again.models().models == ()
        again.close()

    async def ask() -> None:
        async with AsyncRetrievalClient(up.retrieval_target, credentials=credentials) as client:
            assert (await client.models()).models == ()

    asyncio.run(ask())
    assert up.http_url.startswith("https://")
    known = context(authority, "client")
    assert httpx.get(f"{up.http_url}/v1/models", verify=known, timeout=30).status_code == 200


def test_a_standby_takes_over_under_tls(up: UpProcess, rows: None, authority: Authority) -> None:
    with Client(f"{up.target}|{up.standby}", credentials=authority.credentials("client"), timeout_s=60) as client:
        table = client.table("rows")
        owner = next(process for process in client.shards() if process.role == "owner")
        os.kill(_pid_at(owner.address), 9)
        table.upsert(np.array([4]), np.array([[6.0, 7.0]], np.float32))
        assert table.pull(np.array([1, 4])).tolist() == [[0.0, 1.0], [6.0, 7.0]]
        assert client.targets == [f"{up.target}|{up.standby}"]
        table.remove(np.array([4]))


def _pid_at(address: str) -> int:
    """The process that listens at a port of this machine."""
    port = f"{int(address.rpartition(':')[2]):04X}"
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    nodes = {fields[9] for line in lines if (fields := line.split())[1].endswith(f":{port}") and fields[3] == "0A"}
    for path in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(path).removeprefix("socket:[").rstrip("]") in nodes:
                return int(path.parts[2])
        except OSError:
            continue
    raise AssertionError(f"nobody listens at {address}")
