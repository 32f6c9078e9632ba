"""Opens Redis or Valkey by URL, standalone or Cluster, and turns its failures into one error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

from rowbank.errors import RedisUnavailable

# redis.Redis or RedisCluster. Their answers are typed as unions with awaitables, str and more, which no caller can use;
# what an answer is, is stated where it is used.
Redis: TypeAlias = Any

SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")


def connect(url: str, *, timeout_s: float, client_name: str = "rowbank") -> Redis:
    """A client of the Redis at `url`, tried with a PING.

    Args:
        url: redis://, rediss:// (TLS), unix:// or, for a Cluster, redis+cluster:// or rediss+cluster://.
        timeout_s: longest wait for a connection and for one answer.
        client_name: how this connection shows in Redis's CLIENT LIST.
    Raises:
        ValueError: the URL is not of a known form.
        RedisUnavailable: nothing answers there, or it refuses us.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"redis URL: expected a scheme of {', '.join(SCHEMES)}, got {url!r}")
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "client_name": client_name,
        # One more try, at once: it replaces a connection that went stale while it lay idle.
        "retry": Retry(NoBackoff(), 1),
    }
    if parts.scheme == "unix":
        del options["socket_connect_timeout"]
    with translated(url):
        client: Redis
        if parts.scheme.endswith("+cluster"):
            plain = urlunsplit(parts._replace(scheme=parts.scheme.removesuffix("+cluster")))
            client = RedisCluster.from_url(plain, **options)
        else:
            client = redis.Redis.from_url(url, **options)
        client.ping()
    return client


def is_cluster(client: Redis) -> bool:
    """Whether `client` talks to a Cluster, whose nodes fail on their own."""
    return isinstance(client, RedisCluster)


def without_password(url: str) -> str:
    """`url` as it may be logged."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Raises RedisUnavailable, which names `what` was tried, for any failure of Redis inside."""
    try:
        yield
    except (RedisError, RedisClusterException, OSError) as error:
        raise RedisUnavailable(f"Redis failed ({without_password(what)}): {describe(error)}") from error


def describe(error: BaseException) -> str:
    """A failure in one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
