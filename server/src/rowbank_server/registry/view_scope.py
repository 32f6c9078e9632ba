"""Whose a view is: it goes with the models that read it, or, before any does, with the model it is named for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from rowbank_server.registry.store import ModelRegistry
from rowbank_server.security.caller import Caller, current, out_of_scope

_KEPT_S = 1.0  # What models read changes with publications alone; a bulk of writes asks for it again and again.


class ViewScope:
    """Checks views against the models of the caller's token. Thread-safe. Methods raise RedisUnavailable."""

    def __init__(self, registry: ModelRegistry, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = -_KEPT_S
        self._readers: Mapping[str, Collection[str]] = {}
        self._models: Collection[str] = ()

    def require(self, views: Iterable[str], *, write: bool = False) -> None:
        """Refuses views that the caller's token has nothing to do with.

        Args:
            write: what is written is read by all of a view's models, so all of them have to be in the scope.
        Raises:
            PermissionDenied: a view is not in the scope.
        """
        caller = current()
        if caller.models is None:
            return
        self._look()
        for view in views:
            if view and not self._has(caller, view, write=write):
                raise out_of_scope(caller, "view", view, (f"views of models {', '.join(caller.models) or 'none'}",))

    def shown(self, views: Iterable[str]) -> set[str]:
        """Those of the views that the caller may read."""
        caller = current()
        if caller.models is None:
            return set(views)
        self._look()
        return {view for view in views if self._has(caller, view, write=False)}

    def _has(self, caller: Caller, view: str, *, write: bool) -> bool:
        readers = self._readers.get(view)
        if readers:
            return (all if write else any)(caller.may_use_model(model) for model in readers)
        named = [view[:place] for place, letter in enumerate(view) if letter == "_"]
        known = [model for model in named if model in self._models]  # `a_b_items` is of `a_b`, where there is one.
        return any(caller.may_use_model(model) for model in ([known[-1]] if known else named))

    def _look(self) -> None:
        with self._lock:
            if self._clock() - self._read_at < _KEPT_S:
                return
            readers: dict[str, set[str]] = {}
            stored = self._registry.list()
            for one in stored:
                manifest = one.manifest
                for view in (manifest.item_view, manifest.user_view, manifest.item_overlay, manifest.user_overlay):
                    if view:
                        readers.setdefault(view, set()).add(manifest.name)
            self._readers, self._models = readers, {one.manifest.name for one in stored}
            self._read_at = self._clock()
