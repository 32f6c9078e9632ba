"""Opens Redis or Valkey by URL, standalone, behind Sentinels or as a Cluster, and turns its failures into one error."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any, TypeAlias
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from rowbank.errors import RedisUnavailable
from rowbank.redis_words import describe

# redis.Redis or RedisCluster. Their answers are typed as unions with awaitables, str and more, which no caller can use;
# what an answer is, is stated where it is used.
Redis: TypeAlias = Any

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_SENTINEL_PORT = 26379


def connect(url: str, *, timeout_s: float, client_name: str = "rowbank") -> Redis:
    """A client of the Redis at `url`, tried with a PING.

    Args:
        url: redis://, rediss:// (TLS), unix://; for a Cluster redis+cluster:// or rediss+cluster://; for whichever is
            the master, redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME/DATABASE or rediss+sentinel://, where
            the hosts are Sentinels, whose own password is ?sentinel_password=.
        timeout_s: longest wait for a connection and for one answer.
        client_name: how this connection shows in Redis's CLIENT LIST.
    Raises:
        ValueError: the URL is not of a known form.
        RedisUnavailable: nothing answers there, or it refuses us.
    """
    parts = _parts(url)
    if "decode_responses" in parse_qs(parts.query):
        raise ValueError("redis URL: rows are bytes, so answers cannot be decoded; leave decode_responses out")
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "client_name": client_name,
        # One more try, at once: it replaces a connection that went stale while it lay idle.
        "retry": Retry(NoBackoff(), 1),
    }
    if parts.scheme == "unix":
        del options["socket_connect_timeout"]
    with translated(url), _known_fields(url):
        client: Redis
        if parts.scheme.endswith("+cluster"):
            plain = urlunsplit(parts._replace(scheme=parts.scheme.removesuffix("+cluster")))
            client = RedisCluster.from_url(plain, **options)
        elif parts.scheme.endswith("+sentinel"):
            client = _behind_sentinels(url, options)
        else:
            client = redis.Redis.from_url(url, **options)
        client.ping()
    return client


def _parts(url: str) -> SplitResult:
    """The parts of a URL. Raises ValueError where one of them is none."""
    shown = url.rpartition("@")[2]
    try:
        parts = urlsplit(url)
        for host in parts.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError:
        raise ValueError(f"redis URL: expected HOST:PORT with a port from 0 to 65535, got {shown!r}") from None
    if parts.scheme not in SCHEMES:
        raise ValueError(f"redis URL: expected a scheme of {', '.join(SCHEMES)}, got {without_password(url)!r}")
    if parts.scheme in ("redis", "rediss") and not (parts.path.strip("/") or "0").isdigit():
        raise ValueError(f"redis URL: expected the number of a database after the address, got {parts.path!r}")
    return parts


def connect_at_start(url: str, *, timeout_s: float, client_name: str) -> Redis:
    """As `connect`, for a process that cannot start without it; the error says what to do."""
    try:
        return connect(url, timeout_s=timeout_s, client_name=client_name)
    except RedisUnavailable as error:
        raise RedisUnavailable(
            f"{error.message}; start that Redis, or name another: --redis URL or ROWBANK_REDIS "
            "(rowbank up without either runs one of its own)"
        ) from error


@contextlib.contextmanager
def _known_fields(url: str) -> Iterator[None]:
    """Turns what redis-py raises for a query field of a URL that it does not have into ValueError."""
    try:
        yield
    except TypeError as error:
        field = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if field is None:
            raise
        raise ValueError(
            f"redis URL: {without_password(url)!r} has a query field {field[1]!r}, which is unknown"
        ) from None


def _behind_sentinels(url: str, options: dict[str, Any]) -> Redis:
    """A client whose connections ask the Sentinels for the master. Raises ValueError."""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    name, _, database = parts.path.strip("/").partition("/")
    if not name or not hosts or not (database or "0").isdigit():
        raise ValueError(
            f"redis URL: expected {parts.scheme}://HOST:PORT,HOST:PORT/NAME/DATABASE with the name of the master that "
            f"the Sentinels know, got {without_password(url)!r}"
        )
    sentinels = []
    for host in hosts.split(","):
        at = urlsplit(f"//{host}")
        sentinels.append((at.hostname or "", at.port or _SENTINEL_PORT))
    theirs = {name.removeprefix("sentinel_"): values[-1] for name, values in parse_qs(parts.query).items()}
    security = {"ssl": True} if parts.scheme == "rediss+sentinel" else {}
    asked: Any = Sentinel(  # type: ignore[no-untyped-call]
        sentinels, sentinel_kwargs={**options, **security, **theirs}
    )
    return asked.master_for(
        name,
        db=int(database or 0),
        username=unquote(user) or None,
        password=unquote(password) or None,
        **options,
        **security,
    )


def is_cluster(client: Redis) -> bool:
    """Whether `client` talks to a Cluster, whose nodes fail on their own."""
    return isinstance(client, RedisCluster)


def without_password(url: str) -> str:
    """`url` as it may be logged."""
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    user, colon, _ = credentials.partition(":")
    hidden = parts._replace(netloc=f"{user}{colon and ':***'}{at}{hosts}")
    fields = [re.sub(r"(?<=password=).*", "***", field) for field in parts.query.split("&")]
    return urlunsplit(hidden._replace(query="&".join(fields)))


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Raises RedisUnavailable, which names `what` was tried, for any failure of Redis inside."""
    try:
        yield
    except (RedisError, RedisClusterException, OSError) as error:
        raise RedisUnavailable(f"Redis failed ({without_password(what)}): {describe(error)}") from error
