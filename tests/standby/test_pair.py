"""`rowbank up --standby`: two parameter servers on one machine, each the other's standby."""

from __future__ import annotations

import os
import signal
import socket
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.processes import UpProcess, until
from tests.standby.support import caught_up, info, owner_of

from rowbank import SGD, Client, TableSpec


@dataclass(frozen=True)
class Server:
    """One of the two."""

    target: str


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def pid_of(up: UpProcess, target: str) -> int:
    """The parameter server that `up` runs at `target`."""
    for child in Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
        if "ps" in words and target in words:
            return int(child)
    raise AssertionError(f"no parameter server at {target}")


def test_a_killed_parameter_server_is_replaced_and_started_again(tmp_path):
    options = ["--standby", "--data-dir", str(tmp_path / "data")]
    options += ["--grpc-bind", free_address(), "--standby-grpc-bind", free_address()]
    up = UpProcess(*options, log=tmp_path / "up.log").wait_ready()
    try:
        servers = [Server(up.target), Server(up.standby)]
        owner = owner_of(*servers)
        standby = servers[1 - servers.index(owner)]
        with Client(f"{up.target}|{up.standby}") as client:
            table = client.create_table(TableSpec("t", dim=1, optimizer=SGD(1.0)))
            table.push([1], [[-1.0]])
            caught_up(standby, owner)
            former = info(owner).server_id
            os.kill(pid_of(up, owner.target), signal.SIGKILL)
            table.push([1], [[-1.0]])
            assert owner_of(*servers) is standby
            until(lambda: info(owner).server_id not in ("", former), what="a start anew, at the same address")
            caught_up(owner, standby)
            assert table.lookup([1]).values.tolist() == [[2.0]]
        with urllib.request.urlopen(f"{up.http_url}/healthz", timeout=10) as answer:
            assert answer.status == 200
        assert "is started again" in up.log
        assert up.terminate() == 0
    finally:
        up.close()
    again = UpProcess(*options, log=tmp_path / "again.log").wait_ready()
    try:
        with Client(again.target) as client:  # The other address is learnt.
            assert client.table("t").lookup([1]).values.tolist() == [[2.0]]
        assert again.terminate() == 0
    finally:
        again.close()
