"""The same fields of many hashes in one round trip, beside what a pipeline of redis-py reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import redis

from rowbank_server.features.hash_reads import read_hashes

FIELDS = [b"plain", b"", b"\r\n$3\r\n", bytes(range(256))]


def through_a_pipeline(client: redis.Redis, keys: list[bytes], fields: list[bytes]) -> list[Any]:
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hmget(key, fields)  # type: ignore[arg-type]
        return pipe.execute(raise_on_error=False)


def test_replies_are_those_of_a_pipeline(connection: redis.Redis, namespace: str) -> None:
    """Whatever bytes keys, fields and values hold; of hashes that lack some, or are not there."""
    seed = 4
    print("seed", seed)
    rng = np.random.default_rng(seed)
    keys = [namespace.encode() + b"\r\n:" + rng.bytes(int(rng.integers(0, 300))) for _ in range(40)]
    for key in keys[:30]:
        held = {field: rng.bytes(int(rng.integers(0, 3000))) for field in FIELDS if rng.random() < 0.7}
        if held:
            connection.hset(key, mapping=held)  # type: ignore[arg-type]
    replies = read_hashes(connection, keys, FIELDS)
    assert replies == through_a_pipeline(connection, keys, FIELDS)
    assert any(value is not None for value in replies[0])
    assert replies[-1] == [None] * len(FIELDS)
    assert read_hashes(connection, [], FIELDS) == []


def test_an_error_of_one_key_costs_no_other_its_reply(connection: redis.Redis, namespace: str) -> None:
    """It stands in its place, and the connection is in order afterwards."""
    keys = [f"{namespace}:{name}".encode() for name in "abc"]
    connection.hset(keys[0], "x", "1")
    connection.set(keys[1], "no hash")
    connection.hset(keys[2], "x", "3")
    first, second, third = read_hashes(connection, keys, [b"x"])
    assert isinstance(second, redis.ResponseError)
    assert str(second).startswith("WRONGTYPE")
    assert (first, third) == ([b"1"], [b"3"])
    assert read_hashes(connection, keys[2:], [b"x"]) == [[b"3"]]


def test_a_lost_connection_is_made_again(redis_url: str, connection: redis.Redis, namespace: str) -> None:
    """As a pipeline does; and it is given back to its pool."""
    client = redis.Redis.from_url(redis_url, max_connections=1)
    key = f"{namespace}:a".encode()
    connection.hset(key, "x", "1")
    for _ in range(3):
        assert read_hashes(client, [key], [b"x"]) == [[b"1"]]
        connection.client_kill_filter(_id=str(client.client_id()))
    client.close()


def test_nobody_there_is_an_error(free_tcp_port: int) -> None:
    """That of redis-py, and the pool has its connection back."""
    client = redis.Redis(port=free_tcp_port, max_connections=1)
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            read_hashes(client, [b"a"], [b"x"])
