"""Every kind of Redis that a URL can name: TCP with a password and a limited user, and a Cluster."""

from __future__ import annotations

import re
from pathlib import Path

from tests.processes import until
from tests.redis_nodes import free_ports, make_cluster
from tests.server.support import adam, exported
from tests.server.test_restart import train

from rowbank_protos.v1 import admin_pb2, tables_pb2

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def test_a_limited_user_is_enough(start_redis, start_ps, connect, namespace):
    """The rights that the documentation asks for, on this namespace's keys alone."""
    (port,) = free_ports(1)
    client = start_redis(port).client
    # The page breaks the line where a shell would go on.
    (documented,) = re.findall(r"^(ACL SETUSER rowbank on (?:.|\n)*?)\n```", OPERATIONS.read_text(), re.MULTILINE)
    command = documented.replace("\\\n", " ").replace(">password", ">secret").replace("~rowbank:*", f"~{namespace}:*")
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


def test_a_cluster_of_two_nodes(start_redis, start_ps, connect):
    ports = free_ports(2)
    nodes = make_cluster(start_redis, ports)
    url = f"redis+cluster://127.0.0.1:{ports[0]}"
    server = start_ps(redis=url)
    wire = connect(server.target)
    wire.create("t", 6, optimizer=adam())
    train(wire, "t", steps=3)
    wire.admin.Flush(admin_pb2.FlushRequest())
    assert all(node.client.dbsize() > 10 for node in nodes)
    # The node without the shard's state comes back empty. The flush counter, on the other one, is still right; only
    # the node's new run id tells that rows are gone.
    (place,) = [place for place, node in enumerate(nodes) if not node.client.keys("*:state")]
    before = exported(wire, "t")
    of_dropped = f"*{{t{wire.create('dropped', 6).table_id}.*"
    train(wire, "dropped", steps=1)
    wire.admin.Flush(admin_pb2.FlushRequest())
    assert all(node.client.keys(of_dropped) for node in nodes)
    wire.tables.DropTable(tables_pb2.DropTableRequest(name="dropped"))
    wire.admin.Flush(admin_pb2.FlushRequest())  # Which also goes on with what a drop has left.
    assert not any(node.client.keys(of_dropped) for node in nodes)
    nodes[place].kill()
    nodes[place].restart()
    assert nodes[place].client.dbsize() == 0
    until(lambda: "again in" in server.log, timeout_s=40, what="rewrite")
    assert server.terminate() == 0
    assert exported(connect(start_ps(redis=url).target), "t") == before
