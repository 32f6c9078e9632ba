"""Stored filters as queries read them: from memory, which is brought up to date twice a second at most."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rowbank.errors import RequestError
from rowbank_server.guard import Guard
from rowbank_server.registry.filters import FilterStore

_AGE_S = 0.5  # So that what another process stored counts within a second.


class FilterReader:
    """The stored filters of one model. Thread-safe; only queries that name one read them.

    Args:
        guard: of reads that queries wait for.
        within_s: how long one may wait.
    """

    def __init__(
        self,
        store: FilterStore,
        model: str,
        guard: Guard,
        *,
        within_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._model = model
        self._guard = guard
        self._within_s = within_s
        self._clock = clock
        self._held: Mapping[str, Any] | None = None
        self._due_s = 0.0

    def __call__(self) -> Mapping[str, Any]:
        """By name, in JSON; those of before while Redis cannot be asked.

        Raises:
            RedisUnavailable: they were never read.
        """
        if self._held is None or self._clock() >= self._due_s:
            try:
                self._held = self._guard.call(lambda: self._store.all(self._model), within_s=self._within_s)
            except RequestError:
                if self._held is None:
                    raise
            self._due_s = self._clock() + _AGE_S
        return self._held
