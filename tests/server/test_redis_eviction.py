"""A Redis that throws keys away by itself is noticed at start."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import redis
from tests.redis_nodes import free_ports, make_cluster

from rowbank import Client
from rowbank_server.storage.connection import connect
from rowbank_server.storage.eviction_policy import Danger, read_policy

LIMIT = 64 << 20


def limit(node, policy: str, size: int = LIMIT) -> None:
    node.client.config_set("maxmemory", size)
    node.client.config_set("maxmemory-policy", policy)


@pytest.fixture
def node(start_redis):
    return start_redis(free_ports(1)[0])


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_a_shard_does_not_start_where_rows_may_be_evicted(start_ps, node, policy):
    limit(node, policy)
    server = start_ps(redis=node.url, wait=False)
    assert server.wait() == 1
    (line,) = [line for line in server.log.splitlines() if "error: " in line]
    assert f"maxmemory-policy {policy}, maxmemory {LIMIT} bytes" in line
    assert "set maxmemory-policy noeviction" in line
    assert "Traceback" not in server.log


def test_who_says_that_it_is_meant_is_let_and_reminded(start_ps, node):
    limit(node, "allkeys-lru")
    server = start_ps("--allow-redis-eviction", redis=node.url)
    assert "whatever it takes is lost without a word" in server.log
    with Client(server.target) as client:
        (info,) = client.server_info()
    assert (info.redis_eviction_policy, info.redis_may_evict) == ("allkeys-lru", True)
    command = [sys.executable, "-m", "rowbank.cli", "stats"]
    environment = {**os.environ, "ROWBANK_TARGETS": server.target}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 3
    assert "Redis may evict rows (maxmemory-policy allkeys-lru)" in done.stderr


@pytest.mark.parametrize(
    ("policy", "size", "warning"),
    [
        ("noeviction", LIMIT, ""),
        ("allkeys-lru", 0, "as soon as it is, Redis evicts rows"),
        ("volatile-ttl", LIMIT, "publications of models under way may be lost"),
    ],
)
def test_less_than_that_is_a_warning(start_ps, node, policy, size, warning):
    limit(node, policy, size)
    server = start_ps(redis=node.url)
    assert warning in server.log
    assert ("maxmemory-policy" in server.log) == bool(warning)
    with Client(server.target) as client:
        (info,) = client.server_info()
    assert (info.redis_eviction_policy, info.redis_may_evict) == (policy, False)


def test_a_user_without_config_is_told_too(start_ps, node):
    """The rights that docs/operations.md names: INFO, and nothing dangerous."""
    limit(node, "allkeys-lru")
    rights = "on >password ~rowbank:* +@read +@write +@connection +@scripting +@transaction -@dangerous +info"
    node.client.execute_command("ACL", "SETUSER", "rowbank", *rights.split())
    server = start_ps(redis=f"redis://rowbank:password@127.0.0.1:{node.port}", wait=False)
    assert server.wait() == 1
    assert "maxmemory-policy allkeys-lru" in server.log


def test_one_node_of_a_cluster_is_enough(start_redis):
    nodes = make_cluster(start_redis, free_ports(3))
    url = f"redis+cluster://127.0.0.1:{nodes[0].port}"
    client = connect(url, timeout_s=5.0)
    assert read_policy(client).danger is Danger.NONE
    limit(nodes[1], "allkeys-lru")
    assert read_policy(client).danger is Danger.ROWS
    client.close()


def test_a_standalone_connection_tells_the_same(node):
    with redis.Redis.from_url(node.url) as client:
        assert read_policy(client).danger is Danger.NONE
        limit(node, "volatile-lru")
        assert read_policy(client).danger is Danger.EXPIRING
