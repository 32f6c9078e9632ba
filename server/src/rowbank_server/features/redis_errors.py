"""Redis's own exceptions as ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import redis

from rowbank.errors import InternalError, RedisUnavailable
from rowbank.redis_words import describe

_UNREACHABLE = (redis.ConnectionError, redis.TimeoutError, redis.exceptions.ReadOnlyError)


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turns a failure of Redis while doing `what` into an error that names it.

    Raises:
        RedisUnavailable: Redis cannot be reached, is loading or a read-only replica; a repeat may succeed later.
        InternalError: Redis answered with an error, such as that it is full, or a key of another type.
    """
    try:
        yield
    except _UNREACHABLE as error:
        raise RedisUnavailable(
            f"{what}: Redis cannot be reached ({describe(error)}); check that it runs, then repeat"
        ) from error
    except redis.exceptions.OutOfMemoryError as error:
        # Not unavailable: reads go on, and a repeat a moment later ends the same way.
        raise InternalError(
            f"{what}: Redis is full ({describe(error)}); raise its maxmemory or free some of it, then repeat"
        ) from error
    except redis.RedisError as error:
        raise InternalError(f"{what}: Redis refused: {describe(error)}") from error
