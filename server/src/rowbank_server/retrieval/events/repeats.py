"""Events that are sent again: those that carry an id are recorded once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import Any

import redis

from rowbank_server.features.redis_errors import translated

REMEMBERED_S = 24 * 3600


class Repeats:
    """Remembers ids of events for a day. Thread-safe, as its Redis client is.

    An id is remembered once its event is recorded. So a caller who does not know whether a request was carried out
    sends it again, and only what was not recorded is; a process that dies in between may record an event twice, none is
    lost.
    """

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._redis: Any = client
        self._namespace = namespace

    def known(self, scope: str, ids: Sequence[str]) -> set[str]:
        """Those that were recorded before.

        Args:
            scope: what the ids are of; the same id in another is another.
        """
        if not ids:
            return set()
        with translated("look for events that came before"), self._redis.pipeline(transaction=False) as pipe:
            for one in ids:
                pipe.exists(self._key(scope, one))
            return {one for one, there in zip(ids, pipe.execute(), strict=True) if there}

    def remember(self, scope: str, ids: Collection[str]) -> None:
        """These are recorded."""
        if not ids:
            return
        with translated("note of events"), self._redis.pipeline(transaction=False) as pipe:
            for one in ids:
                pipe.set(self._key(scope, one), b"", ex=REMEMBERED_S)
            pipe.execute()

    def _key(self, scope: str, given: str) -> str:
        return f"{self._namespace}:events:{scope}:id:{blake2b(given.encode(), digest_size=16).hexdigest()}"
