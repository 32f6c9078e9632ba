"""In a Redis Cluster a bucket's cold rows are on the node of the bucket, and come back as from a single Redis."""

from __future__ import annotations

import numpy as np
from tests.journal.support import flush
from tests.redis_nodes import free_ports, make_cluster
from tests.second_chance.support import chance, counts, restrict, values_of


def test_rows_come_back_from_all_nodes(start_redis, start_ps, connect, namespace):
    cluster = make_cluster(start_redis, free_ports(3), "--cluster-node-timeout", "2000")
    options = ("--flush-interval-s", "3600", "--second-chance-wait-ms", "10000")
    url = f"redis+cluster://127.0.0.1:{cluster[0].port}"
    server = start_ps(*options, redis=url)
    wire = connect(server.target)
    wire.create("t", 1, eviction=chance())
    keys = list(range(600))
    wire.push("t", keys, np.full((600, 1), -1))
    restrict(wire, "t", 0)
    flush(wire)
    nodes = [len(node.client.keys(f"{namespace}:*:cold:*")) for node in cluster]
    assert all(nodes)
    wire.push("t", keys[:300], np.full((300, 1), -1))
    flush(wire)
    server.kill()
    wire = connect(start_ps(*options, redis=url).target)
    for _ in range(2):
        wire.push("t", keys, np.full((600, 1), -1))
        flush(wire)
    assert values_of(wire, "t", keys).tolist() == [4] * 300 + [3] * 300
    assert counts(wire, "t") == (0, 300, 0, 0)
    assert [len(node.client.keys(f"{namespace}:*:cold:*")) for node in cluster] == [0, 0, 0]
