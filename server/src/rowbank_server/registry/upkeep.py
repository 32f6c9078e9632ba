"""Prunes every model by a rule, again and again, in one process at a time."""

from __future__ import annotations

import logging
import threading

from rowbank.errors import RequestError
from rowbank_server.registry.pruning import Pruned, Pruning
from rowbank_server.registry.store import ModelRegistry

_log = logging.getLogger("rowbank.registry")

_STOP_WAIT_S = 5.0


class Upkeep:
    """Keeps the newest versions of each model, in a thread of its own; what traffic or a service needs stays besides.

    Args:
        keep: versions that stay; 0: nothing is done.
        owner: of this process. Whoever looks first has the turn; the others have none until it is over.
        interval_s: time between two looks.
    """

    def __init__(
        self, registry: ModelRegistry, pruning: Pruning, keep: int, *, owner: str, interval_s: float = 60.0
    ) -> None:
        self._registry = registry
        self._pruning = pruning
        self._keep = keep
        self._owner = owner
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Starts the thread, unless there is nothing to do."""
        if self._keep:
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread; a pruning under way is waited for a moment."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WAIT_S)

    def step(self) -> dict[str, Pruned]:
        """Prunes every model, if it is this process's turn; what went, by model."""
        if not self._registry.take_turn("upkeep", self._owner, self._interval_s * 0.9):
            return {}
        found = {name: self._prune(name) for name in self._registry.names()}
        return {name: pruned for name, pruned in found.items() if pruned.versions or pruned.tables}

    def _prune(self, name: str) -> Pruned:
        try:
            pruned = self._pruning.prune(name, self._keep, dry_run=False)
        except RequestError as error:  # Another model's versions go all the same.
            _log.warning("model %s was not pruned: %s", name, error.message)
            return Pruned()
        if pruned.versions or pruned.tables:
            _log.info("pruned model %s: versions %s, tables %s", name, pruned.versions, pruned.tables)
        return pruned

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._try()

    def _try(self) -> None:
        try:
            self.step()
        except RequestError as error:
            _log.warning("models were not pruned: %s", error.message)
        except Exception:
            _log.exception("pruning by the rule failed for a reason that is a defect")
