"""Entities whose stored features cannot be read: each is said once, counted while it lasts, and left out."""

from __future__ import annotations

import collections
import logging
import threading
from collections.abc import Collection, Iterable, Mapping

_log = logging.getLogger("rowbank.features")


class Unreadable:
    """What was found unreadable, by view. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, set[int]] = collections.defaultdict(set)

    def update(self, view: str, bad: Mapping[int, str], sound: Iterable[int]) -> None:
        """Notes how a read of several entities of a view ended.

        Args:
            bad: why, by entity.
            sound: those that could be read, now.
        """
        with self._lock:
            known = self._found[view]
            new = {entity: why for entity, why in bad.items() if entity not in known}
            known.difference_update(sound)
            known.update(bad)
        for why in new.values():
            _log.error("%s; it is left out until it can be read", why)

    def forget(self, views: Collection[str]) -> None:
        """Forgets these views: they are read no more, so what is mended in them would not be seen."""
        with self._lock:
            for view in list(self._found):
                if view.partition(":")[0] in views:
                    del self._found[view]

    def counts(self) -> dict[str, int]:
        """How many entities cannot be read now, as far as they were tried, by view."""
        with self._lock:
            return {view: len(entities) for view, entities in self._found.items()}
