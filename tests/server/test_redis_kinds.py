"""Every kind of Redis that a URL can name: TCP with a password and a limited user, and a Cluster."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from pathlib import Path

import pytest
import redis
from tests.processes import until
from tests.server.support import adam, exported
from tests.server.test_restart import train

from rowbank_protos.v1 import admin_pb2, tables_pb2
from rowbank_server.redis_supervisor import find_server

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listened on a moment ago, and that leave room for a Cluster's bus (port + 10000)."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port < 55_000 and port not in found:
            found.append(port)
    return found


@pytest.fixture
def start_redis(tmp_path):
    started: list[subprocess.Popen] = []

    def start(port: int, *arguments: str) -> redis.Redis:
        folder = tmp_path / str(port)
        folder.mkdir(exist_ok=True)
        command = [find_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        started.append(subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL))
        client = redis.Redis(port=port)

        def answers() -> bool:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

        until(answers, what="PING")
        return client

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_limited_user_is_enough(start_redis, start_ps, connect, namespace):
    """The rights that the documentation asks for, on this namespace's keys alone."""
    (port,) = free_ports(1)
    client = start_redis(port)
    (documented,) = re.findall(r"^ACL SETUSER rowbank .*$", OPERATIONS.read_text(), re.MULTILINE)
    command = documented.replace(">password", ">secret").replace("~rowbank:*", f"~{namespace}:*")
    client.execute_command(*command.split())
    url = f"redis://rowbank:secret@127.0.0.1:{port}/0"
    server = start_ps(redis=url)
    wire = connect(server.target)
    wire.create("t", 6, optimizer=adam())
    train(wire, "t", steps=3)
    wire.admin.Restrict(admin_pb2.RestrictRequest(table="t", num_reserved=10))
    wire.admin.ListEvictions(admin_pb2.ListEvictionsRequest())
    wire.create("dropped")
    wire.tables.DropTable(tables_pb2.DropTableRequest(name="dropped"))
    before = exported(wire, "t")
    assert server.terminate() == 0
    again = connect(start_ps(redis=url).target)
    assert exported(again, "t") == before
    assert "secret" not in server.log
    client.close()


def test_a_cluster_of_two_nodes(start_redis, start_ps, connect):
    ports = free_ports(2)
    nodes = [start_redis(port, "--cluster-enabled", "yes") for port in ports]
    nodes[0].execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
    nodes[1].execute_command("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
    nodes[0].execute_command("CLUSTER", "MEET", "127.0.0.1", ports[1])
    for node in nodes:
        until(lambda node=node: node.cluster("info")["cluster_state"] == "ok", what="Cluster")
    url = f"redis+cluster://127.0.0.1:{ports[0]}"
    server = start_ps(redis=url)
    wire = connect(server.target)
    wire.create("t", 6, optimizer=adam())
    train(wire, "t", steps=3)
    wire.admin.Flush(admin_pb2.FlushRequest())
    assert all(node.dbsize() > 10 for node in nodes)
    # The node without the shard's state comes back empty. The flush counter, on the other one, is still right; only
    # the node's new run id tells that rows are gone.
    (place,) = [place for place, node in enumerate(nodes) if not node.keys("*:state")]
    before = exported(wire, "t")
    with contextlib.suppress(redis.ConnectionError):
        nodes[place].shutdown(nosave=True)
    nodes[place] = start_redis(ports[place], "--cluster-enabled", "yes")
    assert nodes[place].dbsize() == 0
    until(lambda: "again in" in server.log, timeout_s=40, what="rewrite")
    assert server.terminate() == 0
    assert exported(connect(start_ps(redis=url).target), "t") == before
    for node in nodes:
        node.close()
