"""The same fields of many hashes, in one round trip.

A pipeline of redis-py looks at each of its commands: the kinds of its arguments, its options, what has to be prepared
for it. These commands differ by their keys alone, so their bytes are put together here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from rowbank_server.storage.connection import is_cluster


def read_hashes(client: Any, keys: Sequence[bytes], fields: Sequence[bytes]) -> list[Any]:
    """What HMGET answers for each key: a list of bytes or None, one for each of `fields`; errors that Redis answers are
    among them.

    Args:
        client: a `redis.Redis` that decodes no answers, or a Cluster's.
    Raises:
        redis.RedisError: what a pipeline raises, after as many tries.
    """
    if not keys:
        return []
    if is_cluster(client):  # The commands go to several nodes.
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.execute_command("HMGET", key, *fields)
            replies: list[Any] = pipe.execute(raise_on_error=False)
        return replies
    commands = _packed(keys, fields)
    pool = client.connection_pool
    connection = pool.get_connection()

    def exchange() -> list[Any]:
        connection.send_packed_command(commands)
        return [_reply(connection) for _ in keys]

    try:
        answered: list[Any] = connection.retry.call_with_retry(exchange, lambda error: connection.disconnect())
    finally:
        pool.release(connection)
    return answered


def _packed(keys: Sequence[bytes], fields: Sequence[bytes]) -> list[bytes]:
    """HMGET of each key in Redis's protocol."""
    head = b"*%d\r\n$5\r\nHMGET\r\n" % (2 + len(fields))
    tail = b"".join(b"$%d\r\n%b\r\n" % (len(field), field) for field in fields)
    return [b"".join([b"%b$%d\r\n%b\r\n%b" % (head, len(key), key, tail) for key in keys])]


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
