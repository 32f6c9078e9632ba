"""Filters that are stored with a model: what callers may name instead of writing them out."""

from __future__ import annotations

import json
from typing import Any

import redis

from rowbank.closest import closest_first, listed
from rowbank.errors import FilterNotFound, InternalError, InvalidRequest
from rowbank_server.features.redis_errors import translated

MAX_FILTERS = 256  # Of one model.


class FilterStore:
    """Filters by model and name, in the JSON that callers wrote. Thread-safe, as its Redis client is.

    What they mean is checked by those who put them: it depends on the features of the version in service.

    Args:
        client: must answer bytes.
        namespace: prefix of every key.
    """

    def __init__(self, client: redis.Redis, namespace: str = "rowbank") -> None:
        self._redis: Any = client
        self._namespace = namespace

    def all(self, model: str) -> dict[str, Any]:
        """The filters of a model by name, sorted."""
        with translated(f"filters of model {model!r}"):
            stored = self._redis.hgetall(self._key(model))
        try:
            return {name.decode(): json.loads(stored[name]) for name in sorted(stored)}
        except ValueError as error:
            raise InternalError(f"a stored filter of model {model!r} cannot be read: {error}") from error

    def put(self, model: str, name: str, given: Any) -> None:
        """Stores a filter, or replaces it.

        Args:
            given: JSON that was checked.
        Raises:
            InvalidRequest: the model has as many as it may.
        """
        text = json.dumps(given, separators=(",", ":"))
        with translated(f"filter {name!r} of model {model!r}"):
            key = self._key(model)
            if not self._redis.hexists(key, name) and self._redis.hlen(key) >= MAX_FILTERS:
                raise InvalidRequest(
                    f"model {model!r} has {MAX_FILTERS} stored filters already; delete one that is not used any more"
                )
            self._redis.hset(key, name, text)

    def delete(self, model: str, name: str) -> None:
        """Takes a filter away. Raises FilterNotFound: there is none of that name."""
        with translated(f"filter {name!r} of model {model!r}"):
            if not self._redis.hdel(self._key(model), name):
                known = listed(closest_first(name[:128], self.all(model)), most=20)
                raise FilterNotFound(
                    f"model {model!r} has no stored filter {name[:128]!r}; it has: {known}",
                    metadata={"model": model, "filter": name[:128]},
                )

    def _key(self, model: str) -> str:
        # The hash tag that all keys of a model share.
        return f"{self._namespace}:models:{{{model}}}:filters"
