"""Samples a registry once a second, for the page to show the past as soon as it is opened."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from rowbank_server.ui.history import History
from rowbank_server.ui.series import Wanted, picture

_log = logging.getLogger("rowbank.http")
_INTERVAL_S = 1.0
_SHARE = 0.01  # Of one processor, at most: a registry that takes long to read is read less often.


class Sampler:
    """A thread that reads `registry` into `history`."""

    def __init__(self, registry: CollectorRegistry, wanted: Sequence[Wanted]) -> None:
        self.history = History()
        self._registry = registry
        self._wanted = wanted
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="samples", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause_s = 0.0
        while not self._stop.wait(pause_s):
            started = time.thread_time()
            try:
                self.history.add(picture(self._registry.collect(), self._wanted, time.time()))
            except Exception:
                _log.exception("a sample for /ui failed for a reason that is a defect; the next one is tried")
            took_s = time.thread_time() - started
            interval_s = max(_INTERVAL_S, took_s / _SHARE)
            pause_s = interval_s - time.time() % _INTERVAL_S  # Just after the second has begun.
